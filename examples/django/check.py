"""Signs in at accounts-server with imported Django passwords, and calls the Django service."""

import json
import os
import urllib.request

import service  # noqa: F401  (sets Django up)
from rest_framework.test import APIClient

ACCOUNTS = os.environ["ACCOUNTS_URL"]


def sign_in(email, password):
    body = json.dumps({"email": email, "password": password}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{ACCOUNTS}/api/v1/accounts/token/", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def greeting(token=None):
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"} if token else {}
    answer = APIClient().get("/greeting/", **headers)
    return answer.status_code, answer.json()


ada = sign_in("ada@example.com", "a password of Django's")
assert greeting(ada["access"]) == (200, {"hello": "ada@example.com", "staff": False})
root = sign_in("root@example.com", "another of Django's")
assert greeting(root["access"]) == (200, {"hello": "root@example.com", "staff": True})
assert greeting()[0] == 401, "no token"
assert greeting(ada["refresh"])[0] == 401, "a refresh token is not an access token"
header, payload, signature = ada["access"].split(".")
forged = f"{header}.{root['access'].split('.')[1]}.{signature}"
assert greeting(forged)[0] == 401, "claims of another token"
try:
    sign_in("left@example.com", "no longer needed")
    raise SystemExit("a deactivated user must not sign in")
except urllib.error.HTTPError as error:
    assert error.code == 401
print("Django: users are imported, and the service accepts their tokens")
