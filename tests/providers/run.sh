#!/usr/bin/env bash
# Signs in to the built server with other OpenID providers, in a real browser: npm's oidc-provider,
# another accounts-server, and glewlwyd; by the account pages and by the API. It takes about a minute.
#
# Needs Node and the built server (SERVER_PROGRAM, or else target/debug/accounts-server). Installs
# Debian's chromium and glewlwyd where they are missing; the rest goes into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
if ! command -v chromium >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium
fi
if ! command -v glewlwyd >/dev/null; then (
    # Its service shall not start, neither now nor with the machine: the test starts its own. Without
    # dbconfig-sqlite3 the package takes another database, and is not set up; nor is it where it was
    # before, unless ucf writes its settings again.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq
    export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFMISS=1
    apt-get install -y -qq --no-install-recommends glewlwyd dbconfig-sqlite3
    systemctl disable --quiet glewlwyd 2>/dev/null || true
) fi
mkdir -p target/providers
cp tests/providers/{package*.json,*.mjs,.npmrc} tests/oidc/provider.mjs target/providers
cd target/providers
cmp -s package-lock.json node_modules/.package-lock.stamp || {
    npm ci --no-progress --loglevel=error
    cp package-lock.json node_modules/.package-lock.stamp
}

echo "== external providers: oidc-provider, accounts-server, glewlwyd"
export SERVER_PROGRAM
exec node --test --test-reporter=spec ./external.test.mjs
