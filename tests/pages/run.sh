#!/usr/bin/env bash
# The account pages and the console in a real browser: every flow with and without script, and by keyboard;
# and on every page in every state what axe and html-validate find, sideways scrolling, all languages and
# the weight of a first visit. A page that the Content-Security-Policy had to stop, or a script error, fails
# its test. It takes about three minutes; screenshots.sh makes the pictures of the documents.
#
# Installs Debian's chromium (where it is missing) and the packages of package-lock.json.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v chromium >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium
fi
npm ci --silent --no-audit --no-fund

export ACCOUNTS_SERVER="${ACCOUNTS_SERVER:-$PWD/../../target/debug/accounts-server}"
exec node --test --test-concurrency=2 --test-reporter=spec ./*.test.mjs
