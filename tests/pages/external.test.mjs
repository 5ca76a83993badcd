// Signing in with another provider: whole flows in a browser that leaves for the provider and comes back.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { checkMarkup, checkNarrow, checkPage, checkWeight } from "./checks.mjs";
import { startProvider } from "./provider.mjs";
import { PASSWORD, closePage, openPage, path, signIn, startBrowser, startServer, totp } from "./support.mjs";

const LANGUAGES = ["en", "de", "fr", "es", "it", "pt-BR"];
const SUBMIT = "main button:not([type=button])";
const CONTINUE = "button[value=example]";

let folder;
let provider;
let server;
let browser;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "accounts-providers-"));
  provider = await startProvider();
  const config = join(folder, "config.toml");
  const key = join(folder, "apple.p8");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }));
  const entry = (values) =>
    `[[social.providers]]\n${Object.entries(values)
      .map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`)
      .join("")}`;
  const client = { client_id: "accounts", client_secret: "a secret of the provider" };
  const oidc = { kind: "oidc", issuer: provider.url, ...client };
  writeFileSync(
    config,
    [
      entry({ id: "example", name: "Example", trust_email: true, ...oidc }),
      entry({ id: "stranger", name: "Stranger", ...oidc }),
      entry({ id: "google", kind: "google", ...client }),
      entry({ id: "github", kind: "github", ...client }),
      entry({ id: "microsoft", kind: "microsoft", ...client }),
      entry({ id: "apple", kind: "apple", client_id: "a", team_id: "T", key_id: "K", private_key_file: key }),
    ].join("\n"),
  );
  server = await startServer("--config", config);
  provider.now = () => server.now();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await provider?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Somebody who is signed in at the provider. */
function beAt(subject, email, claims = {}) {
  Object.assign(provider, { mode: "query", isDown: false });
  provider.person = { sub: subject, email, email_verified: true, ...claims };
}

/** Continues with the provider from the sign-in page. */
async function enter(page, button = CONTINUE, next = "") {
  await page.goto(`${server.url}/account/sign-in/${next && `?next=${encodeURIComponent(next)}`}`);
  await page.click(button);
}

for (const javaScriptEnabled of [true, false]) {
  describe(javaScriptEnabled ? "with script" : "without script", () => {
    const kind = javaScriptEnabled ? "js" : "plain";
    const open = (options = {}) => openPage(browser, { javaScriptEnabled, ...options });

    test("a new account, and the way back to the page that was asked for", async () => {
      const email = `new-${kind}@example.com`;
      beAt(`new-${kind}`, email, { given_name: "Ada" });
      const page = await open();
      await page.goto(`${server.url}/account/sign-up/?next=${encodeURIComponent("/account/sessions/")}`);
      await page.click(CONTINUE);
      await page.waitForURL(`${server.url}/account/sessions/`);
      assert.equal(provider.asked.response_type, "code");
      assert.equal(provider.asked.code_challenge_method, "S256");
      await page.goto(`${server.url}/account/`);
      assert.match(await page.textContent("main"), new RegExp(email));
      // There is no password to change, and deleting asks for none.
      await page.goto(`${server.url}/account/password/`);
      assert.equal(await page.locator("[type=password]").count(), 0);
      await page.goto(`${server.url}/account/delete/`);
      await page.click("main button.danger");
      await page.waitForURL(`${server.url}/account/sign-in/`);
      await closePage(page);
    });

    test("a provider that leads to another origin, and back", async () => {
      beAt(`elsewhere-${kind}`, `elsewhere-${kind}@example.com`);
      provider.mode = "elsewhere";
      const page = await open();
      await enter(page);
      await page.waitForURL(`${server.url}/account/`);
      // The page in between is not in the history.
      await page.goBack();
      assert.equal(path(page), "/account/");
      await closePage(page);
    });

    test("an answer by a form", async () => {
      beAt(`form-${kind}`, `form-${kind}@example.com`);
      provider.mode = "form_post";
      const page = await open();
      await enter(page, CONTINUE, "/account/profile/");
      await page.waitForURL(`${provider.url}/**`);
      await page.click("button");
      await page.waitForURL(`${server.url}/account/profile/`);
      await closePage(page);
    });

    test("an account that exists is connected after signing in", async () => {
      const email = `old-${kind}@example.com`;
      await server.user(email);
      beAt(`old-${kind}`, email);
      const page = await open();
      await enter(page, CONTINUE, "/account/profile/");
      await page.locator("h1", { hasText: /already have an account/ }).waitFor();
      await page.click("main a.button");
      assert.equal(path(page), "/account/sign-in/");
      assert.equal(await page.inputValue("#email"), email);
      await page.fill("#password", "wrong");
      await page.click(SUBMIT);
      await page.fill("#password", PASSWORD);
      await page.click(SUBMIT);
      await page.waitForURL(`${server.url}/account/profile/`);
      assert.match(await page.textContent("[role=status]"), /connected/);
      await page.goto(`${server.url}/account/connections/`);
      assert.match(await page.textContent("#identities"), new RegExp(email));
      await page.click("text=Sign out");
      await enter(page);
      await page.waitForURL(`${server.url}/account/`);
      await page.goto(`${server.url}/account/connections/`);
      await page.click("text=Disconnect");
      assert.match(await page.textContent("[role=status]"), /disconnected/);
      await closePage(page);
    });

    test("connecting survives a forgotten password", async () => {
      const email = `forgot-${kind}@example.com`;
      await server.user(email);
      beAt(`forgot-${kind}`, email);
      const page = await open();
      await enter(page);
      await page.click("main a.button");
      await page.click("#forgotten a");
      await page.click(SUBMIT);
      const { otp } = await server.mail(email, "reset");
      await page.fill("#otp", otp);
      await page.fill("#password", "another fine password");
      await page.click(SUBMIT);
      await page.fill("#email", email);
      await page.fill("#password", "another fine password");
      await page.click(SUBMIT);
      await page.waitForURL(`${server.url}/account/`);
      assert.match(await page.textContent("[role=status]"), /connected/);
      await closePage(page);
    });

    test("an address that the provider has not verified gets a code", async () => {
      const email = `unverified-${kind}@example.com`;
      beAt(`unverified-${kind}`, email);
      const page = await open();
      await enter(page, "button[value=stranger]", "/account/profile/");
      await page.waitForURL(`${server.url}/account/confirm/**`);
      const { otp } = await server.mail(email);
      await page.fill("#otp", otp);
      await page.click(SUBMIT);
      await page.waitForURL(`${server.url}/account/profile/`);
      await page.goto(`${server.url}/account/connections/`);
      assert.match(await page.textContent("#identities"), /Stranger/);
      await closePage(page);
    });

    test("a second factor", async () => {
      const email = `factor-${kind}@example.com`;
      await server.user(email);
      beAt(`factor-${kind}`, email);
      const page = await open();
      await signIn(page, server, email, PASSWORD, "/account/connections/");
      await page.click(CONTINUE);
      await page.waitForURL(`${server.url}/account/connections/`);
      assert.match(await page.textContent("[role=status]"), /connected/);
      await page.goto(`${server.url}/account/security/totp/`);
      const secret = (await page.textContent(".secret")).replaceAll(" ", "");
      await page.fill("#code", totp(secret, await server.now()));
      await page.click(SUBMIT);
      const code = await page.textContent(".codes code");
      await page.click("text=Sign out");
      await enter(page, CONTINUE, "/account/profile/");
      await page.waitForURL(`${server.url}/account/second-factor/**`);
      await page.click("text=recovery code");
      await page.fill("#code", code);
      await page.click(SUBMIT);
      await page.waitForURL(`${server.url}/account/profile/`);
      await closePage(page);
    });

    test("the provider once more, before something that matters", async () => {
      const email = `again-${kind}@example.com`;
      beAt(`again-${kind}`, email);
      const page = await open();
      await enter(page);
      await page.waitForURL(`${server.url}/account/`);
      await server.advance(3600);
      await page.goto(`${server.url}/account/email/`);
      assert.equal(path(page), "/account/reauthenticate/");
      await page.click(CONTINUE);
      await page.waitForURL(`${server.url}/account/email/`);
      assert.equal(provider.asked.prompt, "login");
      // Somebody else at the provider does not count.
      await server.advance(3600);
      beAt(`somebody-else-${kind}`, email);
      await page.goto(`${server.url}/account/email/`);
      await page.click(CONTINUE);
      await page.locator("h1", { hasText: /another account/ }).waitFor();
      await closePage(page);
    });

    test("what goes wrong has a page with a way on", async () => {
      beAt(`wrong-${kind}`, `wrong-${kind}@example.com`);
      provider.mode = "denied";
      const page = await open();
      await enter(page);
      await page.locator("h1", { hasText: /cancelled/ }).waitFor();
      await page.click("main a.button");
      assert.equal(path(page), "/account/sign-in/");
      beAt(`wrong-${kind}`, undefined);
      await page.click(CONTINUE);
      await page.locator("h1", { hasText: /No email address/ }).waitFor();
      provider.isDown = true;
      await enter(page);
      await page.locator("h1", { hasText: /can't be reached/ }).waitFor();
      await closePage(page);
    });
  });
}

test("pages of the flow hold to the checks, in every language", async () => {
  const email = "checks@example.com";
  await server.user(email);
  const page = await openPage(browser);
  page.on("response", (response) => {
    if (response.request().isNavigationRequest()) page.last = response;
  });
  const check = async (name) => {
    for (const one of [checkMarkup, checkPage]) {
      await one(page, name).catch((fault) => page.faults.push(fault.message));
    }
  };
  for (const start of ["/account/sign-in/", "/account/sign-up/"]) {
    await page.goto(server.url + start);
    assert.equal(await page.locator("button.provider").count(), 6);
    await check(`${start} with providers`);
    await checkWeight(page.context(), server.url + start, `${start} with providers`);
  }
  beAt("checks", email);
  await enter(page);
  await page.locator("h1", { hasText: /already have an account/ }).waitFor();
  await check("an account that exists");
  await page.click("main a.button");
  await page.fill("#password", PASSWORD);
  await page.click(SUBMIT);
  await page.waitForURL(`${server.url}/account/`);
  await page.goto(`${server.url}/account/connections/`);
  await check("connections");
  await page.setViewportSize({ width: 320, height: 640 });
  for (const language of LANGUAGES) {
    for (const where of ["/account/connections/", "/account/reauthenticate/"]) {
      await page.goto(`${server.url}${where}?lang=${language}`);
      assert.equal(await page.getAttribute("html", "lang"), language);
      await checkNarrow(page, `${where} in ${language}`);
    }
  }
  await page.goto(`${server.url}/account/`);
  await page.click("form[action='/account/sign-out/'] button");
  for (const language of LANGUAGES) {
    await page.goto(`${server.url}/account/sign-in/?lang=${language}`);
    await checkNarrow(page, `signing in with providers in ${language}`);
  }
  await closePage(page);
});

test("by keyboard", async () => {
  beAt("keyboard", "keyboard@example.com");
  const page = await openPage(browser);
  await page.goto(`${server.url}/account/sign-in/`);
  await page.focus("button.provider");
  await page.keyboard.press("Enter");
  await page.waitForURL(`${server.url}/account/`);
  await closePage(page);
});
