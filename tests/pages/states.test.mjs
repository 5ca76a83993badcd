// What has to hold on every page in every state: accessibility, valid markup, no sideways scrolling,
// all languages, and the weight of a first visit.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { checkMarkup, checkNarrow, checkPage, checkWeight } from "./checks.mjs";
import { PASSWORD, closePage, openPage, signIn, startBrowser, startServer, totp } from "./support.mjs";

const STAFF = "root@example.com";
const USER = "ada.with.a.very.long.address@an-even-longer-domain-name.example.com";
const LANGUAGES = ["en", "de", "fr", "es", "it", "pt-BR"];
const SUBMIT = "main button:not([type=button])";

/** Pages for everybody. */
const OPEN = [
  "/account/sign-in/",
  "/account/sign-up/",
  "/account/confirm/?email=a@b.example",
  "/account/confirm/?token=x",
  "/account/reset/",
  "/account/reset/confirm/?email=a@b.example",
  "/account/reset/confirm/?token=x",
  "/account/language/",
  "/account/undo/x/",
  "/account/invitation/?token=x",
  "/dev/mail/",
  "/dev/webhooks/",
];

/** Pages of an account. */
const OWN = [
  "/account/",
  "/account/profile/",
  "/account/email/",
  "/account/password/",
  "/account/security/",
  "/account/security/totp/",
  "/account/security/passkeys/",
  "/account/connections/",
  "/account/passkeys/offer/",
  "/account/sessions/",
  "/account/activity/",
  "/account/data/",
  "/account/delete/",
  "/account/reauthenticate/",
];

/** Pages of the console. */
const CONSOLE = [
  "/console/",
  "/console/users/",
  "/console/users/?search=nobody",
  "/console/users/?page=2",
  "/console/users/new/",
  "/console/users/1/",
  "/console/users/2/",
  "/console/users/2/delete/",
  "/console/users/99/",
  "/console/users/bulk/?action=delete&user-2=yes&user-3=yes",
  "/console/users/bulk/?action=end_sessions&all=yes",
  "/console/users/bulk/?action=delete",
  "/console/invitations/",
  "/console/invitations/?search=nobody",
  "/console/mails/",
  "/console/mails/?state=failed&search=nobody",
  "/console/events/",
  "/console/events/?kind=sign_up&user=2&after=2000-01-01",
  "/console/events/?user=x",
  "/console/clients/",
  "/console/new-client/",
  "/console/webhooks/",
  "/console/webhooks/new/",
  "/console/keys/",
  "/console/backups/",
  "/console/settings/",
];

/** Forms that are sent with mistakes: where they are, and what is typed. */
const PROBLEMS = {
  open: [
    ["/account/sign-in/", { "#email": "a@b.example", "#password": "wrong" }],
    ["/account/sign-up/", { "#email": "a@b.example", "#password": "short" }],
    ["/account/confirm/?email=a@b.example", { "#otp": "000000" }],
    ["/account/reset/confirm/?email=a@b.example", { "#otp": "000000", "#password": "short" }],
  ],
  own: [
    ["/account/email/", { "#email": "root@example.com" }],
    ["/account/password/", { "#current_password": "wrong", "#password": "short" }],
    ["/account/delete/", { "#password": "wrong" }],
  ],
  console: [
    ["/console/users/new/", { "#email": "root@example.com", "#password": "short" }],
    ["/console/users/1/", { "#reason": "test" }],
    ["/console/invitations/", { "#email": "root@example.com" }],
    ["/console/new-client/", { "#name": "App", "#redirect_uris": "http://app.example.com/cb" }],
    ["/console/webhooks/new/", { "#url": "https://10.0.0.1/" }],
    ["/console/keys/", { "#reason": " " }],
  ],
};

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await startBrowser();
  server.staff(STAFF);
  await server.user(USER, { first_name: "Ada", last_name: "King", phone: "+12345678900", country: "GB" });
  for (let number = 0; number < 26; number++) {
    await server.post("users/", {
      email: `user${number}@example.com`,
      password: PASSWORD,
      confirm_password: PASSWORD,
    });
  }
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A page that remembers the markup of the last navigation. */
async function open(email) {
  const page = await openPage(browser);
  page.on("response", (response) => {
    if (response.request().isNavigationRequest()) page.last = response;
  });
  if (email) await signIn(page, server, email);
  return page;
}

/** Runs a check; what it finds is reported at the end of the test, with the rest. */
async function check(page, name, checks = [checkMarkup, checkPage]) {
  for (const one of checks) {
    await one(page, name).catch((fault) => page.faults.push(fault.message));
  }
}

