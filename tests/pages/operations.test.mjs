// Invitations and the mail queue in a browser, with and without script. The mail server is down, so mails
// wait; the development inbox shows them anyway.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { checkMarkup, checkPage } from "./checks.mjs";
import { PASSWORD, closePage, openPage, path, signIn, startBrowser, startServer } from "./support.mjs";

const STAFF = "root@example.com";
const SUBMIT = "main button:not([type=button])";

let server;
let browser;
before(async () => {
  server = await startServer("--mail-transport", "smtp", "--mail-smtp-url", "smtp://127.0.0.1:9");
  browser = await startBrowser();
  server.staff(STAFF);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

for (const javaScriptEnabled of [true, false]) {
  describe(javaScriptEnabled ? "with script" : "without script", () => {
    const guest = javaScriptEnabled ? "guest-js@example.com" : "guest-plain@example.com";
    const open = async (at) => {
      const page = await openPage(browser, { javaScriptEnabled });
      await signIn(page, server, STAFF, PASSWORD, at);
      assert.equal(path(page), at);
      return page;
    };

    test("an invitation leads to an account", async () => {
      const page = await open("/console/invitations/");
      await page.fill("#email", guest);
      await page.selectOption("#language", "de");
      await page.click("text=Send invitation");
      assert.match(await page.textContent("[role=status]"), /on its way/);
      assert.match(await page.textContent("main"), new RegExp(guest));

      const { link, subject } = await server.mail(guest);
      assert.match(subject, /Einladung/);
      const invited = await openPage(browser, { javaScriptEnabled });
      await invited.goto(link);
      assert.match(await invited.textContent("main"), new RegExp(guest));
      await invited.fill("#password", "short");
      await invited.fill("#first_name", "Ada");
      await invited.click(SUBMIT);
      assert.match(await invited.textContent("#password-error"), /too short/);
      assert.equal(await invited.inputValue("#first_name"), "Ada");
      await invited.fill("#password", PASSWORD);
      await invited.click(SUBMIT);
      assert.equal(path(invited), "/account/");
      // From here on the pages speak the language of the invitation.
      assert.match(await invited.textContent("[role=status]"), /Willkommen/);
      await invited.goto(link);
      assert.match(await invited.textContent("main"), /gilt nicht mehr/);
      await closePage(invited);
      await page.reload();
      assert.doesNotMatch(await page.textContent("main ul.list, main .empty"), new RegExp(guest));
      await closePage(page);
    });

    test("a mail that waits is explained and discarded", async () => {
      await server.post("users/", {
        email: guest.replace("guest", "waiting"),
        password: PASSWORD,
        confirm_password: PASSWORD,
      });
      const page = await open("/console/mails/");
      await page.fill("#search", guest.replace("guest", "waiting"));
      await page.click("text=Apply");
      await page.locator("li", { hasText: "Waiting" }).waitFor();
      await page.click("text=Discard");
      assert.match(await page.textContent("[role=status]"), /discarded/);
      assert.match(page.url(), /search=waiting/);
      assert.match(await page.textContent("main"), /No mail matches/);
      await closePage(page);
    });
  });
}

test("lists with entries are accessible, valid and fit a phone", async () => {
  await server.post("users/", {
    email: "a.very.long.address.that.waits.for.its.mail@an-even-longer-domain-name.example.com",
    password: PASSWORD,
    confirm_password: PASSWORD,
  });
  const page = await openPage(browser);
  page.on("response", (response) => {
    if (response.request().isNavigationRequest()) page.last = response;
  });
  await signIn(page, server, STAFF, PASSWORD, "/console/invitations/");
  await page.fill("#email", "another.very.long.address@an-even-longer-domain-name.example.com");
  await page.click("text=Send invitation");
  for (const at of ["/console/invitations/", "/console/mails/", "/console/events/", "/dev/mail/"]) {
    await page.goto(server.url + at);
    for (const check of [checkMarkup, checkPage]) {
      await check(page, at).catch((fault) => page.faults.push(fault.message));
    }
  }
  await closePage(page);
});
