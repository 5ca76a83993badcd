"""Verifies tokens with libraries of PyPI.

Arguments: the server, and a directory with one pair of tokens for each algorithm.
"""

import base64
import json
import pathlib
import sys
import urllib.request

import django
import jwt
from django.conf import settings
from jose import jwt as python_jose

SERVER, DIRECTORY = sys.argv[1:]
JWKS = f"{SERVER}/.well-known/jwks.json"
AUDIENCE = "shop"
published = json.load(urllib.request.urlopen(JWKS))["keys"]
client = jwt.PyJWKClient(JWKS)


def by_pyjwt(token, algorithm):
    key = client.get_signing_key_from_jwt(token).key
    options = {"require": ["exp", "iat", "sub", "aud"]}
    return jwt.decode(
        token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=SERVER, leeway=10, options=options
    )


def by_python_jose(token, algorithm):
    kid = python_jose.get_unverified_header(token)["kid"]
    key = next(key for key in published if key["kid"] == kid)
    options = {"require_aud": True, "leeway": 10}
    return python_jose.decode(
        token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=SERVER, options=options
    )


def by_simplejwt(token, algorithm):
    """A service whose settings are those of djangorestframework-simplejwt, and `JWK_URL`."""
    from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
    from rest_framework_simplejwt.backends import TokenBackend
    from rest_framework_simplejwt.settings import api_settings
    from rest_framework_simplejwt.state import token_backend

    # The settings have one algorithm; here they change with the token.
    token_backend.__init__(algorithm, issuer=SERVER, audience=AUDIENCE, jwk_url=JWKS, leeway=10)
    assert isinstance(token_backend, TokenBackend) and api_settings.JWK_URL == JWKS
    authentication = JWTStatelessUserAuthentication()
    validated = authentication.get_validated_token(token.encode())
    assert str(authentication.get_user(validated).id) == "1"
    return validated


settings.configure(
    SECRET_KEY="it signs nothing here",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    SIMPLE_JWT={
        "ALGORITHM": "ES256",
        "JWK_URL": JWKS,
        "AUDIENCE": AUDIENCE,
        "ISSUER": SERVER,
        "LEEWAY": 10,
    },
)
django.setup()

for verify, algorithms in [
    (by_pyjwt, ["ES256", "RS256", "EdDSA"]),
    # These two do not know EdDSA.
    (by_python_jose, ["ES256", "RS256"]),
    (by_simplejwt, ["ES256", "RS256"]),
]:
    for algorithm in algorithms:
        pair = json.loads(pathlib.Path(DIRECTORY, f"{algorithm}.json").read_text())
        access = pair["access"]
        claims = verify(access, algorithm)
        assert claims["email"] == "alice@example.com"
        header, body, signature = access.split(".")
        forged = json.loads(base64.urlsafe_b64decode(body + "=="))
        forged = base64.urlsafe_b64encode(json.dumps(forged | {"is_staff": True}).encode())
        for token in [pair["refresh"], f"{header}.{forged.decode().rstrip('=')}.{signature}"]:
            try:
                verify(token, algorithm)
            except Exception as error:
                assert not isinstance(error, AssertionError), error
            else:
                raise SystemExit(f"{verify.__name__} {algorithm} accepts {token}")
        print(f"{verify.__name__.removeprefix('by_')} {algorithm}: ok")
