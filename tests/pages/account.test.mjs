// The account pages, as people use them: with script, without script, by keyboard.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PASSWORD, closePage, openPage, path, signIn, startBrowser, startServer } from "./support.mjs";

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

for (const javaScriptEnabled of [true, false]) {
  describe(javaScriptEnabled ? "with script" : "without script", () => {
    const kind = javaScriptEnabled ? "js" : "plain";
    const open = (options = {}) => openPage(browser, { javaScriptEnabled, ...options });

    test("sign-up, confirmation by code, sign-out, sign-in", async () => {
      const email = `new-${kind}@example.com`;
      const page = await open();
      await page.goto(`${server.url}/account/`);
      assert.equal(path(page), "/account/sign-in/");
      await page.click("text=Create an account");
      await page.fill("#email", email);
      await page.fill("#password", "short");
      await page.click("main button:not([type=button])");
      assert.match(await page.title(), /^Problem: /);
      assert.match(await page.textContent("#password-error"), /too short/);
      assert.equal(await page.inputValue("#email"), email);
      assert.equal(await page.inputValue("#password"), "");
      await page.fill("#password", PASSWORD);
      await page.fill("#first_name", "Ada");
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/account/confirm/");
      const { otp } = await server.mail(email);
      await page.fill("#otp", otp === "000000" ? "000001" : "000000");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("#otp-error"), /incorrect or has expired/);
      await page.fill("#otp", otp);
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/account/");
      assert.match(await page.textContent("[role=status]"), /confirmed/);
      assert.match(await page.textContent("main"), /Ada/);
      await page.reload();
      assert.equal(await page.locator("[role=status]").count(), 0);
      await page.click("text=Sign out");
      assert.equal(path(page), "/account/sign-in/");
      // Going back shows nothing of the account.
      await page.goto(`${server.url}/account/profile/`);
      assert.equal(path(page), "/account/sign-in/");
      await page.fill("#email", email);
      await page.fill("#password", "wrong password");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("#problems"), /incorrect/);
      await page.fill("#password", PASSWORD);
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/account/profile/");
      await closePage(page);
    });

    test("the link of a sign-up only fills in the form", async () => {
      const email = `link-${kind}@example.com`;
      await server.post("users/", { email, password: PASSWORD, confirm_password: PASSWORD });
      const { link } = await server.mail(email);
      const page = await open();
      await page.goto(link);
      await page.goto(link);
      assert.match(await page.textContent("main"), /One more click/);
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/account/");
      await closePage(page);
    });

    test("forgotten password", async () => {
      const email = `reset-${kind}@example.com`;
      await server.user(email);
      const page = await open();
      await page.goto(`${server.url}/account/sign-in/`);
      await page.click("text=Forgot your password?");
      await page.fill("#email", email);
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/account/reset/confirm/");
      const { otp } = await server.mail(email, "reset");
      await page.fill("#otp", otp);
      await page.fill("#password", "another fine password");
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/account/sign-in/");
      assert.match(await page.textContent("[role=status]"), /changed/);
      await signIn(page, server, email, "another fine password");
      assert.equal(path(page), "/account/");
      await closePage(page);
    });

    test("profile and photo", async () => {
      const email = `profile-${kind}@example.com`;
      await server.user(email);
      const page = await open();
      await signIn(page, server, email, PASSWORD, "/account/profile/");
      await page.fill("#first_name", '<b onclick="x">Grace</b>');
      await page.fill("#phone", "12");
      await page.click("text=Save changes");
      assert.match(await page.textContent("#phone-error"), /valid phone/);
      assert.equal(await page.inputValue("#first_name"), '<b onclick="x">Grace</b>');
      await page.fill("#phone", "+1 (234) 567-8900");
      await page.fill("#birthday", "1990-02-03");
      await page.selectOption("#country", "US");
      await page.click("text=Save changes");
      assert.match(await page.textContent("[role=status]"), /saved/);
      assert.equal(await page.inputValue("#phone"), "+12345678900");
      assert.equal(await page.inputValue("#country"), "US");
      const picture = join(server.folder, `photo-${kind}.png`);
      writeFileSync(picture, PNG);
      await page.setInputFiles("#photo", picture);
      await page.click("text=Upload photo");
      assert.match(await page.textContent("[role=status]"), /saved/);
      assert.ok(await page.locator("main img.avatar").evaluate((image) => image.src.includes("/media/photos/")));
      const text = join(server.folder, `photo-${kind}.txt`);
      writeFileSync(text, "not a picture");
      await page.setInputFiles("#photo", text);
      await page.click("text=Upload photo");
      assert.match(await page.textContent("#photo-error"), /JPEG/);
      await page.click("text=Remove photo");
      assert.equal(await page.locator("main img.avatar").count(), 0);
      await closePage(page);
    });

    test("another address, its code and its undo link", async () => {
      const email = `old-${kind}@example.com`;
      const other = `other-${kind}@example.com`;
      await server.user(email);
      const page = await open();
      await signIn(page, server, email, PASSWORD, "/account/email/");
      await page.fill("#email", other);
      await page.click("text=Change address");
      assert.match(await page.textContent("main"), new RegExp(other));
      const { otp } = await server.mail(other);
      await page.fill("#otp", otp);
      await page.click("text=Confirm address");
      assert.match(await page.textContent("[role=status]"), /confirmed/);
      const { link } = await server.mail(email, "changed");
      await page.goto(link);
      assert.match(await page.textContent("main"), new RegExp(email));
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("h1"), /undone/);
      await page.goto(`${server.url}/account/`);
      assert.equal(path(page), "/account/sign-in/");
      await closePage(page);
    });

    test("password, devices, activity", async () => {
      const email = `devices-${kind}@example.com`;
      await server.user(email);
      const page = await open();
      await signIn(page, server, email, PASSWORD, "/account/sessions/");
      assert.equal(await page.locator(".list > li").count(), 2);
      await page.click("text=Sign out all other devices");
      assert.equal(await page.locator(".list > li").count(), 1);
      await page.goto(`${server.url}/account/password/`);
      await page.fill("#current_password", "wrong password");
      await page.fill("#password", "another fine password");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("#current_password-error"), /incorrect/);
      await page.fill("#current_password", PASSWORD);
      await page.fill("#password", "another fine password");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("[role=status]"), /changed/);
      await page.goto(`${server.url}/account/activity/`);
      assert.match(await page.textContent("main"), /Password changed/);
      await closePage(page);
    });

    test("recent authentication, download, deletion", async () => {
      const email = `gone-${kind}@example.com`;
      await server.user(email);
      const page = await open();
      await signIn(page, server, email, PASSWORD, "/account/data/");
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.click("main button:not([type=button])"),
      ]);
      assert.equal(download.suggestedFilename(), "account.json");
      await server.advance(700);
      await page.goto(`${server.url}/account/delete/`);
      assert.equal(path(page), "/account/reauthenticate/");
      await page.fill("#password", "wrong password");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("#password-error"), /incorrect/);
      await page.fill("#password", PASSWORD);
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/account/delete/");
      await page.fill("#password", PASSWORD);
      await page.click("main button.danger");
      assert.match(await page.textContent("[role=status]"), /deleted/);
      await signIn(page, server, email);
      assert.match(await page.textContent("#problems"), /incorrect/);
      await closePage(page);
    });
  });
}

