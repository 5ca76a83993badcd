// A server and a browser for each test file, and what all tests do with them.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const PASSWORD = "correct horse battery";

/** A running server of the built program, with --dev, on a free port and a temporary folder. */
export async function startServer(...flags) {
  if (!flags.includes("--listen")) flags.unshift("--listen", "127.0.0.1:0");
  const folder = mkdtempSync(join(tmpdir(), "accounts-pages-"));
  const program = process.env.ACCOUNTS_SERVER;
  const child = spawn(
    program,
    ["--dev", "--db", join(folder, "users.db"), ...flags],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  const lines = createInterface({ input: child.stdout });
  const output = [];
  const url = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    lines.on("line", (line) => {
      output.push(line);
      const match = line.match(/listening on (http:\/\/\S+)/);
      if (match) resolve(match[1]);
    });
  });
  return {
    url,
    folder,
    output,
    async stop() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
    /** The newest mail to an address; waits until it is there. */
    async mail(to, contains = "") {
      for (let round = 0; round < 200; round++) {
        const answer = await fetch(`${url}/dev/mail/?to=${encodeURIComponent(to)}`);
        const mail = (await answer.json()).find((mail) => mail.subject.includes(contains));
        if (mail) return mail;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error(`no mail to ${to}`);
    },
    /** The link that makes the first staff account, from standard output. */
    async setupLink() {
      const link = () => output.join(" ").match(/http:\/\/\S+\/console\/setup\/\S+/)?.[0];
      for (let round = 0; round < 200 && !link(); round++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return link();
    },
    /** A staff account, made on the command line. */
    staff(email) {
      const database = join(folder, "users.db");
      const made = spawnSync(
        program,
        ["--dev", "--db", database, "user", "create", email, "--staff", "--password-stdin"],
        { input: `${PASSWORD}\n`, encoding: "utf8" },
      );
      assert.equal(made.status, 0, made.stderr);
      return Number(made.stdout);
    },
    /** Moves the server's clock. */
    async advance(seconds) {
      const answer = await fetch(`${url}/dev/clock/`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ advance_seconds: seconds }),
      });
      assert.equal(answer.status, 200);
    },
    /** The time of the server's clock, in seconds. */
    async now() {
      const answer = await fetch(`${url}/dev/clock/`);
      return Date.parse((await answer.json()).now) / 1000;
    },
    /** A confirmed account, made over the API. */
    async user(email, fields = {}) {
      await this.post("users/", { email, password: PASSWORD, confirm_password: PASSWORD, ...fields });
      const { otp } = await this.mail(email);
      const { access } = await this.post("otp/verify/", { email, otp });
      return access;
    },
    async post(path, body, access) {
      const answer = await fetch(`${url}/api/v1/accounts/${path}`, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          ...(access ? { Authorization: `Bearer ${access}` } : {}),
        },
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
      return text ? JSON.parse(text) : null;
    },
  };
}

export async function startBrowser(...flags) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...flags,
    ],
  });
}

/** A page that fails the test on script errors and on anything the policy had to block. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ locale: "en", ...options });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("console", (message) => {
    // A 4xx that a test asks for is reported as a failed resource too.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      faults.push(`console: ${message.text()}`);
    }
  });
  page.faults = faults;
  return page;
}

export async function closePage(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

/** Signs in by the form. */
export async function signIn(page, server, email, password = PASSWORD, next = "") {
  await page.goto(`${server.url}/account/sign-in/${next && `?next=${encodeURIComponent(next)}`}`);
  await page.fill("#email", email);
  await page.fill("#password", password);
  await page.click("main button:not([type=button])");
}

export const path = (page) => new URL(page.url()).pathname;

/** The code that an authenticator app shows (RFC 6238) for a secret in base 32. */
export function totp(secret, seconds) {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => digits.indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g).map((byte) => parseInt(byte, 2));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(seconds / 30)));
  const hash = createHmac("sha1", Buffer.from(bytes)).update(step).digest();
  const word = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(word % 1_000_000).padStart(6, "0");
}

/** Gives a page an authenticator of the device, which confirms everything. */
export async function addAuthenticator(page) {
  const client = await page.context().newCDPSession(page);
  await client.send("WebAuthn.enable");
  const { authenticatorId } = await client.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return {
    /** Whether the finger is the right one. */
    verify: (isUserVerified) =>
      client.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified }),
    credentials: async () =>
      (await client.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
  };
}
