// A client whose types were generated before there were second factors: it signs in as before without one, can show why it is
// refused with one, and needs only one field more.
import createClient from "openapi-fetch";
import type { paths } from "./generated/before.js";

declare const process: { argv: string[] };

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const api = createClient<paths>({ baseUrl: process.argv[2]! });
const password = "securepassword123";
const signIn = (body: { email: string; password: string }) => api.POST("/api/v1/accounts/token/", { body });

/** What an answer says is wrong. */
const reason = (error?: object) => (error && "detail" in error ? error.detail : undefined);

const plain = await signIn({ email: "plain@example.com", password });
check(plain.data !== undefined, "an account without a factor signs in");

const email = "factor@example.com";
const asked = await signIn({ email, password });
check(asked.response.status === 401 && asked.data === undefined, "an account with a factor is refused");
check(reason(asked.error) === "Two-factor authentication is required.", "the reason can be shown");
const wrong = await signIn({ email, password: "wrong password" });
check(reason(wrong.error) === "No active account found with the given credentials", "a wrong password is told as ever");

// Not a literal: the types know nothing of the field.
const withCode = { email, password, code: process.argv[3]! };
const pair = await signIn(withCode);
check(pair.data !== undefined, "a code beside the password signs in");
const { access, refresh } = pair.data;
const renewed = await api.POST("/api/v1/accounts/token/refresh/", { body: { refresh } });
check(renewed.data !== undefined, "the session is refreshed");
const user = await api.GET("/api/v1/accounts/users/{pk}/", {
  params: { path: { pk: "me" } },
  headers: { Authorization: `Bearer ${access}` },
});
check(user.data?.email === email, "the profile is read");

console.log("TypeScript: a client of before second factors signs in without and with one");
