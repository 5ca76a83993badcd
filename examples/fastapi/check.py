"""Signs in at accounts-server and calls the FastAPI service with the tokens."""

import json
import urllib.request

from fastapi.testclient import TestClient
from service import ACCOUNTS, app

client = TestClient(app)


def sign_in(email, password):
    body = json.dumps({"email": email, "password": password}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{ACCOUNTS}/api/v1/accounts/token/", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def greeting(token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = client.get("/greeting", headers=headers)
    return answer.status_code, answer.json()


ada = sign_in("ada@example.com", "a password of Django's")
assert greeting(ada["access"]) == (200, {"hello": "ada@example.com", "staff": False})
root = sign_in("root@example.com", "another of Django's")
assert greeting(root["access"]) == (200, {"hello": "root@example.com", "staff": True})
assert greeting()[0] in (401, 403), "no token"
assert greeting(ada["refresh"])[0] == 401, "a refresh token is not an access token"
header, payload, signature = ada["access"].split(".")
forged = f"{header}.{root['access'].split('.')[1]}.{signature}"
assert greeting(forged)[0] == 401, "claims of another token"
assert greeting("no token at all")[0] == 401
print("FastAPI: the service accepts access tokens and nothing else")
