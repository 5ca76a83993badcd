#!/usr/bin/env bash
# Runs the receivers of docs/WEBHOOKS.md for Python, Django and Node against the built server, and
# verifies its messages with the public libraries. Needs Node, Python and the built server
# (SERVER_PROGRAM, or else target/debug/accounts-server); the rest goes into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
venv webhooks tests/webhooks/requirements.txt
work=$(mktemp -d)
mkdir -p target/webhooks
cp tests/webhooks/{package*.json,*.mjs,.npmrc} target/webhooks
(
    cd target/webhooks
    cmp -s package-lock.json node_modules/.package-lock.stamp || {
        npm ci --no-progress --loglevel=error
        cp package-lock.json node_modules/.package-lock.stamp
    }
)
settings=(--dev --db "$work/users.db")
echo "verify-Passw0rd" | "$SERVER_PROGRAM" "${settings[@]}" \
    user create staff@example.com --staff --password-stdin >/dev/null
: >"$work/said"
"$SERVER_PROGRAM" "${settings[@]}" --listen 127.0.0.1:0 --mail-transport file \
    --mail-dir "$work/mail" --fixed-otp ann@example.com=123456 >"$work/said" 2>"$work/log" &
SERVER_PID=$!
until SERVER=$(sed -n 's/^accounts-server listening on //p' "$work/said") && [ -n "$SERVER" ]; do
    kill -0 "$SERVER_PID" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done

echo "== webhooks: receivers of the document, and the libraries of PyPI and npm"
"$VENV/bin/python" tests/webhooks/check.py "$SERVER" target/webhooks
stop_server
rm -rf "$work"
