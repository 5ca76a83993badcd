// An accounts server for tests with node:test, vitest and Playwright, without dependencies.
//
//   const accounts = await startAccounts({ seed: "seed.jsonl" });
//   ...
//   await accounts.stop();
//
// In Playwright, as a fixture with a server per worker that is reset before each test:
//
//   export const test = base.extend({
//     accountsServer: [async ({}, use) => {
//       const server = await startAccounts({ seed });
//       await use(server);
//       await server.stop();
//     }, { scope: "worker" }],
//     accounts: async ({ accountsServer }, use) => {
//       await accountsServer.reset();
//       await use(accountsServer);
//     },
//   });
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export async function startAccounts({ seed, args = [] } = {}) {
  const program = process.env.SERVER_PROGRAM ?? "accounts-server";
  const flags = ["--dev", "--ephemeral", "--exit-with-parent", "--listen", "127.0.0.1:0"];
  if (seed) flags.push("--seed", seed);
  const server = spawn(program, [...flags, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  // The first line is printed once the server accepts connections. Mails follow, so keep reading.
  const url = await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`accounts-server exited with ${code}`)));
    createInterface({ input: server.stdout })
      .once("line", (line) => resolve(line.split(" ").at(-1)))
      .on("line", () => {});
  });
  return new Accounts(url, server);
}

class Accounts {
  constructor(url, server) {
    this.url = url;
    this.server = server;
  }

  // Status and JSON of a response; `path` is relative to /api/v1/accounts/ or absolute.
  async request(method, path, { body, access } = {}) {
    const url = this.url + (path.startsWith("/") ? path : `/api/v1/accounts/${path}`);
    const headers = { "content-type": "application/json" };
    if (access) headers.authorization = `Bearer ${access}`;
    const response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : null };
  }

  async signIn(email, password = "securepassword123") {
    const { status, body } = await this.request("POST", "token/", { body: { email, password } });
    if (status !== 200) throw new Error(JSON.stringify(body));
    return body.access;
  }

  // The code in the newest mail to an address.
  async otp(email) {
    const { body } = await this.request("GET", `/dev/mail/?to=${encodeURIComponent(email)}`);
    return body.find((mail) => mail.otp).otp;
  }

  async advance(seconds) {
    await this.request("POST", "/dev/clock/", { body: { advance_seconds: seconds } });
  }

  async reset() {
    const { status } = await this.request("POST", "/dev/reset/");
    if (status !== 204) throw new Error(`reset failed with status ${status}`);
  }

  async stop() {
    const ended = new Promise((resolve) => this.server.once("exit", resolve));
    this.server.kill();
    await ended;
  }
}
