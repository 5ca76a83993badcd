// An Express service that verifies access tokens of accounts-server through JWKS.
import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";

// Middleware that requires an access token. It caches the keys, and fetches them again for an
// unknown `kid`.
export function requireUser(accounts) {
  const keys = createRemoteJWKSet(new URL(`${accounts}/.well-known/jwks.json`));
  return async (request, response, next) => {
    const [scheme, token] = (request.headers.authorization ?? "").split(" ");
    try {
      if (scheme.toLowerCase() !== "bearer") throw new Error("no token");
      // With `[tokens] audience` set, add `audience: "…"`.
      const { payload } = await jwtVerify(token, keys, {
        issuer: accounts,
        typ: "at+jwt",
        algorithms: ["ES256", "EdDSA", "RS256"],
        requiredClaims: ["exp", "sub"],
        clockTolerance: 10, // clocks differ
      });
      request.user = { id: payload.user_id, email: payload.email, isStaff: payload.is_staff };
    } catch {
      response.set("WWW-Authenticate", 'Bearer realm="api"');
      return response.status(401).json({ detail: "Please sign in." });
    }
    next();
  };
}

export function service(accounts) {
  const app = express();
  app.get("/greeting", requireUser(accounts), (request, response) => {
    response.json({ hello: request.user.email });
  });
  return app;
}
