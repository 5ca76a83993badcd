"""Compares the verdicts of the server on passkeys with those of three libraries.

Arguments: the server (`--dev`, with the account ann@example.com), and a directory with the packages
of npm. What all libraries refuse, the server has to refuse, and what all accept, it has to accept.
Where they differ, or the server is stricter than all of them, the table RULES says what it does and
why; an entry that no case needs any more is a failure as well.
"""

import collections
import dataclasses
import fnmatch
import http.client
import json
import subprocess
import sys
import time
from urllib.parse import urlsplit

import webauthn
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData, PublicKeyCredentialRpEntity, UserVerificationRequirement,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier

import cases
import device
from changes import ALGORITHMS
from device import Key, b64, cbor, unb64
from rules import RULES

SERVER, NODE = sys.argv[1:]
PORT = urlsplit(SERVER).port
ORIGIN = f"http://localhost:{PORT}"
RP_ID = "localhost"
PASSWORD = "verify-Passw0rd"


class Server:
    """The server over its API, signed in as the account."""

    def __init__(self):
        self.connection = http.client.HTTPConnection(urlsplit(SERVER).hostname, PORT, timeout=30)
        credentials = {"email": "ann@example.com", "password": PASSWORD}
        self.pair = self.call("POST", "token/", credentials)[1]

    def call(self, method, path, body=None):
        """Calls the API; `body` is JSON or a value. Returns the status and the answer."""
        headers = {"Content-Type": "application/json"}
        if hasattr(self, "pair"):
            headers["Authorization"] = f"Bearer {self.pair['access']}"
        body = body if isinstance(body, str) else json.dumps(body or {})
        self.connection.request(method, f"/api/v1/accounts/{path}", body.encode(), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def refresh(self):
        status, self.pair = self.call("POST", "token/refresh/", {"refresh": self.pair["refresh"]})
        assert status == 200, self.pair

    def begin(self, path):
        status, options = self.call("POST", path)
        assert status == 200, options
        return options

    def register(self, credential):
        """Completes a registration; returns the passkey, or nothing when it is refused."""
        body = f'{{"name": "Phone", "credential": {credential}}}'
        status, answer = self.call("POST", "passkeys/register/complete/", body)
        if status == 201:
            return answer
        assert status == 400 and "credential" in answer, (status, answer)
        return None

    def sign_in(self, session, credential):
        """Completes a sign-in; returns whether it is accepted."""
        body = f'{{"session_id": "{session}", "credential": {credential}}}'
        status, answer = self.call("POST", "passkeys/login/complete/", body)
        assert status == 200 and "access" in answer or status in (400, 401), (status, answer)
        return status == 200

    def remove(self, passkey):
        status, answer = self.call("DELETE", f"passkeys/{passkey['id']}/")
        assert status == 204, answer


@dataclasses.dataclass
class Passkey:
    """A passkey of the account, as it is stored."""

    key: Key
    id: bytes
    handle: bytes
    counter: int


class PythonFido2:
    """Does not look at attestation statements, as none are asked for."""

    name = "python-fido2"

    def __init__(self):
        rp = PublicKeyCredentialRpEntity(id=RP_ID, name="Test")
        self.server = Fido2Server(
            rp, attestation="none", verify_origin=lambda origin: origin == ORIGIN)

    def register(self, credential, challenge):
        self.server.register_complete(self.state(challenge), json.loads(credential))

    def sign_in(self, credential, challenge, passkey):
        key = cbor(passkey.key.members())
        data = bytes(16) + len(passkey.id).to_bytes(2, "big") + passkey.id + key
        known = [AttestedCredentialData(data)]
        self.server.authenticate_complete(self.state(challenge), known, json.loads(credential))

    def state(self, challenge):
        return {
            "challenge": challenge, "user_verification": UserVerificationRequirement.REQUIRED,
        }


class PyWebauthn:
    name = "py-webauthn"

    def register(self, credential, challenge):
        webauthn.verify_registration_response(
            credential=credential, expected_challenge=unb64(challenge), expected_rp_id=RP_ID,
            expected_origin=ORIGIN, require_user_verification=True,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(a) for a in (-7, -8, -257)])

    def sign_in(self, credential, challenge, passkey):
        webauthn.verify_authentication_response(
            credential=credential, expected_challenge=unb64(challenge), expected_rp_id=RP_ID,
            expected_origin=ORIGIN, credential_public_key=cbor(passkey.key.members()),
            credential_current_sign_count=passkey.counter, require_user_verification=True)


