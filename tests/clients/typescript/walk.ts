// Sign-up, confirmation, sign-in and profile with a client whose types come from the OpenAPI document. That it compiles is half
// of the test.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/api.js";

declare const process: { argv: string[] };

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const api = createClient<paths>({ baseUrl: process.argv[2]! });
const email = "ada@example.com";
const password = "securepassword123";

// What is wrong is typed as well: the messages of each field.
const refused = await api.POST("/api/v1/accounts/users/", { body: { email: "nobody", password, confirm_password: password } });
check(refused.response.status === 400 && refused.error !== undefined, "a wrong address is refused");
const complaints = refused.error as components["schemas"]["CreateUserErrors"];
check(complaints.email?.[0] === "Enter a valid email address.", "the address is complained about");

const signedUp = await api.POST("/api/v1/accounts/users/", {
  body: { email, password, confirm_password: password, first_name: "Ada", gender: "F", country: "GB" },
});
check(signedUp.data?.data.first_name === "Ada", "signed up");

const mails = await api.GET("/dev/mail/", { params: { query: { to: email } } });
// A browser would get a page from this path, a program gets a list.
check(Array.isArray(mails.data), "the inbox is a list");
const otp = mails.data[0]?.otp;
check(typeof otp === "string", "a code came by mail");
const verified = await api.POST("/api/v1/accounts/otp/verify/", { body: { email, otp } });
check(verified.data?.msg === "Email verified successfully!", "the address is confirmed");

const pair = await api.POST("/api/v1/accounts/token/", { body: { email, password } });
check(pair.data !== undefined, "signed in");
const { access } = pair.data;
api.use({ onRequest: ({ request }) => request.headers.set("Authorization", `Bearer ${access}`) });

const me = { params: { path: { pk: "me" as const } } };
const changed = await api.PATCH("/api/v1/accounts/users/{pk}/", { ...me, body: { birthday: "1990-12-10" } });
check(changed.data?.birthday === "1990-12-10", "the birthday is set");
const user = await api.GET("/api/v1/accounts/users/{pk}/", me);
check(user.data?.email === email && user.data.photo === null, "the profile is read");
const others = await api.GET("/api/v1/accounts/users/{pk}/", { params: { path: { pk: user.data.id + 1 } } });
check(others.response.status === 403, "somebody else's is not");

console.log(`TypeScript: ${user.data.first_name} has signed up, signed in and read the profile`);
