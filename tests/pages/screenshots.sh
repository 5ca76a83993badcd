#!/usr/bin/env bash
# Takes the pictures of the pages in docs/ with the built program: a console with some weeks of
# believable people in it. Needs what run.sh installs.
set -euo pipefail
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --silent --no-audit --no-fund
export ACCOUNTS_SERVER="${ACCOUNTS_SERVER:-$PWD/../../target/debug/accounts-server}"
exec node screenshots.mjs ../../docs