class SimpleWebauthn:
    name = "@simplewebauthn/server"

    def __init__(self):
        self.node = subprocess.Popen(
            ["node", "verify.mjs"], cwd=NODE, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def ask(self, kind, credential, challenge, passkey=None):
        question = {
            "kind": kind, "credential": credential, "challenge": challenge, "origin": ORIGIN,
            "rpId": RP_ID, "passkey": passkey,
        }
        self.node.stdin.write(json.dumps(question) + "\n")
        self.node.stdin.flush()
        answer = json.loads(self.node.stdout.readline())
        if not answer["accepted"]:
            raise ValueError(answer["why"])

    def register(self, credential, challenge):
        self.ask("registration", credential, challenge)

    def sign_in(self, credential, challenge, passkey):
        key = b64(cbor(passkey.key.members())).replace("-", "+").replace("_", "/")
        self.ask("assertion", credential, challenge, {
            "id": b64(passkey.id), "publicKey": key, "counter": passkey.counter,
        })

    def end(self):
        self.node.stdin.close()
        self.node.wait(10)


class Comparison:
    """Counts verdicts, and collects those that break the rules."""

    def __init__(self, libraries):
        self.libraries = libraries
        self.used = collections.Counter()
        self.counts = collections.Counter()
        self.laxer = collections.Counter()
        self.failures = []

    def judge(self, function):
        """The verdicts of the libraries: nothing, or why they refuse."""
        whys = {}
        for library in self.libraries:
            try:
                function(library)
                whys[library.name] = None
            except Exception as error:
                whys[library.name] = " ".join(f"{type(error).__name__}: {error}".split())
        return whys

    def add(self, case, accepted, whys):
        verdicts = {why is None for why in whys.values()}
        pattern = next((p for p in RULES if fnmatch.fnmatchcase(case, p)), None)
        self.counts[accepted, len(verdicts) == 1] += 1
        if verdicts == {accepted}:
            return
        expected = pattern and RULES[pattern][0] == "accept"
        is_lawful = pattern and expected == accepted and not (accepted and verdicts == {False})
        if is_lawful:
            self.used[pattern] += 1
            if accepted:
                self.laxer.update(name for name, why in whys.items() if why)
            return
        lines = [f"{case}: we {'accept' if accepted else 'refuse'}"]
        lines += [f"    {name}: {why or 'accepts'}"[:160] for name, why in whys.items()]
        self.failures.append("\n".join(lines))


def add_passkeys(server):
    """Passkeys of the account to sign in with, by algorithm and whether they count signatures."""
    passkeys = {}
    for algorithm in ALGORITHMS.values():
        for counts in (True, False):
            options = server.begin("passkeys/register/begin/")
            claims = device.registration(options, ORIGIN, Key(algorithm), counter=int(counts))
            added = server.register(claims.answer())
            assert added, algorithm
            server.refresh()
            handle = unb64(options["user"]["id"])
            passkeys[algorithm, counts] = Passkey(
                claims.key, claims.credential_id, handle, claims.counter)
    return passkeys


def compare_registrations(server, comparison):
    for name, key, change in cases.registration_cases():
        options = server.begin("passkeys/register/begin/")
        claims = device.registration(options, ORIGIN, key)
        change(claims)
        credential = claims.answer()
        whys = comparison.judge(lambda library: library.register(credential, options["challenge"]))
        passkey = server.register(credential)
        comparison.add(f"registration: {name}", passkey is not None, whys)
        if passkey:
            server.remove(passkey)


def compare_assertions(server, comparison, passkeys):
    for name, algorithm, counts, change in cases.assertion_cases():
        passkey = passkeys[algorithm, counts]
        options = server.begin("passkeys/login/begin/")
        claims = device.assertion(options, ORIGIN, passkey)
        change(claims)
        credential = claims.answer()
        whys = comparison.judge(
            lambda library: library.sign_in(credential, options["challenge"], passkey))
        accepted = server.sign_in(options["session_id"], credential)
        comparison.add(f"assertion: {name}", accepted, whys)
        if accepted:
            passkey.counter = claims.counter


def main():
    started = time.monotonic()
    server = Server()
    libraries = [PythonFido2(), PyWebauthn(), SimpleWebauthn()]
    comparison = Comparison(libraries)
    passkeys = add_passkeys(server)
    compare_registrations(server, comparison)
    server.refresh()
    compare_assertions(server, comparison, passkeys)
    libraries[-1].end()
    for pattern in RULES:
        if not comparison.used[pattern]:
            comparison.failures.append(f"no case needs the rule {pattern!r}")
    for (accepted, same), count in sorted(comparison.counts.items()):
        verdict = "accepted" if accepted else "refused"
        print(f"{count} {verdict}, {'all libraries agree' if same else 'the libraries differ'}")
    print("accepted against", dict(comparison.laxer), f"in {time.monotonic() - started:.0f} s")
    if comparison.failures:
        print("\n".join(comparison.failures))
        sys.exit(f"{len(comparison.failures)} verdicts break the rules")


main()
