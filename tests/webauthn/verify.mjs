// Judges passkeys with @simplewebauthn/server: reads a question of JSON a line, and answers each
// with a line {"accepted", "why"}.
import { createInterface } from "node:readline";
import {
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from "@simplewebauthn/server";

async function judge({ kind, credential, challenge, origin, rpId, passkey }) {
  const question = {
    response: JSON.parse(credential),
    expectedChallenge: challenge,
    expectedOrigin: origin,
    expectedRPID: rpId,
    requireUserVerification: true,
  };
  if (kind === "registration") {
    const supportedAlgorithmIDs = [-7, -8, -257];
    return verifyRegistrationResponse({ ...question, supportedAlgorithmIDs });
  }
  const publicKey = Buffer.from(passkey.publicKey, "base64");
  return verifyAuthenticationResponse({ ...question, credential: { ...passkey, publicKey } });
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { verified } = await judge(JSON.parse(line));
    answer = { accepted: verified, why: "the signature" };
  } catch (error) {
    answer = { accepted: false, why: String(error) };
  }
  console.log(JSON.stringify(answer));
}
