#!/usr/bin/env bash
# Signs in to the built server with other OpenID providers, in a real browser: npm's oidc-provider, and
# another accounts-server; by the account pages and by the API. It takes about half a minute.
#
# Needs Node and the built server (SERVER_PROGRAM, or else target/debug/accounts-server). Installs
# Debian's chromium where it is missing; the rest goes into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
if ! command -v chromium >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium
fi
mkdir -p target/providers
cp tests/providers/{package*.json,*.mjs,.npmrc} tests/oidc/provider.mjs target/providers
cd target/providers
cmp -s package-lock.json node_modules/.package-lock.stamp || {
    npm ci --no-progress --loglevel=error
    cp package-lock.json node_modules/.package-lock.stamp
}

echo "== external providers: oidc-provider, accounts-server"
export SERVER_PROGRAM
exec node --test --test-reporter=spec ./external.test.mjs
