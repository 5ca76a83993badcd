#!/usr/bin/env bash
# The pages in a real browser: every flow with and without script, by keyboard, in all languages, light and
# dark, on a small screen; accessibility, markup, weight, Content-Security-Policy.
#
#   tests/pages/run.sh                 all of it, against target/debug/accounts-server
#   tests/pages/run.sh screenshots     the pictures of the documents, into docs/
#
# Installs Debian's chromium (where it is missing) and the packages of package-lock.json.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v chromium >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium
fi
npm ci --silent --no-audit --no-fund

export ACCOUNTS_SERVER="${ACCOUNTS_SERVER:-$PWD/../../target/debug/accounts-server}"
if [ "${1:-}" = screenshots ]; then
    exec node screenshots.mjs
fi
exec node --test --test-concurrency=2 --test-reporter=spec ./*.test.mjs
