// Signing in to applications and out again: two applications on origins of their own, the first of
// which sends the browser on to the second.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { checkMarkup, checkNarrow, checkPage, checkWeight } from "./checks.mjs";
import { PASSWORD, closePage, openPage, path, signIn, startBrowser, startServer } from "./support.mjs";

const LANGUAGES = ["en", "de", "fr", "es", "it", "pt-BR"];
const CHALLENGE = createHash("sha256").update("a verifier").digest("base64url");

let server;
let browser;
let app;
before(async () => {
  server = await startServer();
  browser = await startBrowser();
  app = await startApplications();
  const added = spawnSync(
    process.env.ACCOUNTS_SERVER,
    [
      ...["--dev", "--db", join(server.folder, "users.db"), "client", "add", "--public"],
      ...["--id", "app", "--name", "The App", "--redirect-uris", "http://127.0.0.1/cb"],
      ...["--post-logout-redirect-uris", "http://127.0.0.1/bye"],
      ...["--scopes", "openid,profile,email,phone,address,offline_access"],
    ],
    { encoding: "utf8" },
  );
  assert.equal(added.status, 0, added.stderr);
});
after(async () => {
  await browser?.close();
  await app?.stop();
  await server?.stop();
});

/** An application at 127.0.0.1 that sends browsers on to another one at localhost. */
async function startApplications() {
  const answers = [];
  const listen = (host, handle) =>
    new Promise((resolve) => {
      const listener = createServer(handle).listen(0, host, () => resolve(listener));
    });
  const second = await listen("localhost", (request, response) => {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<!doctype html><title>Done</title><link rel=icon href=data:,><h1>Done</h1>");
  });
  const done = `http://localhost:${second.address().port}/done`;
  const first = await listen("127.0.0.1", (request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const url = new URL(request.url, "http://127.0.0.1");
      const fields = request.method === "POST" ? new URLSearchParams(body) : url.searchParams;
      const { origin, referer } = request.headers;
      const { method } = request;
      answers.push({ method, origin, referer, path: url.pathname, ...Object.fromEntries(fields) });
      response.writeHead(303, { Location: done });
      response.end();
    });
  });
  return {
    url: `http://127.0.0.1:${first.address().port}`,
    done,
    /** The last answer to a path, which was not read before. */
    take() {
      assert.equal(answers.length, 1);
      return answers.pop();
    },
    async stop() {
      for (const listener of [first, second]) {
        listener.closeAllConnections();
        await new Promise((resolve) => listener.close(resolve));
      }
    },
  };
}

function authorize(changes = {}) {
  const query = new URLSearchParams({
    client_id: "app",
    redirect_uri: `${app.url}/cb`,
    response_type: "code",
    scope: "openid profile email phone address offline_access",
    state: "a state",
    code_challenge: CHALLENGE,
    code_challenge_method: "S256",
    ...changes,
  });
  return `${server.url}/o/authorize/?${query}`;
}

async function open(options) {
  const page = await openPage(browser, options);
  page.on("response", (response) => {
    if (response.request().isNavigationRequest()) page.last = response;
  });
  return page;
}

/** A page of a new account that is asked whether the application may have what it asks for. */
async function asked(email, changes, options) {
  await server.user(email);
  const page = await open(options);
  await signIn(page, server, email);
  await page.waitForURL("**/account/");
  await page.goto(authorize(changes));
  assert.match(path(page), /^\/o\/authorize\/[\w-]{43}\/$/);
  return page;
}

const button = (action) => `main button.full[value=${action}]`;

test("a whole sign-in ends at the application, also where that sends the browser on", async () => {
  const email = "ada@example.com";
  await server.user(email);
  const page = await open();
  await page.goto(authorize({ login_hint: email }));
  assert.equal(path(page), "/account/sign-in/");
  assert.equal(await page.inputValue("#email"), email);
  await page.fill("#password", PASSWORD);
  await page.click("main button:not([type=button])");
  await page.waitForSelector(button("allow"));
  assert.match(await page.textContent("h1"), /Sign in to The App/);
  await page.click(button("allow"));
  await page.waitForURL(app.done);
  const answer = app.take();
  assert.equal(answer.method, "GET");
  assert.equal(answer.code.length, 43);
  assert.equal(answer.state, "a state");
  assert.equal(answer.iss, server.url);
  assert.equal(answer.referer, undefined);
  await closePage(page);
});

test("an answer that is posted ends at the application too", async () => {
  const page = await asked("bea@example.com", { response_mode: "form_post" });
  await page.click(button("allow"));
  await page.waitForURL(app.done);
  const answer = app.take();
  assert.equal(answer.method, "POST");
  assert.equal(answer.code.length, 43);
  assert.equal(answer.origin, server.url);
  await closePage(page);
});

test("without script it takes one more click at most", async () => {
  const page = await asked("cem@example.com", {}, { javaScriptEnabled: false });
  await page.click(button("allow"));
  await page.waitForURL(app.done);
  assert.equal(app.take().code.length, 43);
  await page.goto(authorize({ response_mode: "form_post" }));
  await page.click(button("allow"));
  await page.click("main form button");
  await page.waitForURL(app.done);
  assert.equal(app.take().method, "POST");
  await closePage(page);
});

