// npm's oidc-provider with one person, whom it knows without a password.

import { createServer } from "node:http";
import Provider from "oidc-provider";

export const EMAIL = "bea@example.com";
const SUBJECT = "bea";

/** Starts it on a free port. Its client is registered later, when its redirect URI is known. */
export async function startOidcProvider() {
  let answer = (_, response) => response.writeHead(503).end();
  const server = createServer((request, response) => answer(request, response));
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  const issuer = `http://localhost:${server.address().port}`;
  const person = { sub: SUBJECT, email: EMAIL, email_verified: true, given_name: "Bea", family_name: "Example" };
  return {
    issuer,
    addClient({ id, secret, redirectUris }) {
      const provider = new Provider(issuer, {
        clients: [{ client_id: id, client_secret: secret, redirect_uris: redirectUris }],
        claims: { email: ["email", "email_verified"], profile: ["given_name", "family_name"] },
        findAccount: (_, accountId) => ({ accountId, claims: () => ({ ...person, sub: accountId }) }),
        cookies: { keys: ["one run alone"] },
      });
      answer = provider.callback();
    },
    /** Signs in, and allows what is asked for. */
    async proceed(page, application) {
      for (let step = 0; step < 6; step++) {
        await page.waitForLoadState("networkidle");
        const url = page.url();
        if (new URL(url).origin === application) return;
        if (await page.locator("input[name=login]").count()) {
          await page.fill("input[name=login]", SUBJECT);
          await page.fill("input[name=password]", "any");
        }
        await page.click("button[type=submit]");
      }
      throw new Error(`no way back: ${page.url()}\n${await page.textContent("body")}`);
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
