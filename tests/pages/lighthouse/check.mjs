// Lighthouse on the main pages, as a phone on a slow network: the worst score of each category, and
// what it is that costs points. Fails below the goals of accessibility and best practices, which do
// not depend on the machine.

import assert from "node:assert/strict";
import lighthouse, { desktopConfig } from "lighthouse";
import { PASSWORD, openPage, signIn, startBrowser, startServer } from "../support.mjs";

const PORT = Number(process.env.LIGHTHOUSE_PORT ?? 9333);
const GOALS = { accessibility: 100, "best-practices": 100, performance: 95 };
/** Scores that depend on how busy the machine is are shown only. */
const SHOWN_ONLY = new Set(["performance"]);
const STAFF = "root@example.com";
const OPEN = ["/account/sign-in/", "/account/sign-up/", "/account/reset/"];
const SIGNED_IN = [
  "/account/",
  "/account/profile/",
  "/account/security/",
  "/account/sessions/",
  "/console/",
  "/console/users/",
  "/console/users/1/",
  "/console/events/",
];

const server = await startServer();
server.staff(STAFF);
const browser = await startBrowser(`--remote-debugging-port=${PORT}`);
const page = await openPage(browser);
// Lighthouse opens tabs of its own, in the first profile.
const profile = await browser.newBrowserCDPSession();
/** Filled with the session's. */
let cookies = [];
let failed = false;

async function check(path, config) {
  // The end of a run takes the session's cookies along.
  await profile.send("Storage.setCookies", { cookies });
  const { lhr } = await lighthouse(
    server.url + path,
    { port: PORT, onlyCategories: Object.keys(GOALS), disableStorageReset: true, logLevel: "error" },
    config,
  );
  // Without its session a page would be judged by the sign-in page.
  assert.equal(lhr.finalDisplayedUrl, server.url + path);
  const scores = Object.entries(GOALS).map(([category, goal]) => {
    const score = Math.round(lhr.categories[category].score * 100);
    if (score < goal && !SHOWN_ONLY.has(category)) failed = true;
    return `${category} ${score}`;
  });
  console.log(`${config ? "desktop" : "phone  "} ${path.padEnd(22)} ${scores.join(", ")}`);
  for (const category of Object.keys(GOALS)) {
    for (const { id, weight } of lhr.categories[category].auditRefs) {
      const { score, title, displayValue = "" } = lhr.audits[id];
      if (weight > 0 && score !== null && score < 0.9) console.log(`    ${id}: ${title} ${displayValue}`);
    }
  }
}

for (const config of [undefined, desktopConfig]) {
  for (const path of OPEN) await check(path, config);
}
await signIn(page, server, STAFF, PASSWORD, "/account/");
await page.waitForURL("**/account/");
cookies = (await page.context().cookies()).map(({ name, value, httpOnly, sameSite }) => ({
  name, value, httpOnly, sameSite, url: server.url,
}));
for (const config of [undefined, desktopConfig]) {
  for (const path of SIGNED_IN) await check(path, config);
}
await browser.close();
await server.stop();
if (failed) process.exit(1);
