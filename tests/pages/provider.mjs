// An OpenID provider on this machine, which signs in whoever the test names.

import { createHash, createSign, generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Starts a provider. Its `person` and `mode` may change between sign-ins. */
export async function startProvider() {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const codes = new Map();
  const provider = {
    /** The claims of who is signed in there. */
    person: {},
    /** "query", "form_post", "denied", or "elsewhere": it leads to another origin first. */
    mode: "query",
    /** Its clock, in seconds. */
    now: () => Date.now() / 1000,
    /** Whether it answers to servers. */
    isDown: false,
    /** The parameters of the last request for authorization. */
    asked: null,
  };

  function sign(claims) {
    const content = `${encode({ alg: "RS256", kid: "1", typ: "JWT" })}.${encode(claims)}`;
    const signature = createSign("RSA-SHA256").update(content).sign(privateKey, "base64url");
    return `${content}.${signature}`;
  }

  function authorize(query, response) {
    provider.asked = Object.fromEntries(query);
    const answer = new URLSearchParams({ state: query.get("state") });
    if (provider.mode === "denied") answer.set("error", "access_denied");
    else {
      const code = randomBytes(16).toString("hex");
      codes.set(code, { query, person: provider.person });
      answer.set("code", code);
    }
    const back = query.get("redirect_uri");
    if (provider.mode === "form_post") {
      const fields = [...answer].map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`);
      response.setHeader("Content-Type", "text/html");
      response.end(
        `<!doctype html><title>Provider</title><form method="post" action="${back}">${fields.join("")}` +
          `<button>Continue</button></form>`,
      );
      return;
    }
    response.writeHead(302, { Location: `${back}?${answer}` }).end();
  }

  async function token(body, response) {
    const { query, person } = codes.get(body.get("code")) ?? {};
    codes.delete(body.get("code"));
    const challenge = createHash("sha256").update(body.get("code_verifier") ?? "").digest("base64url");
    response.setHeader("Content-Type", "application/json");
    if (!query || query.get("code_challenge") !== challenge) {
      response.writeHead(400).end(JSON.stringify({ error: "invalid_grant" }));
      return;
    }
    const now = Math.floor(await provider.now());
    const id_token = sign({
      iss: provider.url,
      aud: query.get("client_id"),
      nonce: query.get("nonce"),
      iat: now,
      exp: now + 300,
      auth_time: now,
      ...person,
    });
    response.end(JSON.stringify({ access_token: "a", token_type: "Bearer", expires_in: 60, id_token }));
  }

  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, provider.url);
    if (pathname === "/authorize") {
      if (provider.mode === "elsewhere" && request.headers.host.startsWith("127.")) {
        const other = `${provider.url.replace("127.0.0.1", "localhost")}${request.url}`;
        response.writeHead(302, { Location: other }).end();
      } else authorize(searchParams, response);
      return;
    }
    if (provider.isDown) {
      response.writeHead(500).end();
      return;
    }
    const answers = {
      "/.well-known/openid-configuration": {
        issuer: provider.url,
        authorization_endpoint: `${provider.url}/authorize`,
        token_endpoint: `${provider.url}/token`,
        jwks_uri: `${provider.url}/keys`,
        response_types_supported: ["code"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["RS256"],
      },
      "/keys": { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "1", alg: "RS256", use: "sig" }] },
    };
    if (pathname === "/token") {
      const parts = [];
      for await (const part of request) parts.push(part);
      await token(new URLSearchParams(Buffer.concat(parts).toString()), response);
    } else if (answers[pathname]) {
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify(answers[pathname]));
    } else response.writeHead(404).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  provider.url = `http://127.0.0.1:${server.address().port}`;
  provider.stop = () => new Promise((resolve) => server.close(resolve));
  return provider;
}
