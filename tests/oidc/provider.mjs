// The provider that is tested: the built server with an account and clients. And what a person does
// at it with a browser.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const EMAIL = "ann@example.com";
const PASSWORD = "correct horse battery";

/** Starts a program, and waits for a line that has this in it. Returns the first group, and the program. */
export async function startProgram(command, args, pattern, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const output = [];
  const found = new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`${command} ended: ${code}\n${output.join("\n")}`)));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        output.push(line);
        const match = line.match(pattern);
        if (match) resolve(match[1]);
      });
    }
  });
  const value = await found;
  const stop = async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  };
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  return { value, output, hasEnded, stop };
}

/**
 * The server with --dev, on a free port, with one account. Its host is another site than that of the
 * applications (127.0.0.1), as it is in real life.
 */
export async function startProvider() {
  const folder = mkdtempSync(join(tmpdir(), "accounts-oidc-"));
  const program = process.env.SERVER_PROGRAM;
  const settings = ["--dev", "--db", join(folder, "users.db"), "--mail-transport", "file"];
  settings.push("--mail-dir", join(folder, "mail"));
  const run = (args, input = "") => {
    const done = spawnSync(program, [...settings, ...args], { input, encoding: "utf8" });
    assert.equal(done.status, 0, done.stderr);
    return done.stdout.trim();
  };
  const userId = run(["user", "create", EMAIL, "--password-stdin"], `${PASSWORD}\n`);
  const server = await startProgram(
    program,
    [...settings, "--listen", "localhost:0"],
    /listening on (http:\/\/\S+)/,
  );
  const discovered = await fetch(`${server.value}/.well-known/openid-configuration`);
  const { issuer } = await discovered.json();
  const api = async (method, path, body, access) => {
    const headers = { "Content-Type": "application/json" };
    if (access) headers.Authorization = `Bearer ${access}`;
    const options = { method, headers, body: JSON.stringify(body) };
    const answer = await fetch(`${issuer}/api/v1/accounts/${path}`, options);
    assert.ok(answer.ok, await answer.clone().text());
    return answer.json();
  };
  const { access } = await api("POST", "token/", { email: EMAIL, password: PASSWORD });
  await api("PATCH", "users/me/", { first_name: "Ann", last_name: "Example" }, access);
  return {
    issuer,
    userId,
    /** Registers a client, beside the running server. Public ones have no secret. */
    addClient({ id, secret, redirectUris, postLogoutRedirectUris = [], scopes }) {
      const flags = ["--id", id, "--name", `The ${id} application`];
      if (secret) {
        const file = join(folder, `${id}.secret`);
        writeFileSync(file, `${secret}\n`, { mode: 0o600 });
        flags.push("--secret-file", file);
      } else {
        flags.push("--public");
      }
      for (const uri of redirectUris) flags.push("--redirect-uris", uri);
      for (const uri of postLogoutRedirectUris) flags.push("--post-logout-redirect-uris", uri);
      for (const scope of scopes ?? []) flags.push("--scopes", scope);
      run(["client", "add", ...flags]);
    },
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A secret for a client, with characters that have to be encoded in forms and headers. */
export const newSecret = () => `${randomBytes(32).toString("base64")}+%/`;

export const startBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });

/** Signs in and allows what is asked for, until the browser is back at the application. */
export async function proceed(page, provider, application) {
  const seen = [];
  for (let step = 0; step < 8; step++) {
    // Pages that lead on by themselves may be shown for a moment.
    await page.waitForLoadState("networkidle");
    const url = new URL(page.url());
    if (url.origin === application) return seen;
    assert.equal(url.origin, provider.issuer, page.url());
    seen.push(url.pathname);
    if (url.pathname === "/account/sign-in/") {
      await page.fill("#email", EMAIL);
      await page.fill("#password", PASSWORD);
      await page.click("main button:not([type=button])");
    } else if (await page.locator("button[value=allow]").count()) {
      await page.click("button[value=allow]");
    } else if (url.pathname === "/account/passkeys/offer/") {
      await page.click("main a[href], main button");
    } else {
      await page.waitForURL((next) => next.href !== url.href);
    }
  }
  throw new Error(`no way back to ${application}: ${seen.join(", ")}\n${await page.textContent("body")}`);
}

/** Whether the browser is signed in at the provider. */
export async function isSignedIn(page, provider) {
  await page.goto(`${provider.issuer}/account/`);
  return new URL(page.url()).pathname === "/account/";
}
