"""A Flask application that signs in with Authlib: ISSUER CLIENT_ID SECRET."""

import os
import sys
from wsgiref.simple_server import make_server

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session

issuer, client_id, secret = sys.argv[1:4]
# Authlib's own transport accepts plain http on loopback alone with this.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

app = Flask(__name__)
app.secret_key = os.urandom(32)
accounts = OAuth(app).register(
    "accounts",
    client_id=client_id,
    client_secret=secret,
    server_metadata_url=f"{issuer}/.well-known/openid-configuration",
    client_kwargs={
        "scope": "openid profile email",
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": "client_secret_post",
    },
)


@app.get("/")
def home():
    user = session.get("user")
    return f"sub={user['sub']} {user['email']}" if user else "signed out"


@app.get("/sign-in")
def sign_in():
    return accounts.authorize_redirect(f"{url}/callback")


@app.get("/callback")
def callback():
    token = accounts.authorize_access_token()
    # The ID token says who it is, and the user info has to agree.
    claims = token["userinfo"]
    assert accounts.userinfo(token=token)["sub"] == claims["sub"]
    session["user"] = {"sub": claims["sub"], "email": claims["email"]}
    session["id_token"] = token["id_token"]
    return redirect("/")


@app.get("/sign-out")
def sign_out():
    id_token = session.pop("id_token")
    session.pop("user")
    return accounts.logout_redirect(f"{url}/", id_token_hint=id_token)


server = make_server("127.0.0.1", 0, app)
url = f"http://127.0.0.1:{server.server_port}"
print(f"listening on {url}")
server.serve_forever()
