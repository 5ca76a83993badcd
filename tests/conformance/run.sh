#!/usr/bin/env bash
# Holds the OpenAPI document against OpenAPI itself, and the server against the document: as nobody, as a user and as staff.
# Needs Python and the built server (SERVER_PROGRAM, or else target/debug/accounts-server); the rest goes into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
venv conformance tests/conformance/requirements.txt

echo "== the document is OpenAPI 3.1"
start_server
curl -fsS "$SERVER/api/schema/" >target/openapi.json
"$VENV/bin/openapi-spec-validator" target/openapi.json
stop_server

# /dev/clock/ would expire the token in the middle and /dev/reset/ end its session; both are tested elsewhere.
for who in nobody user staff; do
    echo "== the server does what the document says, as $who"
    start_server --seed tests/conformance/seed.jsonl --tokens-access-minutes 1440
    hooks=
    [ "$who" = nobody ] || hooks=tests/conformance/hooks.py
    ACCOUNTS_TEST_SERVER="$SERVER" ACCOUNTS_TEST_EMAIL="$who@example.com" SCHEMATHESIS_HOOKS="$hooks" \
        "$VENV/bin/schemathesis" --config-file tests/conformance/schemathesis.toml run "$SERVER/api/schema/" \
        --checks all --max-examples 25 --seed 1 --warnings off --exclude-path-regex '^/dev/(clock|reset)/'
    stop_server
done
