#!/usr/bin/env bash
# Runs every example against the built server (target/debug/accounts-server or SERVER_PROGRAM).
# Needs Node and Python. The Rust example runs with `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/conformance/server.sh
export SERVER_PROGRAM RUST_LOG=warn
venv examples examples/requirements.txt

echo "== Python: a pytest fixture"
"$VENV/bin/pytest" --quiet -p no:cacheprovider examples/python

echo "== JavaScript: node:test"
node --test --test-reporter=dot examples/javascript/

echo "== Node: a service that verifies tokens through JWKS"
(
    cd examples/node
    cmp -s package-lock.json node_modules/.package-lock.stamp || {
        npm ci --no-progress --loglevel=error
        cp package-lock.json node_modules/.package-lock.stamp
    }
    node --test --test-reporter=dot
)

echo "== Django: users are imported, a service verifies tokens through JWKS"
work=$(mktemp -d)
export DJANGO_DATABASE="$work/django.db"
: >"$work/said"
"$VENV/bin/python" examples/django/move.py >"$work/users.jsonl"
"$SERVER_PROGRAM" --db "$work/users.db" import "$work/users.jsonl" --staff-from-file
"$SERVER_PROGRAM" --db "$work/users.db" --listen 127.0.0.1:0 --mail-transport file \
    --mail-dir "$work/mail" --passwords-bcrypt-cost 4 >"$work/said" 2>"$work/log" &
SERVER_PID=$!
until SERVER=$(sed -n 's/^accounts-server listening on //p' "$work/said") && [ -n "$SERVER" ]; do
    kill -0 "$SERVER_PID" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
export ACCOUNTS_URL="$SERVER"
"$VENV/bin/python" examples/django/check.py

echo "== FastAPI: a service that verifies tokens through JWKS"
"$VENV/bin/python" examples/fastapi/check.py
stop_server
rm -rf "$work"