for (const [kind, email, paths] of [
  ["open", null, OPEN],
  ["own", USER, OWN],
  ["console", STAFF, CONSOLE],
]) {
  test(`${kind} pages`, async () => {
    const page = await open(email);
    for (const path of paths) {
      await page.goto(server.url + path);
      await check(page, path);
    }
    await closePage(page);
  });

  test(`${kind} pages with problems`, async () => {
    const page = await open(email);
    for (const [path, fields] of PROBLEMS[kind]) {
      await page.goto(server.url + path);
      for (const [field, text] of Object.entries(fields)) await page.fill(field, text);
      // The form of the field, and not the first one of the page.
      const form = page.locator("main form", { has: page.locator(Object.keys(fields)[0]) });
      await form.locator("button:not([type=button])").last().click();
      await page.waitForSelector("#problems");
      assert.match(await page.title(), /^Problem: /);
      assert.equal(await page.evaluate(() => document.activeElement.id), "problems");
      await check(page, `${path} with problems`);
    }
    await closePage(page);
  });

  test(`${kind} pages in every language`, async () => {
    const page = await open(email);
    await page.setViewportSize({ width: 320, height: 640 });
    for (const path of paths) {
      for (const language of LANGUAGES) {
        await page.goto(`${server.url}${path}${path.includes("?") ? "&" : "?"}lang=${language}`);
        assert.equal(await page.getAttribute("html", "lang"), language);
        await check(page, `${path} in ${language}`, [checkNarrow]);
      }
    }
    await closePage(page);
  });
}

test("no access, and the password once more", async () => {
  const page = await open(USER);
  await page.goto(`${server.url}/console/`);
  await check(page, "no access");
  const staff = await open(STAFF);
  await staff.goto(`${server.url}/console/users/2/delete/`);
  await server.advance(3600);
  await staff.fill("#reason", "test");
  await staff.click("main button.danger");
  await staff.waitForSelector("[type=password]");
  await check(staff, "re-authentication");
  await staff.fill("[type=password]", "wrong");
  await staff.click(SUBMIT);
  await staff.waitForSelector("#problems");
  await check(staff, "re-authentication with problems");
  await closePage(staff);
  await closePage(page);
});

test("second factors", async () => {
  const email = "factor@example.com";
  await server.user(email);
  const page = await open(email);
  await page.goto(`${server.url}/account/security/`);
  await page.click("main a.button");
  const secret = (await page.textContent(".secret")).replaceAll(" ", "");
  await page.fill("#code", "000000");
  await page.click(SUBMIT);
  await page.waitForSelector("#problems");
  await check(page, "a wrong first code");
  assert.equal((await page.textContent(".secret")).replaceAll(" ", ""), secret);
  await page.fill("#code", totp(secret, await server.now()));
  await page.click(SUBMIT);
  await page.waitForSelector(".codes");
  await check(page, "recovery codes");
  const codes = await page.locator(".codes code").allTextContents();
  assert.equal(codes.length, 10);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("a[download]")]);
  const saved = readFileSync(await download.path(), "utf8");
  assert.equal(saved, `${codes.join("\n")}\n`);
  await page.goto(`${server.url}/account/security/`);
  await page.click("summary");
  await check(page, "an account with a factor");

  const other = await open(email);
  await check(other, "the second step");
  await other.fill("#code", "000000");
  await other.click(SUBMIT);
  await other.waitForSelector("#problems");
  await check(other, "the second step with a wrong code");
  await other.goto(`${server.url}/account/second-factor/recovery/`);
  await check(other, "a recovery code");
  await other.fill("#code", codes[0].toLowerCase());
  await other.click(SUBMIT);
  await other.waitForURL(`${server.url}/account/`);
  // What matters asks for the factor.
  await server.advance(3600);
  await other.goto(`${server.url}/account/password/`);
  await check(other, "the factor once more");
  await other.fill("#code", codes[1]);
  await other.click(SUBMIT);
  await other.waitForURL(`${server.url}/account/password/`);
  await closePage(other);
  await closePage(page);
});

test("first administrator", async () => {
  const fresh = await startServer();
  const page = await open(null);
  await page.goto(`${fresh.url}/console/`);
  await check(page, "where the setup link is");
  await page.goto(await fresh.setupLink());
  await check(page, "setup");
  await closePage(page);
  await fresh.stop();
});

test("a first visit is small", async () => {
  for (const [email, paths] of [
    [null, ["/account/sign-in/", "/account/sign-up/"]],
    [USER, ["/account/profile/", "/account/sessions/"]],
    [STAFF, ["/console/", "/console/users/", "/console/users/2/", "/console/settings/"]],
  ]) {
    const page = await open(email);
    for (const path of paths) await checkWeight(page.context(), server.url + path, path);
    await closePage(page);
  }
});
