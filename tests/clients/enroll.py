"""Makes two accounts, and gives one of them an authenticator app: enroll.py SERVER.

Prints a code of that app that was not used yet. Uses neither generated clients nor packages.
"""

import base64
import hmac
import json
import sys
import time
import urllib.request

server = sys.argv[1]
PASSWORD = "securepassword123"


def ask(method, path, body=None, access=None):
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if access:
        headers["Authorization"] = f"Bearer {access}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server}{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def account(email):
    new = {"email": email, "password": PASSWORD, "confirm_password": PASSWORD}
    ask("POST", "/api/v1/accounts/users/", new)
    otp = ask("GET", f"/dev/mail/?to={email}")[0]["otp"]
    return ask("POST", "/api/v1/accounts/otp/verify/", {"email": email, "otp": otp})["access"]


def code(secret, step):
    """RFC 6238."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    offset = digest[19] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


account("plain@example.com")
access = account("factor@example.com")
activation = "/api/v1/accounts/mfa/totp/activate/"
started = ask("GET", activation, access=access)
step = int(time.time()) // 30
answer = {"activation_token": started["activation_token"], "code": code(started["secret"], step)}
assert len(ask("POST", activation, answer, access)["recovery_codes"]) == 10
# The code of the next step is accepted early.
print(code(started["secret"], step + 1))
