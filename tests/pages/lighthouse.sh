#!/usr/bin/env bash
# Runs Lighthouse on the main pages with the built program and prints its scores. A command of its
# own, as its packages are large and its results need a quiet machine. Needs what run.sh installs.
set -euo pipefail
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --silent --no-audit --no-fund
npm ci --silent --no-audit --no-fund --prefix lighthouse
export ACCOUNTS_SERVER="${ACCOUNTS_SERVER:-$PWD/../../target/debug/accounts-server}"
exec node lighthouse/check.mjs
