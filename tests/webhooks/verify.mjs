// Verifies captured messages with libraries of npm. Argument: a file of JSON with a list of
// {"secrets", "headers", "body"}.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";

const messages = JSON.parse(readFileSync(process.argv[2], "utf8"));
const other = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
for (const [name, Webhook] of [
  ["standardwebhooks", StandardWebhook],
  ["svix", SvixWebhook],
]) {
  for (const { secrets, headers, body } of messages) {
    for (const secret of secrets) {
      const webhook = new Webhook(secret);
      // That of Svix throws, and returns nothing.
      assert.deepEqual(webhook.verify(body, headers) ?? JSON.parse(body), JSON.parse(body), name);
      assert.throws(() => webhook.verify(body.replace('"sequence":', '"sequence":1'), headers), name);
      assert.throws(() => webhook.verify(body, { ...headers, "webhook-id": "msg_1" }), name);
    }
    assert.throws(() => new Webhook(other).verify(body, headers), name);
  }
  console.log(`npm ${name}: ${messages.length} messages`);
}
