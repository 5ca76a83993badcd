"""Servers, requests to them and the mails that they send, for run.py.

What a client learns of a request is one of three things: it was acknowledged (2xx), it was refused
(4xx), or its outcome is unknown (503 and every other 5xx, a timeout, a lost connection).
"""

import base64
import collections
import dataclasses
import email
import email.policy
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

BASE = "/api/v1/accounts/"
# Longer than any server should take, so that it is the server that gives up.
TIMEOUT = 20
# Limits that would stop the test, and work that it does not measure.
SETTINGS = {
    "server-public-url": "https://accounts.example.com",
    "mail-transport": "file",
    "mail-new-sign-in-notice": "false",
    "passwords-bcrypt-cost": "4",
    "tokens-access-minutes": "60",
    "sessions-recent-minutes": "60",
    "rate-limits-enabled": "false",
    "rate-limits-new-address-mails-an-hour": "0",
    "rate-limits-wrong-codes-an-hour": "0",
    "otp-resend-seconds": "0",
    "otp-mails-per-hour": "0",
}
KINDS = {
    "is your confirmation code": "sign_up",
    "is your password reset code": "password_reset",
    "Your password was changed": "password_changed",
}


def environment(secret):
    """That of this process without settings of other servers. All servers share the secret."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("ACCOUNTS_")}
    return {**others, "ACCOUNTS_TOKENS_KEY_ENCRYPTION_SECRET": secret}


class Server:
    """An accounts-server on a free port of loopback."""

    def __init__(self, name, program, database, folder, secret, arguments=()):
        self.name = name
        self.folder = pathlib.Path(folder)
        self.mails = self.folder / f"mails-{name}"
        # Codes of an earlier run would be taken for those of this one.
        shutil.rmtree(self.mails, ignore_errors=True)
        settings = {
            **SETTINGS,
            "mail-dir": str(self.mails),
            "listen": "127.0.0.1:0",
            "db": database,
        }
        self.command = [str(program)]
        for setting, value in settings.items():
            self.command += [f"--{setting}", value]
        self.command += arguments
        self.environment = environment(secret)
        self.process = None
        self.port = None

    def command_line(self, *arguments, stdin=""):
        """Runs a command of the program on the same database."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            text=True,
            env=self.environment,
            timeout=60,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def start(self, seconds=60):
        said, log = self.folder / f"{self.name}.out", self.folder / f"{self.name}.log"
        with open(said, "wb") as out, open(log, "wb") as err:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environment,
                start_new_session=True,
            )
        end = time.monotonic() + seconds
        while True:
            found = re.search(
                r"^accounts-server listening on http://127\.0\.0\.1:(\d+)$", said.read_text(), re.M
            )
            if found:
                self.port = int(found[1])
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"server {self.name} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, seconds=10):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@dataclasses.dataclass
class Answer:
    """What came back. Status 0 means nothing did."""

    status: int
    body: object
    server: str
    started: float
    ended: float

    @property
    def acknowledged(self):
        return 200 <= self.status < 300

    @property
    def unknown(self):
        return self.status == 0 or self.status >= 500

    @property
    def refused(self):
        return 400 <= self.status < 500

    def __str__(self):
        return f"{self.status} {json.dumps(self.body)[:200]} by server {self.server}"


class Client:
    """Connections of one thread to the servers."""

    def __init__(self):
        self.connections = {}

    def ask(self, server, method, path, body=None, token=None, timeout=TIMEOUT):
        started = time.monotonic()
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        text = json.dumps(body) if body is not None else None
        path = path if path.startswith("/") else BASE + path
        status, answer = 0, None
        try:
            connection = self.connections.get(server.port)
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections[server.port] = connection
            connection.sock.settimeout(timeout)
            connection.request(method, path, text, headers)
            response = connection.getresponse()
            raw = response.read()
            status = response.status
            answer = json.loads(raw) if raw else None
            if response.will_close:
                self.forget(server)
        except (OSError, http.client.HTTPException, AttributeError) as error:
            status, answer = 0, f"{type(error).__name__}: {error}"
            self.forget(server)
        except ValueError:
            answer = raw.decode(errors="replace")
        return Answer(status, answer, server.name, started, time.monotonic())

    def forget(self, server):
        connection = self.connections.pop(server.port, None)
        if connection:
            connection.close()


@dataclasses.dataclass
class Mail:
    to: str
    kind: str
    code: str | None
    # The same for each delivery of one queued mail.
    id: str
    # When its file was written, in Unix seconds.
    at: float


class Mailbox:
    """The mails in the folders of all servers."""

    def __init__(self):
        self.folders = []
        self.seen = set()
        self.mails = collections.defaultdict(list)
        self.deliveries = collections.Counter()
        self.lock = threading.Lock()

    def read(self):
        """Reads new files. A file that was written again has another inode."""
        for folder in self.folders:
            try:
                entries = [e for e in os.scandir(folder) if e.name.endswith(".eml")]
            except FileNotFoundError:
                continue
            for entry in entries:
                key = (folder, entry.name, entry.inode())
                if key in self.seen:
                    continue
                try:
                    raw = pathlib.Path(entry.path).read_bytes()
                    at = entry.stat().st_mtime
                except FileNotFoundError:
                    continue
                self.seen.add(key)
                self.add(email.message_from_bytes(raw, policy=email.policy.default), at)

    def add(self, message, at):
        subject = message["Subject"]
        code = re.match(r"\d{6}\b", subject)
        kind = next((kind for text, kind in KINDS.items() if text in subject), subject)
        self.deliveries[message["Message-ID"]] += 1
        if self.deliveries[message["Message-ID"]] == 1:
            mail = Mail(message["To"], kind, code and code[0], message["Message-ID"], at)
            self.mails[mail.to].append(mail)

    def to(self, address, kind):
        with self.lock:
            self.read()
            return [mail for mail in self.mails[address] if mail.kind == kind]

    def wait(self, address, kind, seconds, known=(), unless=lambda: False):
        """The newest mail that is not one of the known ones, or None after that time."""
        end = time.monotonic() + seconds
        while True:
            found = [mail for mail in self.to(address, kind) if mail.id not in known]
            if found or time.monotonic() > end or unless():
                return found[-1] if found else None
            time.sleep(0.05)

    def twice(self):
        """How many mails were delivered more than once, as the same mail."""
        with self.lock:
            return sum(count > 1 for count in self.deliveries.values())


def claims(token):
    """What a token says. Nobody checks its signature here."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def totp(secret):
    """The code of an authenticator app now (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack("!Q", int(time.time()) // 30), hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(struct.unpack('!I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"
