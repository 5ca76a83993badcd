// People sign in to accounts-server with another provider: on the account pages, and in an app of one's
// own by the API.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { EMAIL as GLEWLWYD_EMAIL, startGlewlwyd } from "./glewlwyd.mjs";
import { EMAIL as OIDC_EMAIL, startOidcProvider } from "./oidc_provider.mjs";
import { EMAIL, newSecret, proceed, startBrowser, startProgram, startProvider } from "./provider.mjs";

let browser;

before(async () => {
  browser = await startBrowser();
});

after(() => browser?.close());

/** An app of one's own: the page where the API sends the browser. */
async function startApp() {
  const server = createServer((_, response) => response.end("back in the app"));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const stop = () => new Promise((resolve) => server.close(resolve));
  return { url, redirectUri: `${url}/signed-in`, stop };
}

/** The server that people sign in to, on another host than the provider, and its client there. */
async function startServer(context, provider, app) {
  const folder = mkdtempSync(join(tmpdir(), "accounts-providers-"));
  const [id, secret] = ["accounts", (provider.newSecret ?? newSecret)()];
  writeFileSync(join(folder, "secret"), secret, { mode: 0o600 });
  const settings = `
[social]
redirect_uris = ["${app.redirectUri}"]

[[social.providers]]
id = "other"
kind = "oidc"
name = "Other accounts"
issuer = "${provider.issuer}"
client_id = "${id}"
client_secret_file = "${join(folder, "secret")}"
trust_email = true
`;
  writeFileSync(join(folder, "config.toml"), settings);
  const server = await startProgram(
    process.env.SERVER_PROGRAM,
    [
      ...["--dev", "--config", join(folder, "config.toml"), "--db", join(folder, "users.db")],
      ...["--listen", "127.0.0.1:0", "--mail-transport", "file", "--mail-dir", join(folder, "mail")],
    ],
    /listening on (http:\/\/\S+)/,
  );
  context.after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const url = server.value;
  await provider.addClient({ id, secret, redirectUris: [`${url}/api/v1/accounts/o/other/callback/`] });
  return url;
}

async function request(url, method, path, body, access) {
  const headers = { "Content-Type": "application/json" };
  if (access) headers.Authorization = `Bearer ${access}`;
  const answer = await fetch(`${url}/api/v1/accounts/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** Signs in by the pages: returns the text of the account's own page. */
async function signInByPages(page, server, provider) {
  await page.goto(`${server}/account/sign-in/`);
  await page.getByRole("button", { name: /Other accounts/ }).click();
  await provider.proceed(page, server);
  await page.waitForURL(`${server}/account/**`);
  await page.goto(`${server}/account/`);
  return page.textContent("body");
}

/** Signs in by the API, as an app does: returns the pair of tokens. */
async function signInByApi(page, server, provider, app) {
  const verifier = randomBytes(32).toString("base64url");
  const challenge = createHash("sha256").update(verifier).digest("base64url");
  const query = new URLSearchParams({ redirect_uri: app.redirectUri, code_challenge: challenge, state: "a-state" });
  const { authorization_url } = await request(server, "GET", `o/other/?${query}`);
  await page.goto(authorization_url);
  await provider.proceed(page, app.url);
  const back = new URL(page.url());
  assert.equal(back.searchParams.get("state"), "a-state");
  const code = back.searchParams.get("code");
  return request(server, "POST", "o/other/", { code, code_verifier: verifier });
}

async function check(context, provider, email) {
  context.after(() => provider.stop());
  const app = await startApp();
  context.after(() => app.stop());
  const server = await startServer(context, provider, app);
  assert.deepEqual(await request(server, "GET", "providers/"), [{ id: "other", name: "Other accounts" }]);
  const visitor = await browser.newContext({ locale: "en" });
  context.after(() => visitor.close());
  visitor.setDefaultTimeout(15_000);
  const page = await visitor.newPage();

  const { access } = await signInByApi(page, server, provider, app);
  const user = await request(server, "GET", "users/me/", undefined, access);
  assert.equal(user.email, email);
  const identities = await request(server, "GET", "identities/", undefined, access);
  assert.deepEqual(
    identities.map((identity) => [identity.provider, identity.email]),
    [["other", email]],
  );

  // The same person has the same account, also on the pages and with a fresh browser.
  const fresh = await browser.newContext({ locale: "en" });
  context.after(() => fresh.close());
  fresh.setDefaultTimeout(15_000);
  const shown = await signInByPages(await fresh.newPage(), server, provider);
  assert.ok(shown.includes(email), shown);
  const again = await signInByApi(page, server, provider, app);
  assert.equal((await request(server, "GET", "users/me/", undefined, again.access)).id, user.id);
}

test("oidc-provider of npm signs in", async (context) => {
  await check(context, await startOidcProvider(), OIDC_EMAIL);
});

test("another accounts-server signs in", async (context) => {
  const provider = await startProvider();
  await check(context, { ...provider, proceed: (page, origin) => proceed(page, provider, origin) }, EMAIL);
});

test("glewlwyd of Debian signs in", async (context) => {
  await check(context, await startGlewlwyd(), GLEWLWYD_EMAIL);
});
