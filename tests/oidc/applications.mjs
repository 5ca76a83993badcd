// The applications: each starts on a free port of 127.0.0.1 and says where it signs in and out, and
// what it has to be registered with. They show `sub=…` and the address of who is signed in.

import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as oidc from "openid-client";
import { startProgram } from "./provider.mjs";

/** Serves pages from this process. `answer` returns the text of a page, or `{ location }`. */
async function serve(answer) {
  const server = createServer(async (request, response) => {
    try {
      const url = new URL(request.url, `http://${request.headers.host}`);
      const page = await answer(url);
      if (page.location) {
        response.writeHead(303, { Location: page.location }).end();
      } else {
        response.writeHead(200, { "Content-Type": page.type ?? "text/html" }).end(page.body ?? page);
      }
    } catch (error) {
      response.writeHead(500, { "Content-Type": "text/plain" }).end(`${error.stack} ${error.cause ?? ""}`);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}

/** A server that renders pages, with openid-client. */
export async function startNode({ issuer, id, secret }) {
  let config;
  let started;
  let tokens;
  const { url, stop } = await serve(async (request) => {
    config ??= await oidc.discovery(new URL(issuer), id, {}, oidc.ClientSecretBasic(secret), {
      execute: [oidc.allowInsecureRequests],
    });
    switch (request.pathname) {
      case "/sign-in": {
        const [verifier, state, nonce] = [oidc.randomPKCECodeVerifier(), oidc.randomState(), oidc.randomNonce()];
        started = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce };
        const location = oidc.buildAuthorizationUrl(config, {
          redirect_uri: `${url}/callback`,
          scope: "openid profile email offline_access",
          code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
          code_challenge_method: "S256",
          state,
          nonce,
        });
        return { location: location.href };
      }
      case "/callback":
        tokens = await oidc.authorizationCodeGrant(config, request, { ...started, idTokenExpected: true });
        return { location: "/" };
      case "/checks": {
        await oidc.tokenIntrospection(config, tokens.access_token).then((said) => {
          if (!said.active || said.client_id !== id || said.sub !== tokens.claims().sub) throw new Error("inactive");
        });
        const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
        const { sub } = renewed.claims();
        await oidc.fetchUserInfo(config, renewed.access_token, sub);
        const forRefresh = { token_type_hint: "refresh_token" };
        const live = await oidc.tokenIntrospection(config, renewed.refresh_token, forRefresh);
        if (!live.active) throw new Error("the refresh token is not active");
        await oidc.tokenRevocation(config, renewed.refresh_token, forRefresh);
        const ended = await oidc.tokenIntrospection(config, renewed.access_token);
        if (ended.active) throw new Error("the access token outlives its session");
        return "checked";
      }
      case "/sign-out": {
        const location = oidc.buildEndSessionUrl(config, {
          id_token_hint: tokens.id_token,
          post_logout_redirect_uri: `${url}/`,
        });
        tokens = undefined;
        return { location: location.href };
      }
      default: {
        if (!tokens) return "signed out";
        const { sub } = tokens.claims();
        const user = await oidc.fetchUserInfo(config, tokens.access_token, sub);
        return `sub=${sub} ${user.name} ${user.email}`;
      }
    }
  });
  return {
    url,
    stop,
    signInUrl: `${url}/sign-in`,
    signOutUrl: `${url}/sign-out`,
    redirectUris: [`${url}/callback`],
    postLogoutRedirectUris: [`${url}/`],
  };
}

/** A page without a server of its own, with oidc-client-ts. */
export async function startSinglePage({ issuer, id }) {
  const library = readFileSync("node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js");
  const html = readFileSync("single_page.html", "utf8").replace("ISSUER", issuer).replace("CLIENT_ID", id);
  const { url, stop } = await serve((request) =>
    request.pathname === "/oidc-client-ts.js" ? { type: "text/javascript", body: library } : html,
  );
  return {
    url,
    stop,
    signInUrl: `${url}/sign-in`,
    signOutUrl: `${url}/sign-out`,
    redirectUris: [`${url}/callback`],
    postLogoutRedirectUris: [`${url}/`],
  };
}

const startPython = (file, { issuer, id, secret }, kind = "") =>
  startProgram(process.env.PYTHON, ["-u", file, issuer, id, secret, kind], /listening on (http:\/\/\S+)/);

/** A Flask application, with Authlib. */
export async function startAuthlib(settings) {
  const { value: url, stop } = await startPython("flask_application.py", settings);
  return {
    url,
    stop,
    signInUrl: `${url}/sign-in`,
    signOutUrl: `${url}/sign-out`,
    redirectUris: [`${url}/callback`],
    postLogoutRedirectUris: [`${url}/`],
  };
}

/** A Django application, with mozilla-django-oidc or django-allauth. */
export const startDjango = (kind) => async (settings) => {
  const { value: url, stop } = await startPython("django_application.py", settings, kind);
  const isMozilla = kind === "mozilla";
  return {
    url,
    stop,
    signInUrl: `${url}${isMozilla ? "/oidc/authenticate/" : "/accounts/oidc/accounts/login/"}`,
    signOutUrl: `${url}${isMozilla ? "/oidc/logout/" : "/accounts/logout/"}`,
    redirectUris: [`${url}${isMozilla ? "/oidc/callback/" : "/accounts/oidc/accounts/login/callback/"}`],
    postLogoutRedirectUris: [`${url}/`],
  };
};

/** A port that nobody listens on. */
async function freePort() {
  const { url, stop } = await serve(() => "");
  await stop();
  return new URL(url).port;
}

/** Apache, with mod_auth_openidc. */
export async function startApache({ issuer, id, secret }) {
  const folder = mkdtempSync(join(tmpdir(), "apache-oidc-"));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, "htdocs"));
  const page = '<p>sub=<!--#echo var="OIDC_CLAIM_sub" --> <!--#echo var="OIDC_CLAIM_email" --></p>';
  writeFileSync(join(folder, "htdocs", "index.shtml"), page);
  writeFileSync(join(folder, "htdocs", "signed-out.html"), "<p>signed out</p>");
  const file = join(folder, "apache.conf");
  const run = (...args) => spawnSync("/usr/sbin/apache2", ["-f", file, ...args], { encoding: "utf8" });
  let url;
  let started;
  // Somebody may have taken the port meanwhile.
  for (let attempt = 0; attempt < 5 && started?.status !== 0; attempt++) {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    const values = { FOLDER: folder, PORT: port, URL: url, ISSUER: issuer, CLIENT_ID: id, SECRET: secret };
    const text = readFileSync("apache.conf", "utf8").replace(/@(\w+)@/g, (_, name) => values[name]);
    writeFileSync(file, text);
    started = run("-k", "start");
  }
  if (started.status !== 0) throw new Error(started.stderr);
  const back = encodeURIComponent(`${url}/signed-out.html`);
  return {
    url,
    async stop() {
      run("-k", "stop");
      rmSync(folder, { recursive: true, force: true });
    },
    signInUrl: `${url}/index.shtml`,
    signOutUrl: `${url}/callback?logout=${back}`,
    redirectUris: [`${url}/callback`],
    postLogoutRedirectUris: [`${url}/signed-out.html`],
  };
}
