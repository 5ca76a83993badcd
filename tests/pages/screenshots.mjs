// Pictures of the main pages for the documents, in the folder that is named.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PASSWORD, openPage, signIn, startBrowser, startServer } from "./support.mjs";

const [folder] = process.argv.slice(2);
const STAFF = "grace@example.com";
const NAMES = [
  ["Ada", "Lovelace"], ["Katherine", "Johnson"], ["Alan", "Turing"], ["Radia", "Perlman"],
  ["Edsger", "Dijkstra"], ["Barbara", "Liskov"], ["Donald", "Knuth"], ["Frances", "Allen"],
  ["Niklaus", "Wirth"], ["Hedy", "Lamarr"], ["Linus", "Torvalds"], ["Margaret", "Hamilton"],
  ["Dennis", "Ritchie"], ["Sophie", "Wilson"], ["Ken", "Thompson"], ["Joan", "Clarke"],
  ["Vint", "Cerf"], ["Anita", "Borg"], ["Guido", "van Rossum"], ["Lynn", "Conway"],
];
const DOMAINS = ["example.com", "example.org", "mail.example", "uni.example"];
const DAY = 86_400;

// The same numbers in every picture.
let seed = 7;
const below = (bound) => {
  seed = (seed * 16_807) % 2_147_483_647;
  return seed % bound;
};

const server = await startServer("--branding-name", "Example");
server.staff(STAFF);
const people = [];
const signUp = async (number) => {
  const [first, last] = NAMES[number % NAMES.length];
  const round = Math.floor(number / NAMES.length) || "";
  const name = `${first}.${last}${round}`.toLowerCase().replaceAll(" ", "");
  const email = `${name}@${DOMAINS[below(DOMAINS.length)]}`;
  const fields = { first_name: first, last_name: last };
  if (below(12) === 0) {
    await server.post("users/", { email, password: PASSWORD, confirm_password: PASSWORD, ...fields });
  } else {
    await server.user(email, fields);
    people.push(email);
  }
};
const signInByApi = (email, password) =>
  fetch(`${server.url}/api/v1/accounts/token/`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email, password }),
  });
let number = 0;
for (let day = 0; day < 30; day++) {
  const isWeekend = day % 7 > 4;
  for (let count = 2 + below(isWeekend ? 3 : 6) + Math.floor(day / 10); count > 0; count--) await signUp(number++);
  for (let count = (isWeekend ? 6 : 14) + below(8) + day; count > 0; count--) {
    await signInByApi(people[below(people.length)], below(9) ? PASSWORD : "a wrong password");
  }
  await server.advance(DAY);
}
for (let count = 4; count > 0; count--) await signUp(number++);

const browser = await startBrowser();
const size = { width: 1200, height: 640 };
const page = await openPage(browser, { viewport: size, colorScheme: "light" });
const take = async (name) => {
  await page.waitForLoadState("networkidle");
  writeFileSync(join(folder, `${name}.png`), await page.screenshot());
};
await page.goto(`${server.url}/account/sign-in/`);
await page.setViewportSize({ width: 900, height: 640 });
await take("sign-in");
await page.setViewportSize(size);
await signIn(page, server, STAFF, PASSWORD, "/console/");
// Without the warnings below, which are about this server.
await page.setViewportSize({ ...size, height: 544 });
await take("console");
await page.setViewportSize(size);
await page.goto(`${server.url}/console/users/`);
await take("users");
await page.click("tbody tr:nth-child(3) a");
await take("user");
await page.goto(`${server.url}/account/profile/`);
await page.fill("#first_name", "Grace");
await page.fill("#last_name", "Hopper");
await page.fill("#phone", "+1 202 555 0143");
await page.selectOption("#country", "US");
await page.click("text=Save changes");
await take("profile");
await browser.close();
await server.stop();
