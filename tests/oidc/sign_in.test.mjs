// Each application signs in with accounts-server in a browser, sees who it is, and signs out again.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startApache, startAuthlib, startDjango, startNode, startSinglePage } from "./applications.mjs";
import { EMAIL, isSignedIn, newSecret, proceed, startBrowser, startProvider } from "./provider.mjs";

const SCOPES = ["openid", "profile", "email", "offline_access"];

let provider;
let browser;

before(async () => {
  [provider, browser] = await Promise.all([startProvider(), startBrowser()]);
});

after(async () => {
  await browser?.close();
  await provider?.stop();
});

/** Starts an application, registers it, and opens it in a fresh browser. */
async function open(context, id, start, { isPublic = false, scopes } = {}) {
  const secret = isPublic ? undefined : newSecret();
  const application = await start({ issuer: provider.issuer, id, secret });
  context.after(() => application.stop());
  provider.addClient({ id, secret, scopes, ...application });
  const visitor = await browser.newContext({ locale: "en" });
  visitor.setDefaultTimeout(15_000);
  context.after(() => visitor.close());
  return [application, await visitor.newPage()];
}

/** Signs in: the application then shows address and subject. */
async function signIn(page, application) {
  await page.goto(application.signInUrl);
  const seen = await proceed(page, provider, application.url);
  await page.getByText(EMAIL).first().waitFor();
  const shown = await page.textContent("body");
  assert.match(shown, new RegExp(`sub=${provider.userId}\\b`));
  return seen;
}

/** Signs out at the application, which ends the session at the provider too. */
async function signOut(page, application) {
  await page.goto(application.signOutUrl);
  await page.getByText("signed out").first().waitFor();
  assert.equal(new URL(page.url()).origin, application.url);
  assert.equal(await isSignedIn(page, provider), false);
}

test("openid-client signs in and out, refreshes, introspects and revokes", async (context) => {
  const [application, page] = await open(context, "node", startNode, { scopes: SCOPES });
  const seen = await signIn(page, application);
  assert.ok(seen.includes("/account/sign-in/"));
  assert.match(await page.textContent("body"), /Ann Example/);
  await page.goto(`${application.url}/checks`);
  assert.equal(await page.textContent("body"), "checked");
  // With the browser's session, neither password nor form is needed a second time.
  const again = await signIn(page, application);
  assert.ok(!again.includes("/account/sign-in/"));
  await signOut(page, application);
});

test("oidc-client-ts signs in and out in a page of another origin", async (context) => {
  const options = { isPublic: true, scopes: SCOPES };
  const [application, page] = await open(context, "single-page", startSinglePage, options);
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await signIn(page, application);
  // By the refresh token, and without a page of the provider.
  await page.click("#renew");
  await page.getByText("renewed").waitFor();
  await signOut(page, application);
  // The tokens are revoked at the provider before.
  await signIn(page, application);
  await page.click("#revoke");
  await page.getByText("revoked").waitFor();
  assert.deepEqual(faults, []);
});

test("Authlib signs in and out", async (context) => {
  const [application, page] = await open(context, "authlib", startAuthlib);
  await signIn(page, application);
  await signOut(page, application);
});

test("mozilla-django-oidc signs in and out", async (context) => {
  const [application, page] = await open(context, "mozilla", startDjango("mozilla"));
  await signIn(page, application);
  await signOut(page, application);
});

test("django-allauth signs in, and out of the application alone", async (context) => {
  const [application, page] = await open(context, "allauth", startDjango("allauth"));
  await signIn(page, application);
  await page.goto(application.signOutUrl);
  await page.getByText("signed out").first().waitFor();
  assert.equal(await isSignedIn(page, provider), true);
});

test("Apache with mod_auth_openidc signs in and out", async (context) => {
  const [application, page] = await open(context, "apache", startApache);
  await signIn(page, application);
  await signOut(page, application);
});