test("the keyboard alone is enough", async () => {
  const page = await asked("dan@example.com");
  for (let presses = 0; presses < 12; presses++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.value === "deny")) break;
  }
  await page.keyboard.press("Enter");
  await page.waitForURL(app.done);
  const answer = app.take();
  assert.equal(answer.error, "access_denied");
  assert.equal(answer.code, undefined);
  await closePage(page);
});

test("another account can sign in instead", async () => {
  await server.user("eve@example.com");
  const page = await asked("fay@example.com");
  await page.click("main button[value=switch]");
  await page.waitForURL("**/account/sign-in/**");
  await page.fill("#email", "eve@example.com");
  await page.fill("#password", PASSWORD);
  await page.click("main button:not([type=button])");
  await page.waitForSelector(button("allow"));
  assert.match(await page.textContent("main"), /eve@example\.com/);
  await page.click(button("allow"));
  await page.waitForURL(app.done);
  assert.equal(app.take().code.length, 43);
  await closePage(page);
});

test("a form of the application itself starts it as well", async () => {
  const email = "gus@example.com";
  await server.user(email);
  const page = await open();
  await signIn(page, server, email);
  await page.waitForURL("**/account/");
  // A page of another origin posts the request.
  await page.goto(app.done);
  await page.evaluate((url) => {
    const { origin, pathname, searchParams } = new URL(url);
    const form = document.createElement("form");
    form.method = "post";
    form.action = origin + pathname;
    for (const [name, value] of searchParams) {
      const input = document.createElement("input");
      Object.assign(input, { name, value, type: "hidden" });
      form.append(input);
    }
    document.body.append(form);
    form.submit();
  }, authorize());
  await page.waitForSelector(button("allow"));
  assert.match(path(page), /^\/o\/authorize\/[\w-]{43}\/$/);
  await page.click(button("allow"));
  await page.waitForURL(app.done);
  assert.equal(app.take().code.length, 43);
  await closePage(page);
});

test("signing out asks, and leads back to the application", async () => {
  const email = "hal@example.com";
  await server.user(email);
  const page = await open();
  await signIn(page, server, email);
  await page.waitForURL("**/account/");
  const query = new URLSearchParams({
    client_id: "app",
    post_logout_redirect_uri: `${app.url}/bye`,
    state: "bye",
  });
  await page.goto(`${server.url}/o/logout/?${query}`);
  await page.waitForSelector(button("sign_out"));
  await checkMarkup(page, "signing out");
  await checkPage(page, "signing out");
  await page.click(button("sign_out"));
  await page.waitForURL(app.done);
  const answer = app.take();
  assert.equal(answer.path, "/bye");
  assert.equal(answer.state, "bye");
  await page.goto(`${server.url}/account/`);
  assert.equal(path(page), "/account/sign-in/");
  await closePage(page);
});

test("the pages hold in every state and language", async () => {
  const page = await asked("a.very.long.address.of.somebody@an-even-longer-domain-name.example.com");
  await checkMarkup(page, "consent");
  await checkPage(page, "consent");
  await checkWeight(page.context(), page.url(), "consent");
  const consent = page.url();
  await page.setViewportSize({ width: 320, height: 640 });
  for (const language of LANGUAGES) {
    await page.goto(`${consent}?lang=${language}`);
    assert.equal(await page.getAttribute("html", "lang"), language);
    await checkNarrow(page, `consent in ${language}`);
    await page.goto(authorize({ client_id: "unknown", lang: language }));
    await checkNarrow(page, `a wrong request in ${language}`);
  }
  await page.setViewportSize({ width: 1280, height: 720 });
  await page.goto(authorize({ client_id: "unknown" }));
  await checkMarkup(page, "a wrong request");
  await checkPage(page, "a wrong request");
  await server.advance(10);
  await page.goto(authorize({ scope: "openid", prompt: "select_account" }));
  await page.waitForSelector(button("allow"));
  await checkPage(page, "the choice of an account");

  // The pages that lead on are there for a moment only, so what was sent is looked at.
  for (const mode of ["query", "form_post"]) {
    await page.goto(authorize({ response_mode: mode }));
    // The browser forgets an answer as soon as the page leads on, so it is read on its way.
    let html;
    await page.route("**/o/authorize/**", async (route) => {
      if (route.request().method() !== "POST") return route.continue();
      const response = await route.fetch();
      html = await response.text();
      await route.fulfill({ response });
    });
    await page.click(button("allow"));
    await page.waitForURL(app.done);
    await page.unroute("**/o/authorize/**");
    await checkMarkup({ last: { text: () => html } }, `leading on by ${mode}`);
    app.take();
    const quiet = html
      .replace(/<meta http-equiv="refresh"[^>]*>/, "")
      .replace(/<script[^>]*><\/script>/, "");
    await page.route("**/o/authorize/sent/", (route) =>
      route.fulfill({ contentType: "text/html; charset=utf-8", body: quiet }),
    );
    await page.goto(`${server.url}/o/authorize/sent/`);
    await checkPage(page, `leading on by ${mode}`);
    await page.unroute("**/o/authorize/sent/");
  }
  await closePage(page);
});
