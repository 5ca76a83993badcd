#!/usr/bin/env bash
# Compares the verdicts of the built server on passkeys, right and wrong ones, with those of public
# libraries. Needs Node, Python and the built server (SERVER_PROGRAM, or else
# target/debug/accounts-server); the rest goes into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
venv webauthn tests/webauthn/requirements.txt
work=$(mktemp -d)
mkdir -p target/webauthn
cp tests/webauthn/{package*.json,*.mjs,.npmrc} target/webauthn
(
    cd target/webauthn
    cmp -s package-lock.json node_modules/.package-lock.stamp || {
        npm ci --no-progress --loglevel=error
        cp package-lock.json node_modules/.package-lock.stamp
    }
)
settings=(--dev --db "$work/users.db")
echo "verify-Passw0rd" | "$SERVER_PROGRAM" "${settings[@]}" \
    user create ann@example.com --password-stdin >/dev/null
: >"$work/said"
"$SERVER_PROGRAM" "${settings[@]}" --listen localhost:0 --mail-transport file \
    --mail-dir "$work/mail" >"$work/said" 2>"$work/log" &
SERVER_PID=$!
until SERVER=$(sed -n 's/^accounts-server listening on //p' "$work/said") && [ -n "$SERVER" ]; do
    kill -0 "$SERVER_PID" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done

echo "== passkeys: verdicts of the server, python-fido2, py-webauthn and @simplewebauthn/server"
timeout 180 "$VENV/bin/python" tests/webauthn/check.py "$SERVER" target/webauthn
stop_server
rm -rf "$work"
