"""Authentication for a Django REST framework service whose users sign in at accounts-server.

It verifies access tokens offline, with the published keys.

    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ["accounts_auth.AccountsAuthentication"],
        "UNAUTHENTICATED_USER": None,
    }
    ACCOUNTS_URL = "https://accounts.example.com"
"""

from dataclasses import dataclass
from functools import cache

import jwt  # PyJWT[crypto]
from django.conf import settings
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed


@dataclass(frozen=True)
class AccountsUser:
    id: int
    email: str
    is_staff: bool
    is_authenticated = True
    is_active = True


@cache
def keys():
    # Caches the keys, and fetches them again for an unknown `kid`.
    return jwt.PyJWKClient(f"{settings.ACCOUNTS_URL}/.well-known/jwks.json")


class AccountsAuthentication(BaseAuthentication):
    def authenticate(self, request):
        scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            if jwt.get_unverified_header(token).get("typ") != "at+jwt":
                raise jwt.InvalidTokenError("not an access token")
            # With `[tokens] audience` set, pass audience="…" instead of the option.
            claims = jwt.decode(
                token,
                keys().get_signing_key_from_jwt(token).key,
                algorithms=["ES256", "EdDSA", "RS256"],
                issuer=settings.ACCOUNTS_URL,
                leeway=10,  # clocks differ
                options={"require": ["exp", "sub"], "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise AuthenticationFailed("Given token not valid for any token type") from error
        return AccountsUser(claims["user_id"], claims["email"], claims["is_staff"]), token

    def authenticate_header(self, request):
        return 'Bearer realm="api"'
