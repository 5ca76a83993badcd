// Passkeys on the account pages, with Chromium's virtual authenticator.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { checkMarkup, checkPage } from "./checks.mjs";
import { addAuthenticator, closePage, openPage, path, signIn, startBrowser, startServer } from "./support.mjs";

const CREATE = "[data-passkey=register]";
const SUBMIT = "main form button:not([type=button])";

let server;
let browser;
before(async () => {
  // Passkeys are bound to a domain, and an IP address is none.
  server = await startServer("--listen", "localhost:0");
  server.url = server.url.replace("127.0.0.1", "localhost");
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open({ suggests = false, ...options } = {}) {
  const page = await openPage(browser, options);
  // The authenticator takes every suggestion at once, so that no button could be pressed.
  if (!suggests) {
    await page.addInitScript(() => {
      PublicKeyCredential.isConditionalMediationAvailable = async () => false;
    });
  }
  page.on("response", (response) => {
    if (response.request().isNavigationRequest()) page.last = response;
  });
  return page;
}

/** Follows a link or a button that a script answers. */
async function click(page, selector) {
  await Promise.all([page.waitForNavigation(), page.click(selector)]);
}

/** Adds a passkey on the security page. */
async function add(page, name) {
  await page.goto(`${server.url}/account/security/`);
  await page.click("text=Add a passkey");
  assert.equal(path(page), "/account/security/passkeys/");
  await page.fill("#name", name);
  await click(page, CREATE);
}

test("a passkey is added, named, used everywhere and removed", async () => {
  const email = "ada@example.com";
  await server.user(email);
  const page = await open();
  await signIn(page, server, email);
  assert.equal(path(page), "/account/");
  const device = await addAuthenticator(page);
  await add(page, "Laptop");
  // The first factor brings recovery codes.
  assert.equal(await page.locator("#codes li").count(), 10);
  await page.click("text=/saved/i");
  assert.equal(path(page), "/account/security/");
  assert.match(await page.textContent("#passkeys"), /Laptop/);
  assert.equal((await device.credentials()).length, 1);
  await page.click("#passkeys summary");
  await page.fill("#passkeys [name=name]", "Work laptop");
  await page.click("#passkeys button:has-text('Rename')");
  assert.match(await page.textContent("[role=status]"), /renamed/);
  assert.match(await page.textContent("#passkeys"), /Work laptop/);
  await checkPage(page, "security with a passkey");

  // Signing in without the password.
  await page.click("text=Sign out");
  assert.equal(path(page), "/account/sign-in/");
  await click(page, "[data-passkey=sign-in]");
  assert.equal(path(page), "/account/");

  // As the second step after the password.
  await page.click("text=Sign out");
  await signIn(page, server, email, undefined, "/account/profile/");
  assert.equal(path(page), "/account/second-factor/");
  await click(page, "[data-passkey=second-step]");
  assert.equal(path(page), "/account/profile/");

  // For what matters, with the form that waits for it.
  await page.goto(`${server.url}/account/email/`);
  await page.fill("#email", "new@example.com");
  await server.advance(601);
  await page.click("main form[action$='/email/'] button:not([type=button])");
  await click(page, "[data-passkey=sign-in]");
  await server.mail("new@example.com");

  await server.advance(601);
  await page.goto(`${server.url}/account/security/passkeys/`);
  assert.equal(path(page), "/account/reauthenticate/");
  await click(page, "[data-passkey=sign-in]");
  assert.equal(path(page), "/account/security/passkeys/");

  await page.goto(`${server.url}/account/security/`);
  await page.click("#passkeys summary");
  await page.click("#passkeys button.danger");
  assert.match(await page.textContent("[role=status]"), /removed/);
  assert.doesNotMatch(await page.textContent("#passkeys"), /Work laptop/);
  await closePage(page);
});

test("a passkey is suggested in the address field", async () => {
  const email = "bea@example.com";
  await server.user(email);
  const page = await open({ suggests: true });
  await signIn(page, server, email);
  const device = await addAuthenticator(page);
  await add(page, "Phone");
  await page.context().clearCookies();
  await page.goto(`${server.url}/account/sign-in/?next=/account/sessions/`);
  // The authenticator takes the suggestion.
  await page.waitForURL("**/account/sessions/");
  assert.equal((await device.credentials()).length, 1);
  await closePage(page);
});

test("a passkey is offered once after signing in, where the device can keep one", async () => {
  const email = "cem@example.com";
  await server.user(email);
  const page = await open();
  await addAuthenticator(page);
  await page.goto(`${server.url}/account/sign-in/`);
  await page.waitForFunction(() => document.querySelector("[data-can-passkey]").value === "yes");
  await page.fill("#email", email);
  await page.fill("#password", "correct horse battery");
  await page.click(SUBMIT);
  assert.equal(path(page), "/account/passkeys/offer/");
  await checkPage(page, "offer of a passkey");
  await checkMarkup(page, "offer of a passkey");
  await page.click("text=Not now");
  assert.equal(path(page), "/account/");
  await page.click("text=Sign out");
  await page.waitForFunction(() => document.querySelector("[data-can-passkey]").value === "yes");
  await page.fill("#email", email);
  await page.fill("#password", "correct horse battery");
  await page.click(SUBMIT);
  assert.equal(path(page), "/account/");
  await closePage(page);

  const other = await open();
  await addAuthenticator(other);
  await other.goto(`${server.url}/account/sign-in/?next=/account/data/`);
  await other.waitForFunction(() => document.querySelector("[data-can-passkey]").value === "yes");
  await other.fill("#email", email);
  await other.fill("#password", "correct horse battery");
  await other.click(SUBMIT);
  await click(other, CREATE);
  assert.equal(await other.locator("#codes li").count(), 10);
  await other.click("text=/saved/i");
  assert.equal(path(other), "/account/data/");
  await closePage(other);
});

test("what goes wrong is said, and can be tried again", async () => {
  const email = "dan@example.com";
  await server.user(email);
  const page = await open();
  await signIn(page, server, email);
  const device = await addAuthenticator(page);
  await page.goto(`${server.url}/account/security/passkeys/`);
  await checkPage(page, "new passkey");
  await checkMarkup(page, "new passkey");
  await device.verify(false);
  await page.click(CREATE);
  await page.waitForSelector("[data-problem]:not([hidden])");
  assert.match(await page.textContent("[data-problem]"), /did not work/);
  await page.fill("#name", "");
  await page.click(CREATE);
  assert.equal(await page.evaluate(() => document.querySelector("#name").validity.valueMissing), true);
  await device.verify(true);
  await page.fill("#name", "Key");
  await click(page, CREATE);
  assert.equal(await page.locator("#codes li").count(), 10);

  // A passkey that the account has no more.
  await page.goto(`${server.url}/account/security/`);
  await page.click("#passkeys summary");
  await page.click("#passkeys button.danger");
  await page.waitForSelector("[role=status]");
  await page.click("text=Sign out");
  await click(page, "[data-passkey=sign-in]");
  assert.equal(path(page), "/account/sign-in/");
  assert.match(await page.textContent("#problems"), /does not work here/);
  await closePage(page);
});

test("without script the pages do without passkeys", async () => {
  const page = await open({ javaScriptEnabled: false });
  const email = "eva@example.com";
  await server.user(email);
  await page.goto(`${server.url}/account/sign-in/`);
  assert.equal(await page.isVisible("[data-passkey]"), false);
  await signIn(page, server, email);
  assert.equal(path(page), "/account/");
  await page.goto(`${server.url}/account/security/passkeys/`);
  assert.match(await page.textContent("main"), /need JavaScript/);
  await closePage(page);
});
