// What has to hold on every page in every state.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { HtmlValidate } from "html-validate";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const htmlValidate = new HtmlValidate({
  extends: ["html-validate:recommended"],
  rules: {
    // Style, not correctness.
    "long-title": "off",
    "no-trailing-whitespace": "off",
    "void-style": "off",
    "doctype-style": "off",
    // The menu of small screens replaces the one of others; axe sees which of them is there.
    "unique-landmark": "off",
    "no-implicit-button-type": "off",
    "attribute-boolean-style": "off",
    "attribute-empty-style": "off",
    // Boxes of one name are a list, such as the types of events of a webhook.
    "form-dup-name": ["error", { shared: ["radio", "checkbox", "submit", "button", "reset"] }],
    "no-inline-style": "error",
    "prefer-native-element": "off",
    "no-raw-characters": "off",
    "tel-non-breaking": "off",
    // The hidden username of a password form is there for password managers alone.
    "input-missing-label": "off",
    "hidden-focusable": "off",
    "aria-label-misuse": "off",
    "no-redundant-for": "off",
    "require-sri": "off",
  },
});

function nothing(found, where) {
  assert.ok(found.length === 0, `${where}: ${found.join("; ")}`);
}

/** Accessibility by axe, in light and dark; no sideways scrolling and no small targets at 320 px. */
export async function checkPage(page, name) {
  const size = page.viewportSize();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(axe);
    const result = await page.evaluate(() =>
      axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      }),
    );
    const found = result.violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`,
    );
    nothing(found, `axe on ${name}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 320, height: 640 });
  await checkNarrow(page, name);
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")]
      .filter((element) => element.offsetParent !== null && !element.closest("p, .skip, li > div, dd"))
      .map((element) => [element.outerHTML.slice(0, 80), element.getBoundingClientRect()])
      .filter(([, box]) => box.width > 1 && (box.height < 23.5 || box.width < 23.5))
      .map(([html, box]) => `${html} ${Math.round(box.width)}x${Math.round(box.height)}`)
      .filter((text) => !text.includes('type="checkbox"') && !text.includes('type="radio"')),
  );
  nothing(small, `small targets on ${name}`);
  await page.setViewportSize(size);
}

/** No sideways scrolling on the narrowest screens. */
export async function checkNarrow(page, name) {
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.ok(overflow <= 0, `${name} scrolls sideways by ${overflow} px at 320 px`);
}

/** Valid markup, as it was sent with the last navigation. */
export async function checkMarkup(page, name) {
  const report = await htmlValidate.validateString(await page.last.text());
  const messages = report.results.flatMap((result) =>
    result.messages.map((m) => `${m.line}:${m.column} ${m.ruleId}: ${m.message}`),
  );
  nothing(messages, `markup of ${name}`);
}

/** Bytes of a first visit: the page and everything that it needs. */
export async function checkWeight(context, url, name) {
  const page = await context.newPage();
  const client = await page.context().newCDPSession(page);
  await client.send("Network.enable");
  await client.send("Network.setCacheDisabled", { cacheDisabled: true });
  let bytes = 0;
  client.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
  await page.goto(url, { waitUntil: "networkidle" });
  await page.close();
  assert.ok(bytes > 0 && bytes <= 40_960, `${name} weighs ${bytes} bytes`);
  return bytes;
}
