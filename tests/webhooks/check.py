"""Runs the receivers of docs/WEBHOOKS.md, and verifies messages with libraries of PyPI and npm.

Arguments: the server (`--dev`, with the staff account staff@example.com), and a directory with the
packages of npm.
"""

import importlib.util
import json
import os
import pathlib
import queue
import re
import subprocess
import sys
import threading
import time
import types
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

import standardwebhooks
import svix

SERVER, NODE = sys.argv[1:]
ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/WEBHOOKS.md").read_text()
PASSWORD = "verify-Passw0rd"
TIMEOUT = 60


def blocks(language):
    """The blocks of the document in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def api(method, path, body=None, token=None):
    """Calls the API; returns the JSON of the answer."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{SERVER}/api/v1/accounts/{path}", data, headers, method=method
    )
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
        return json.loads(text) if text else None


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Receiver:
    """A server on a free port whose application is known later, as it needs the secret."""

    def __init__(self):
        self.lines = queue.Queue()
        self.app = None
        self.server = make_server(
            "127.0.0.1", 0, lambda environ, start: self.app(environ, start), handler_class=Quiet
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/accounts"

    def serve(self, app):
        self.app = app
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def print(self, *words, **_):
        self.lines.put(" ".join(str(word) for word in words))

    def load(self, name, source):
        """The module of a block; what it prints are the lines of this receiver."""
        path = pathlib.Path(NODE, f"{name}.py")
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        module.print = self.print
        spec.loader.exec_module(module)
        return module


staff = api("POST", "token/", {"email": "staff@example.com", "password": PASSWORD})["access"]


def add(url, **more):
    webhook = {"url": url, "events": ["*"], **more}
    return api("POST", "webhooks/", webhook, staff)


flask_source, django_source, public_key_source = blocks("python")

# Flask.
flask_receiver = Receiver()
os.environ["WEBHOOK_SECRET"] = add(flask_receiver.url)["secret"]
flask_receiver.serve(flask_receiver.load("flask_receiver", flask_source).app)

# Django. Its view reads the secret at each request, so it gets a process-wide name of its own.
from django.conf import settings  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path as url_path  # noqa: E402

django_receiver = Receiver()
os.environ["DJANGO_WEBHOOK_SECRET"] = add(django_receiver.url)["secret"]
urls = types.ModuleType("django_urls")
settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="not used here")
source = django_source.replace("WEBHOOK_SECRET", "DJANGO_WEBHOOK_SECRET")
urls.urlpatterns = [
    url_path("hooks/accounts", django_receiver.load("django_receiver", source).receive)
]
django_receiver.serve(get_wsgi_application())

# Node. The port is known once it runs, and it runs once the secret is known.
node_webhook = add("http://127.0.0.1:9/", events=["identity.linked"])
pathlib.Path(NODE, "receiver.mjs").write_text(blocks("js")[0])
node = subprocess.Popen(
    ["node", "--import", "./announce.mjs", "receiver.mjs"],
    cwd=NODE,
    env=os.environ | {"WEBHOOK_SECRET": node_webhook["secret"], "PORT": "0"},
    stdout=subprocess.PIPE,
    text=True,
)
port = node.stdout.readline().rsplit(maxsplit=1)[-1]
node_url = f"http://127.0.0.1:{port}/hooks/accounts"
api("PATCH", f"webhooks/{node_webhook['id']}/", {"url": node_url, "events": ["*"]}, staff)
node_lines = queue.Queue()
threading.Thread(
    target=lambda: [node_lines.put(line.strip()) for line in node.stdout], daemon=True
).start()

# A receiver that keeps the messages.
messages = queue.Queue()


def keep(environ, start):
    length = int(environ["CONTENT_LENGTH"])
    names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
    headers = {name: environ[f"HTTP_{name.replace('-', '_').upper()}"] for name in names}
    messages.put((headers, environ["wsgi.input"].read(length)))
    start("204 No Content", [])
    return []


keeper = Receiver()
kept_webhook = add(keeper.url)
keeper.serve(keep)

