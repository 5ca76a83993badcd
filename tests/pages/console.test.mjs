// The console, as staff use it: with script, without script, by keyboard.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { PASSWORD, closePage, openPage, path, signIn, startBrowser, startServer } from "./support.mjs";

const STAFF = "root@example.com";

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await startBrowser();
  server.staff(STAFF);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

for (const javaScriptEnabled of [true, false]) {
  describe(javaScriptEnabled ? "with script" : "without script", () => {
    const kind = javaScriptEnabled ? "js" : "plain";
    const open = async (at = "/console/users/") => {
      const page = await openPage(browser, { javaScriptEnabled });
      await signIn(page, server, STAFF, PASSWORD, at);
      assert.equal(path(page), at);
      return page;
    };
    const search = async (page, words, count) => {
      await page.fill("#search", words);
      if (!javaScriptEnabled) await page.press("#search", "Enter");
      await page.locator("#count", { hasText: count }).waitFor();
    };

    test("first administrator and first user", async () => {
      const fresh = await startServer();
      const page = await openPage(browser, { javaScriptEnabled });
      await page.goto(`${fresh.url}/console/`);
      assert.match(await page.textContent("main"), /setup link/);
      await page.goto(await fresh.setupLink());
      await page.fill("#email", "first@example.com");
      await page.fill("#password", PASSWORD);
      await page.fill("#confirm_password", PASSWORD);
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/console/");
      assert.match(await page.textContent("[role=status]"), /Welcome/);
      await page.click("nav a:visible >> text=Users");
      await page.click("text=Create user");
      await page.fill("#email", "new@example.com");
      await page.fill("#password", "short");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("#password-error"), /too short/);
      await page.fill("#password", PASSWORD);
      await page.click("main button:not([type=button])");
      assert.equal(await page.textContent("h1"), "new@example.com");
      await closePage(page);
      await fresh.stop();
    });

    test("search, open, deactivate with a reason", async () => {
      const email = `grace-${kind}@example.com`;
      await server.user(email, { first_name: "Grace", last_name: "Hopper" });
      const page = await open();
      await search(page, `hopper ${kind}`, "1 user");
      assert.match(page.url(), /search=hopper/);
      await page.getByRole("link", { name: email }).click();
      assert.equal(await page.textContent("h1"), email);
      await page.selectOption("#action", "deactivate");
      await page.fill("#reason", "asked by phone");
      await page.click("text=Run action");
      assert.match(await page.textContent("[role=status]"), /Done/);
      assert.match(await page.textContent("main"), /Deactivated/);
      assert.match(await page.textContent("main"), /asked by phone/);
      await page.goBack();
      await page.reload();
      assert.match(await page.textContent("main"), /Deactivated/);
      await closePage(page);
    });

    test("filters, empty list, and a way back", async () => {
      const page = await open();
      await search(page, "nobody at all", "0 users");
      assert.match(await page.textContent("#results"), /No user matches/);
      await page.click("text=Clear filters");
      await page.selectOption("#is_staff", "true");
      if (!javaScriptEnabled) await page.click("text=Apply");
      await page.locator("#count", { hasText: /^1 user$/ }).waitFor();
      assert.match(await page.textContent("#results"), new RegExp(STAFF));
      await closePage(page);
    });

    test("an action on the selected users", async () => {
      for (const name of ["one", "two", "three"]) {
        await server.user(`${name}-${kind}@bulk-${kind}.example`);
      }
      const page = await open();
      await search(page, `bulk-${kind}`, "3 users");
      await page.getByLabel(`Select one-${kind}@`).check();
      await page.getByLabel(`Select two-${kind}@`).check();
      await page.selectOption("#action", "deactivate");
      await page.click("text=Continue");
      const main = await page.textContent("main");
      assert.match(main, /2 users/);
      assert.doesNotMatch(main, /three-/);
      await page.fill("#reason", "spam");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent(".message"), /Done for 2 users/);
      assert.match(page.url(), new RegExp(`search=bulk-${kind}`));
      assert.equal(await page.locator("tbody >> text=Deactivated").count(), 2);
      if (javaScriptEnabled) {
        await page.check("[data-select-all]");
        assert.equal(await page.locator("tbody input:checked").count(), 3);
      } else {
        assert.ok(!(await page.locator("[data-select-all]").isVisible()));
      }
      await closePage(page);
    });

    test("export of what is filtered", async () => {
      await server.user(`csv-${kind}@export.example`, { first_name: "=1+1" });
      const page = await open();
      await search(page, `csv-${kind}`, "1 user");
      // Twice: the page stays, and its button with it.
      for (let round = 0; round < 2; round++) {
        const [download] = await Promise.all([
          page.waitForEvent("download"),
          page.click("text=Export as CSV"),
        ]);
        assert.equal(download.suggestedFilename(), "users.csv");
        const text = readFileSync(await download.path(), "utf8");
        assert.equal(text.trim().split("\r\n").length, 2);
        assert.match(text, new RegExp(`,csv-${kind}@export.example,,'=1\\+1,`));
      }
      await closePage(page);
    });

    test("a deletion names the address, and continues after the password", async () => {
      const email = `gone-${kind}@example.com`;
      await server.user(email);
      const page = await open();
      await search(page, email, "1 user");
      await page.getByRole("link", { name: email }).click();
      await page.click("text=Delete the account");
      assert.match(await page.textContent("main"), new RegExp(email));
      await page.fill("#reason", "on request");
      await server.advance(3600);
      await page.click("main button.danger");
      await page.fill("[type=password]", "wrong password");
      await page.click("main button:not([type=button])");
      assert.match(await page.textContent("#problems"), /incorrect/);
      await page.fill("[type=password]", PASSWORD);
      await page.click("main button:not([type=button])");
      assert.equal(path(page), "/console/users/");
      assert.match(await page.textContent(".message"), /deleted/);
      await search(page, email, "0 users");
      await closePage(page);
    });
  });
}

test("from the sign-in to a deactivation by keyboard", async () => {
  const email = "keys@keyboard.example";
  await server.user(email);
  const page = await openPage(browser);
  await page.goto(`${server.url}/account/sign-in/?next=/console/users/`);
  await page.waitForFunction(() => document.activeElement.id === "email");
  await page.keyboard.type(STAFF);
  await page.keyboard.press("Tab");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${server.url}/console/users/`);
  // The first stop is the way past the navigation.
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  const tabTo = async (selector) => {
    for (let step = 0; step < 60; step++) {
      await page.keyboard.press("Tab");
      const [found, ring, name] = await page.evaluate((selector) => {
        const active = document.activeElement;
        return [active.matches(selector), getComputedStyle(active).outlineStyle, active.outerHTML];
      }, selector);
      assert.notEqual(ring, "none", `no visible focus on ${name.slice(0, 80)}`);
      if (found) return;
    }
    assert.fail(`${selector} is not reached by Tab`);
  };
  await tabTo("#search");
  await page.keyboard.type("keyboard.example");
  await page.locator("#count", { hasText: /^1 user$/ }).waitFor();
  await tabTo("tbody a");
  await page.keyboard.press("Enter");
  await page.waitForSelector("h1 >> text=keys@");
  await tabTo("#action");
  await page.keyboard.type("Deact");
  await tabTo("#reason");
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  await page.waitForSelector("[role=status] >> text=Done");
  assert.match(await page.textContent("main"), /by keyboard/);
  await closePage(page);
});
