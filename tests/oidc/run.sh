#!/usr/bin/env bash
# Signs in to and out of applications with the built server as their OpenID provider, in a real
# browser: with openid-client and oidc-client-ts of npm; Authlib, mozilla-django-oidc and
# django-allauth of PyPI; Debian's Apache with mod_auth_openidc. It takes about a minute.
#
# Needs Node, Python and the built server (SERVER_PROGRAM, or else target/debug/accounts-server).
# Installs Debian's chromium, apache2 and libapache2-mod-auth-openidc where they are missing; the rest
# goes into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/conformance/server.sh
missing=()
command -v chromium >/dev/null || missing+=(chromium)
[ -x /usr/sbin/apache2 ] || missing+=(apache2)
[ -e /usr/lib/apache2/modules/mod_auth_openidc.so ] || missing+=(libapache2-mod-auth-openidc)
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
venv oidc tests/oidc/requirements.txt
mkdir -p target/oidc
cp tests/oidc/{package*.json,*.mjs,*.py,*.html,*.conf,.npmrc} target/oidc
cd target/oidc
cmp -s package-lock.json node_modules/.package-lock.stamp || {
    npm ci --no-progress --loglevel=error
    cp package-lock.json node_modules/.package-lock.stamp
}

echo "== OpenID provider: openid-client, oidc-client-ts, Authlib, Django, Apache"
export SERVER_PROGRAM PYTHON="$VENV/bin/python"
exec node --test --test-reporter=spec ./sign_in.test.mjs
