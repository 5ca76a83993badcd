"""A pytest fixture: a server for the whole run, reset to its seed data before each test.

Needs only pytest and the program, in PATH or named by SERVER_PROGRAM.
"""

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest


class Accounts:
    def __init__(self, url):
        self.url = url

    def request(self, method, path, body=None, access=None):
        """Status and JSON of a response; `path` is relative to /api/v1/accounts/ or absolute."""
        url = self.url + (path if path.startswith("/") else f"/api/v1/accounts/{path}")
        headers = {"Content-Type": "application/json"}
        if access:
            headers["Authorization"] = f"Bearer {access}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or "null")

    def sign_in(self, email, password="securepassword123"):
        status, pair = self.request("POST", "token/", {"email": email, "password": password})
        assert status == 200, pair
        return pair["access"]

    def otp(self, email):
        """The code in the newest mail to an address."""
        _, mails = self.request("GET", f"/dev/mail/?to={email}")
        return next(mail["otp"] for mail in mails if mail["otp"])

    def advance(self, seconds):
        status, _ = self.request("POST", "/dev/clock/", {"advance_seconds": seconds})
        assert status == 200

    def reset(self):
        status, _ = self.request("POST", "/dev/reset/")
        assert status == 204


@pytest.fixture(scope="session")
def accounts_server():
    program = os.environ.get("SERVER_PROGRAM", "accounts-server")
    seed = Path(__file__).parent.parent / "seed.jsonl"
    process = subprocess.Popen(
        [program, "--dev", "--ephemeral", "--exit-with-parent"]
        + ["--listen", "127.0.0.1:0", "--seed", seed],
        stdout=subprocess.PIPE,
        text=True,
    )
    # The first line is printed once the server accepts connections. Mails follow, so keep reading.
    url = process.stdout.readline().strip().removeprefix("accounts-server listening on ")
    drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    yield Accounts(url)
    process.terminate()
    process.wait(10)
    drain.wait(10)


@pytest.fixture
def accounts(accounts_server):
    accounts_server.reset()
    return accounts_server
