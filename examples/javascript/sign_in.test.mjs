// Tests of a project that uses the server. Run with `node --test`.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { startAccounts } from "./accounts.mjs";

const password = "securepassword123";
let accounts;
before(async () => {
  const seed = new URL("../seed.jsonl", import.meta.url).pathname;
  accounts = await startAccounts({ seed, args: ["--fixed-otp", "carol@example.com=123456"] });
});
after(() => accounts.stop());
beforeEach(() => accounts.reset());

test("a seeded user signs in", async () => {
  const access = await accounts.signIn("alice@example.com");
  const { body } = await accounts.request("GET", "users/me/", { access });
  assert.equal(body.first_name, "Alice");
});

test("a sign-up is confirmed with the mailed code", async () => {
  const email = "bob@example.com";
  const body = { email, password, confirm_password: password };
  assert.equal((await accounts.request("POST", "users/", { body })).status, 201);
  const code = { email, otp: await accounts.otp(email) };
  const verified = await accounts.request("POST", "otp/verify/", { body: code });
  assert.equal(verified.status, 200);
});

test("a fixed code is known beforehand", async () => {
  const email = "carol@example.com";
  const body = { email, password, confirm_password: password };
  await accounts.request("POST", "users/", { body });
  const code = { email, otp: "123456" };
  const verified = await accounts.request("POST", "otp/verify/", { body: code });
  assert.equal(verified.status, 200);
});

test("an access token expires", async () => {
  const access = await accounts.signIn("alice@example.com");
  await accounts.advance(300);
  const { status } = await accounts.request("GET", "users/me/", { access });
  assert.equal(status, 401);
});
