#!/usr/bin/env bash
# Generates typed clients from the OpenAPI document with public generators, and walks sign-up, confirmation, sign-in and profile
# with each against the real server; then the same with clients of before second factors. Needs Node, Python and the built server.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
venv clients tests/clients/python/requirements.txt

echo "== TypeScript: openapi-typescript and openapi-fetch"
start_server
curl -fsS "$SERVER/api/schema/" >target/openapi.json
mkdir -p target/typescript-client
cp tests/clients/typescript/{*.*,.npmrc} target/typescript-client
(
    cd target/typescript-client
    cmp -s package-lock.json node_modules/.package-lock.stamp || {
        npm ci --no-progress --loglevel=error
        cp package-lock.json node_modules/.package-lock.stamp
    }
    npm run --silent generate >/dev/null
    npm run --silent generate-before >/dev/null
    npm run --silent build
    node generated/walk.js "$SERVER"
    node generated/before.js "$SERVER" "$(python3 ../../tests/clients/enroll.py "$SERVER")"
)
stop_server

echo "== Python: openapi-python-client"
start_server
rm -rf target/python-client
"$VENV/bin/openapi-python-client" generate --path target/openapi.json --meta none --overwrite \
    --output-path target/python-client/accounts_client --config tests/clients/python/generator.yaml
PYTHONPATH=target/python-client "$VENV/bin/python" tests/clients/python/walk.py "$SERVER"
# The document of before second factors, without what it does not use.
"$VENV/bin/openapi-python-client" generate --path tests/clients/before_factors.json --meta none --overwrite \
    --output-path target/python-client/client_before --config tests/clients/python/generator.yaml
PYTHONPATH=target/python-client "$VENV/bin/python" tests/clients/python/before.py "$SERVER" \
    "$(python3 tests/clients/enroll.py "$SERVER")"
stop_server
