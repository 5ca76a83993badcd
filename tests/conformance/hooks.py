"""Keeps Schemathesis signed in, whatever it does to the account: as the one that ACCOUNTS_TEST_EMAIL names."""

import os

import requests
import schemathesis

SERVER = os.environ["ACCOUNTS_TEST_SERVER"]
CREDENTIALS = {"email": os.environ["ACCOUNTS_TEST_EMAIL"], "password": "securepassword123"}


@schemathesis.auth(refresh_interval=1)
class Account:
    access = None

    def get(self, case, context):
        me = requests.get(f"{SERVER}/api/v1/accounts/users/me/", headers={"Authorization": f"Bearer {self.access}"}, timeout=60)
        if me.status_code != 200:
            # It was deleted, demoted, signed out or has another address: start again.
            requests.post(f"{SERVER}/dev/reset/", timeout=60).raise_for_status()
            pair = requests.post(f"{SERVER}/api/v1/accounts/token/", json=CREDENTIALS, timeout=60)
            pair.raise_for_status()
            self.access = pair.json()["access"]
        return self.access

    def set(self, case, access, context):
        case.headers["Authorization"] = f"Bearer {access}"
