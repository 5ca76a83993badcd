#!/usr/bin/env bash
# Verifies tokens of every algorithm with the JWT libraries that other services use, by one set of
# published keys. Needs Node, Python and the built server (SERVER_PROGRAM, or else
# target/debug/accounts-server); the rest goes into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
venv consumers tests/consumers/python/requirements.txt
work=$(mktemp -d)
settings=(--db "$work/users.db" --tokens-audience shop --passwords-bcrypt-cost 4)

# The database begins with EdDSA, as those of version 0.1 do.
echo "verify-Passw0rd" | "$SERVER_PROGRAM" "${settings[@]}" --tokens-algorithm EdDSA \
    user create alice@example.com --password-stdin >/dev/null
: >"$work/said"
"$SERVER_PROGRAM" "${settings[@]}" --listen 127.0.0.1:0 --mail-transport file --mail-dir "$work/mail" \
    >"$work/said" 2>"$work/log" &
SERVER_PID=$!
until SERVER=$(sed -n 's/^accounts-server listening on //p' "$work/said") && [ -n "$SERVER" ]; do
    kill -0 "$SERVER_PID" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
export SERVER

sign_in() {
    curl -fsS "$SERVER/api/v1/accounts/token/" -H "Content-Type: application/json" \
        -d '{"email": "alice@example.com", "password": "verify-Passw0rd"}' >"$work/$1.json"
}
sign_in EdDSA
for algorithm in RS256 ES256; do
    "$SERVER_PROGRAM" "${settings[@]}" keys rotate --algorithm "$algorithm" >/dev/null
    sign_in "$algorithm"
done

echo "== npm: jsonwebtoken with jwks-rsa, express-oauth2-jwt-bearer, jose"
mkdir -p target/consumers
cp tests/consumers/node/{*.*,.npmrc} target/consumers
(
    cd target/consumers
    cmp -s package-lock.json node_modules/.package-lock.stamp || {
        npm ci --no-progress --loglevel=error
        cp package-lock.json node_modules/.package-lock.stamp
    }
    node check.mjs "$SERVER" "$work"
)

echo "== PyPI: PyJWT, python-jose, djangorestframework-simplejwt"
"$VENV/bin/python" tests/consumers/python/check.py "$SERVER" "$work"
stop_server
rm -rf "$work"
