import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { startAccounts } from "../javascript/accounts.mjs";
import { service } from "./service.mjs";

let accounts, server, greeting;
before(async () => {
  accounts = await startAccounts({ seed: new URL("../seed.jsonl", import.meta.url).pathname });
  server = service(accounts.url).listen(0, "127.0.0.1");
  await once(server, "listening");
  greeting = async (token) => {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(`http://127.0.0.1:${server.address().port}/greeting`, { headers });
    return [response.status, await response.json()];
  };
});
after(async () => {
  server.close();
  await accounts.stop();
});

test("an access token is accepted", async () => {
  const access = await accounts.signIn("alice@example.com");
  assert.deepEqual(await greeting(access), [200, { hello: "alice@example.com" }]);
});

test("anything else is refused", async () => {
  const { body } = await accounts.request("POST", "token/", {
    body: { email: "alice@example.com", password: "securepassword123" },
  });
  const [header, , signature] = body.access.split(".");
  const forged = { sub: "1", email: "root@example.com", exp: 9999999999 };
  const claims = Buffer.from(JSON.stringify(forged)).toString("base64url");
  for (const token of [undefined, "x", body.refresh, `${header}.${claims}.${signature}`]) {
    assert.equal((await greeting(token))[0], 401);
  }
});
