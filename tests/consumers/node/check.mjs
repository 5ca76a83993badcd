// Verifies tokens with libraries of npm. Arguments: the server, and a directory with one pair of
// tokens for each algorithm.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import express from "express";
import { auth } from "express-oauth2-jwt-bearer";
import { createRemoteJWKSet, jwtVerify } from "jose";
import jwt from "jsonwebtoken";
import jwksClient from "jwks-rsa";

const [server, directory] = process.argv.slice(2);
const jwksUri = `${server}/.well-known/jwks.json`;
const audience = "shop";
const pairs = Object.fromEntries(
  ["ES256", "RS256", "EdDSA"].map((algorithm) => [
    algorithm,
    JSON.parse(readFileSync(`${directory}/${algorithm}.json`, "utf8")),
  ]),
);

// As express-jwt, passport-jwt and NestJS use them. jsonwebtoken does not know EdDSA.
const client = jwksClient({ jwksUri, cache: true });
const getKey = (header, callback) =>
  client.getSigningKey(header.kid, (error, key) => callback(error, key?.getPublicKey()));
const byJsonwebtoken = (token, algorithm) =>
  new Promise((resolve, reject) => {
    const options = { algorithms: [algorithm], audience, issuer: server, clockTolerance: 10 };
    jwt.verify(token, getKey, options, (error, claims) => (error ? reject(error) : resolve(claims)));
  });

const keys = createRemoteJWKSet(new URL(jwksUri));
const byJose = async (token, algorithm) => {
  const options = { algorithms: [algorithm], audience, issuer: server, typ: "at+jwt" };
  return (await jwtVerify(token, keys, options)).payload;
};

// Strict: every claim of RFC 9068 and the type `at+jwt`. Issuer and keys are discovered.
const app = express();
app.get("/", auth({ issuerBaseURL: server, audience, strict: true }), (request, response) => {
  response.json(request.auth.payload);
});
app.use((error, request, response, next) => {
  response.set(error.headers).status(error.status).end();
});
const service = app.listen(0, "127.0.0.1");
await once(service, "listening");
const byExpressOauth2JwtBearer = async (token) => {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`http://127.0.0.1:${service.address().port}/`, { headers });
  if (response.status !== 200) throw new Error(response.headers.get("www-authenticate"));
  return response.json();
};

for (const [name, verify, algorithms] of [
  ["jsonwebtoken", byJsonwebtoken, ["ES256", "RS256"]],
  ["jose", byJose, ["ES256", "RS256", "EdDSA"]],
  ["express-oauth2-jwt-bearer", byExpressOauth2JwtBearer, ["ES256", "RS256", "EdDSA"]],
]) {
  for (const algorithm of algorithms) {
    const { access, refresh } = pairs[algorithm];
    const claims = await verify(access, algorithm);
    assert.equal(claims.email, "alice@example.com", `${name} ${algorithm}`);
    assert.equal(claims.client_id, "accounts-server");
    const [header, , signature] = access.split(".");
    const root = Buffer.from(JSON.stringify({ ...claims, is_staff: true })).toString("base64url");
    for (const token of [refresh, `${header}.${root}.${signature}`]) {
      await assert.rejects(verify(token, algorithm), `${name} ${algorithm}`);
    }
    console.log(`${name} ${algorithm}: ok`);
  }
}
service.close();
