"""Signs in at accounts-server with the codes of pyotp: sign_in.py ADDRESS SECRETS."""

import json
import sys
import urllib.error
import urllib.request

import pyotp

PASSWORD = "river-Boat-2291"
server, made = sys.argv[1], json.loads(sys.argv[2])


def token(name, **more):
    body = json.dumps({"email": f"{name}@example.com", "password": PASSWORD, **more}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server}/api/v1/accounts/token/", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


assert token("ada", code=made["used"])[0] == 400, "a code that Django has accepted counts no more"
for name, secret in made["secrets"].items():
    status, answer = token(name)
    assert (status, answer["code"], answer["methods"]) == (401, "mfa_required", ["totp"]), answer
    # Ada's app has to wait for the step after the one that she used at Django.
    if name != "ada":
        status, answer = token(name, code=pyotp.TOTP(secret).now())
        assert status == 200 and answer["access"], (name, answer)
for name in ("cem", "dan", "gus"):
    assert token(name)[0] == 200, name
assert token("fay")[1]["code"] == "email_not_verified"
