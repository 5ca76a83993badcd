// Debian's glewlwyd with a database of its own, and one person.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startProgram } from "./provider.mjs";

export const EMAIL = "cleo@example.com";
const USERNAME = "cleo";
const PASSWORD = "correct horse battery";
/** What the database has after its installation. */
const ADMINISTRATOR = { username: "admin", password: "password" };
const SCOPES = ["openid", "email", "profile"];

const SCHEMA = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
/** Lets people have a property "verified" beside their address. */
const PROPERTY = `UPDATE g_user_module_instance SET gumi_parameters =
  json_set(gumi_parameters, '$."data-format".verified', json('{"read": true, "write": true}'));`;
const MODULES = "/usr/lib/glewlwyd";
const SHARED = "/usr/share/glewlwyd";
const TYPES = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "application/javascript",
  ".json": "application/json",
};

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Starts it with a fresh database. It cannot choose a port itself: when another program was faster, tries
 * the next.
 */
async function startProcess(folder) {
  const database = join(folder, "users.db");
  const input = `${readFileSync(SCHEMA, "utf8")}\n${PROPERTY}\n`;
  const made = spawnSync("sqlite3", ["-bail", database], { input, encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  // In the package the settings of the pages are a folder, so they get a file here.
  const pages = join(folder, "pages");
  const filter = (path) => basename(path) !== "config.json";
  cpSync(`${SHARED}/webapp`, pages, { recursive: true, dereference: true, filter });
  cpSync(`${SHARED}/templates/config.json`, join(pages, "config.json"));
  mkdirSync(join(folder, "none"));
  // Tells this one from another that was faster at the port.
  const prefix = `api-${randomBytes(8).toString("hex")}`;
  const settings = {
    GLWD_BIND_ADDRESS: "127.0.0.1",
    GLWD_API_PREFIX: prefix,
    GLWD_LOGIN_URL: "login.html",
    GLWD_STATIC_FILES_PATH: pages,
    GLWD_STATIC_FILES_MIME_TYPES: JSON.stringify(
      Object.entries(TYPES).map(([extension, mime_type]) => ({ extension, mime_type, compress: false })),
    ),
    GLWD_LOG_MODE: "console",
    GLWD_LOG_LEVEL: "INFO",
    GLWD_COOKIE_SECURE: "0",
    GLWD_SESSION_KEY: "session",
    GLWD_SESSION_EXPIRATION: "3600",
    GLWD_ADMIN_SCOPE: "g_admin",
    GLWD_PROFILE_SCOPE: "g_profile",
    GLWD_ADMIN_SESSION_AUTH: "cookie",
    GLWD_PROFILE_SESSION_AUTH: "cookie",
    GLWD_LOGIN_API_ENABLED: "1",
    GLWD_USER_MODULE_PATH: `${MODULES}/user`,
    GLWD_USER_MIDDLEWARE_MODULE_PATH: join(folder, "none"),
    GLWD_CLIENT_MODULE_PATH: `${MODULES}/client`,
    GLWD_AUTH_SCHEME_MODULE_PATH: `${MODULES}/scheme`,
    GLWD_PLUGIN_MODULE_PATH: `${MODULES}/plugin`,
    GLWD_HASH_ALGORITHM: "SHA512",
    GLWD_DATABASE_TYPE: "sqlite3",
    GLWD_DATABASE_SQLITE3_PATH: database,
  };
  for (let attempt = 0; attempt < 10; attempt++) {
    const port = await freePort();
    const url = `http://localhost:${port}`;
    const env = { ...process.env, ...settings, GLWD_PORT: String(port), GLWD_EXTERNAL_URL: url };
    const program = await startProgram("glewlwyd", ["--env-variables"], /Glewlwyd (started) on port/, { env });
    // It says so before it has the port.
    while (!program.hasEnded()) {
      const said = await fetch(`${url}/config`).then((answer) => answer.json(), () => {}).catch(() => {});
      if (said?.api_prefix === prefix) return { url, api: `${url}/${prefix}`, program };
      await pause(20);
    }
  }
  throw new Error("glewlwyd gets no port");
}

/** Its API for administrators. */
async function signInAdministrator(root) {
  let cookie = "";
  const api = async (method, path, body) => {
    const headers = { "Content-Type": "application/json", Cookie: cookie };
    const answer = await fetch(`${root}/${path}`, { method, headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer;
  };
  const answer = await api("POST", "auth/", ADMINISTRATOR);
  cookie = answer.headers.getSetCookie()[0].split(";")[0];
  return api;
}

/** Adds the person and the OpenID provider. */
async function configure(api, issuer) {
  for (const name of SCOPES.filter((name) => name !== "openid")) {
    await api("POST", "scope/", { name, display_name: name, password_required: false, scheme: {} });
  }
  const person = { username: USERNAME, password: PASSWORD, name: "Cleo Example", email: EMAIL, verified: "yes" };
  // Who has no g_profile cannot allow an application anything.
  await api("POST", "user/", { ...person, scope: ["g_profile", ...SCOPES], enabled: true });
  const keys = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  await api("POST", "mod/plugin/", {
    module: "oidc",
    name: "oidc",
    display_name: "OpenID Connect",
    parameters: {
      iss: issuer,
      "jwt-type": "rsa",
      "jwt-key-size": "256",
      key: keys.privateKey,
      cert: keys.publicKey,
      "jwks-show": true,
      "access-token-duration": 600,
      "refresh-token-duration": 3600,
      "code-duration": 600,
      "auth-type-code-enabled": true,
      "allowed-scope": SCOPES,
      "pkce-allowed": true,
      "pkce-mandatory": true,
      "name-claim": "on-demand",
      "name-claim-scope": ["profile"],
      "email-claim": "on-demand",
      "email-claim-scope": ["email"],
      claims: [
        {
          name: "email_verified",
          "user-property": "verified",
          type: "boolean",
          "boolean-value-true": "yes",
          "boolean-value-false": "no",
          scope: ["email"],
        },
      ],
    },
  });
}

/** Starts it on a free port. */
export async function startGlewlwyd() {
  const folder = mkdtempSync(join(tmpdir(), "accounts-glewlwyd-"));
  const { url, api: root, program } = await startProcess(folder);
  const stop = async () => {
    await program.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  const issuer = `${root}/oidc`;
  let api;
  try {
    api = await signInAdministrator(root);
    await configure(api, issuer);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    issuer,
    /** It reads the secret of a header as it is, without decoding it (RFC 6749, section 2.3.1). */
    newSecret: () => randomBytes(32).toString("hex"),
    addClient: ({ id, secret, redirectUris }) =>
      api("POST", "client/", {
        client_id: id,
        name: "The accounts application",
        confidential: true,
        client_secret: secret,
        token_endpoint_auth_method: ["client_secret_basic"],
        redirect_uri: redirectUris,
        authorization_type: ["code"],
        scope: [],
        enabled: true,
      }),
    /** Signs in, and allows what is asked for. */
    async proceed(page, application) {
      await page.waitForURL((next) => next.origin === url);
      const password = page.locator("#password");
      // It is shown when the page knows what is allowed, and leads on.
      const further = page.getByRole("button", { name: "Continue" });
      await password.or(further).first().waitFor();
      if (await password.isVisible()) {
        await page.fill("#username", USERNAME);
        await password.fill(PASSWORD);
        await page.click("#loginbut");
      }
      await further.waitFor();
      const grant = page.getByRole("button", { name: "Grant access" });
      if (await grant.isVisible()) {
        for (const box of await page.locator("input[id^=grant-]").all()) await box.check();
        await grant.click();
        await grant.waitFor({ state: "detached" });
      }
      await further.click();
      await page.waitForURL((next) => next.origin === application);
    },
    stop,
  };
}