test("everything by keyboard", async () => {
  const email = "keyboard@example.com";
  await server.user(email);
  const page = await openPage(browser);
  await page.goto(`${server.url}/account/sign-in/`);
  // The page begins in its first field, as soon as the browser has drawn it.
  await page.waitForFunction(() => document.activeElement.id === "email");
  await page.keyboard.type(email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${server.url}/account/`);
  // The first stop is the way past the navigation.
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  const reached = new Set();
  for (let step = 0; step < 40; step++) {
    await page.keyboard.press("Tab");
    const [name, ring, tag] = await page.evaluate(() => [
      document.activeElement.textContent.trim(),
      getComputedStyle(document.activeElement).outlineStyle,
      document.activeElement.tagName,
    ]);
    if (tag === "BODY") break;
    assert.notEqual(ring, "none", `no visible focus on ${name}`);
    reached.add(name);
  }
  for (const name of ["Sign out", "Profile", "Devices", "Your data"]) {
    assert.ok(reached.has(name), `${name} is not reached by Tab`);
  }
  await closePage(page);
});

test("a password can be shown and is hidden again before it is sent", async () => {
  const page = await openPage(browser);
  await page.goto(`${server.url}/account/sign-in/`);
  await page.fill("#password", "secret");
  await page.click("[data-show=password]");
  assert.equal(await page.getAttribute("#password", "type"), "text");
  await page.click("[data-show=password]");
  assert.equal(await page.getAttribute("#password", "type"), "password");
  await closePage(page);
});

// A picture of 64 x 64 pixels.
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAT0lEQVR42u3PQQkAAAgEsItjJhMbywi+hcEKLNXzWgQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQELgtZCaEttSk+KwAAAABJRU5ErkJggg==",
  "base64",
);
