"""Signs in at accounts-server and shows the tokens to the FastAPI service."""

import json
import urllib.request

from fastapi.testclient import TestClient
from service import ACCOUNTS, app

client = TestClient(app)


def sign_in(email, password):
    body = json.dumps({"email": email, "password": password}).encode()
    request = urllib.request.Request(f"{ACCOUNTS}/api/v1/accounts/token/", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def greeting(token=None):
    answer = client.get("/greeting", headers={"Authorization": f"Bearer {token}"} if token else {})
    return answer.status_code, answer.json()


ada = sign_in("ada@example.com", "a password of Django's")
assert greeting(ada["access"]) == (200, {"hello": "ada@example.com", "staff": False})
root = sign_in("root@example.com", "another of Django's")
assert greeting(root["access"]) == (200, {"hello": "root@example.com", "staff": True})
assert greeting()[0] in (401, 403), "no token"
assert greeting(ada["refresh"])[0] == 401, "a refresh token is no access token"
header, payload, signature = ada["access"].split(".")
assert greeting(f"{header}.{root['access'].split('.')[1]}.{signature}")[0] == 401, "somebody else's claims"
assert greeting("no token at all")[0] == 401
print("FastAPI: its service takes our tokens and no others")