# The life of an account.
ann = {"email": "ann@example.com", "password": PASSWORD}
user_id = api("POST", "users/", ann | {"confirm_password": PASSWORD})["data"]["id"]
pair = api("POST", "otp/verify/", {"email": ann["email"], "otp": "123456"})
api("PATCH", "users/me/", {"first_name": "Änn", "country": "DE"}, pair["access"])
pair = api("POST", "token/", ann)
api("POST", "token/blacklist/", {"refresh": pair["refresh"]})
pair = api("POST", "token/", ann)
api("DELETE", "users/me/", {"password": PASSWORD}, pair["access"])
expected = {
    "user.created",
    "user.confirmed",
    "user.updated",
    "session.created",
    "session.ended",
    "user.deleted",
}

for name, lines in [
    ("Flask", flask_receiver.lines),
    ("Django", django_receiver.lines),
    ("Node", node_lines),
]:
    missing = set(expected)
    while missing:
        event, number = lines.get(timeout=TIMEOUT).split()
        if int(number) == user_id:
            missing.discard(event)
    print(f"the receiver for {name} has accepted every event")

captured = []
while {json.loads(body)["type"] for _, body in captured} < expected:
    captured.append(messages.get(timeout=TIMEOUT))

# After a rotation both secrets fit. Nothing is under way meanwhile.
path = f"webhooks/{kept_webhook['id']}"
while api("GET", f"{path}/deliveries/?status=pending", token=staff)["count"]:
    time.sleep(0.05)
while not messages.empty():
    captured.append(messages.get())
rotated = api("POST", f"{path}/rotate-secret/", {}, staff)
old = [(message, [kept_webhook["secret"]]) for message in captured]
api("POST", f"{path}/test/", {}, staff)
both = (messages.get(timeout=TIMEOUT), [rotated["secret"], kept_webhook["secret"]])
signed = [*old, both]

verify = types.ModuleType("public_key")
exec(public_key_source, verify.__dict__)
for (headers, body), secrets in signed:
    assert len(body) <= 20_000
    for secret in secrets:
        assert standardwebhooks.Webhook(secret).verify(body, headers) == json.loads(body)
        svix.Webhook(secret).verify(body, headers)  # It raises, and returns nothing.
    changed = body.replace(b'"sequence":', b'"sequence":1')
    assert changed != body
    newest = rotated if len(secrets) == 2 else kept_webhook
    verify.verify(newest["public_key"], headers, body)
    for check in [
        lambda: standardwebhooks.Webhook(secrets[0]).verify(changed, headers),
        lambda: svix.Webhook(secrets[0]).verify(changed, headers),
        lambda: verify.verify(newest["public_key"], headers, changed),
        lambda: verify.verify(newest["public_key"], headers | {"webhook-timestamp": "1"}, body),
    ]:
        try:
            check()
        except Exception as error:
            assert not isinstance(error, AssertionError), error
        else:
            raise SystemExit("a changed message is accepted")
print(f"PyPI standardwebhooks, svix, cryptography: {len(signed)} messages")

# The bodies are those of the document.
kinds = dict(re.findall(r"^\| `([\w.]+)` \|.*\| (\w+) \|$", DOCUMENT, re.MULTILINE))
examples = {kinds[example["type"]]: example for example in map(json.loads, blocks("json"))}
for (_, body), _ in signed:
    event = json.loads(body)
    example = examples[kinds[event["type"]]]
    # After a deletion only the id is left in earlier events.
    is_emptied = list(event["data"]) == ["id"]
    assert list(event) == list(example), event
    assert is_emptied or list(event["data"]) == list(example["data"]), event
    assert event["data"]["id"] in (user_id, 0) or kinds[event["type"]] == "session", event

file = pathlib.Path(NODE, "messages.json")
file.write_text(
    json.dumps(
        [
            {"secrets": secrets, "headers": headers, "body": body.decode()}
            for (headers, body), secrets in signed
        ]
    )
)
subprocess.run(["node", "verify.mjs", "messages.json"], cwd=NODE, check=True)
node.terminate()
