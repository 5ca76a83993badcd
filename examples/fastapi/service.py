"""A FastAPI service with one endpoint that verifies access tokens through JWKS."""

import os

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBearer

ACCOUNTS = os.environ.get("ACCOUNTS_URL", "https://accounts.example.com")
keys = jwt.PyJWKClient(f"{ACCOUNTS}/.well-known/jwks.json")
app = FastAPI()


def user(bearer=Depends(HTTPBearer())):
    """The claims of the access token in the request."""
    try:
        if jwt.get_unverified_header(bearer.credentials).get("typ") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        key = keys.get_signing_key_from_jwt(bearer.credentials).key
        return jwt.decode(
            bearer.credentials,
            key,
            algorithms=["ES256", "EdDSA", "RS256"],
            issuer=ACCOUNTS,
            leeway=10,  # clocks differ
            options={"require": ["exp", "sub"], "verify_aud": False},
        )
    except jwt.PyJWKClientConnectionError as error:
        raise HTTPException(503, "Please try again later.") from error
    except jwt.PyJWTError as error:
        raise HTTPException(401, "Please sign in.", {"WWW-Authenticate": "Bearer"}) from error


@app.get("/greeting")
def greeting(claims: dict = Depends(user)):
    return {"hello": claims["email"], "staff": claims["is_staff"]}
