// An Express service whose users sign in at accounts-server. It checks their tokens alone, by the published keys.
import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";

// Keeps the keys, and asks again when it meets one that it does not know.
export function requireUser(accounts) {
  const keys = createRemoteJWKSet(new URL(`${accounts}/.well-known/jwks.json`));
  return async (request, response, next) => {
    const [scheme, token] = (request.headers.authorization ?? "").split(" ");
    try {
      if (scheme.toLowerCase() !== "bearer") throw new Error("no token");
      // With `[tokens] audience` set, add `audience: "…"`.
      const { payload } = await jwtVerify(token, keys, {
        issuer: accounts, typ: "at+jwt", algorithms: ["EdDSA"], requiredClaims: ["exp", "sub"],
      });
      request.user = { id: payload.user_id, email: payload.email, isStaff: payload.is_staff };
    } catch {
      return response.status(401).set("WWW-Authenticate", 'Bearer realm="api"').json({ detail: "Please sign in." });
    }
    next();
  };
}

export function service(accounts) {
  const app = express();
  app.get("/greeting", requireUser(accounts), (request, response) => response.json({ hello: request.user.email }));
  return app;
}
