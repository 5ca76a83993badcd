#!/usr/bin/env python3
"""Runs the shell examples of a document against a fresh server and compares what they print.

Each document has a server and a shell of its own; blocks run from top to bottom. The block that
follows a `sh` block, if it is `json`, `text` or `http`, is what that block has to print. Times,
tokens, codes and random names may differ. With --write, blocks that differ are replaced instead.

Usage: run.py [--write] PROGRAM DOCUMENT...
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:8000"
COLUMNS = 100
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A block behind this mark is shown and not run.
SKIP = "<!-- not run -->\n"

VARYING = [
    (re.compile(r"eyJ[\w.…-]+"), "TOKEN"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\b[0-9a-f]{16,}\b"), "HEX"),
    (re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])"), "KEY"),
    (re.compile(r"\b\d{6}\b"), "CODE"),
    (re.compile(r"curl/[\d.]+"), "curl"),
    (re.compile(r"\b\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT"), "DATE"),
]


class Server:
    """A server with a temporary folder, and a shell in that folder."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp()
        shutil.copy(ROOT / "fuzz/seeds/photo/progressive_jpg", f"{self.folder}/me.jpg")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ACCOUNTS_")}
        environment["PATH"] = f"{pathlib.Path(program).parent}:{environment['PATH']}"
        environment["RUST_LOG"] = "warn"
        arguments = [program, "--db", "users.db", "--dev", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            arguments + ["--mail-transport", "file"],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True,
        )
        self.address = self.process.stdout.readline().split()[-1]
        self.shell = subprocess.Popen(
            ["bash"], cwd=self.folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def run(self, block):
        """What a block prints, and its exit status."""
        script = block.replace(ADDRESS, self.address)
        self.shell.stdin.write(f"{script}\necho \"\nEND $?\"\n")
        self.shell.stdin.flush()
        lines = []
        for line in self.shell.stdout:
            if line.startswith("END "):
                self.settle()
                text = "".join(lines).replace(self.address, ADDRESS)
                return text.strip("\n"), int(line.split()[1])
            lines.append(line)
        sys.exit(f"the shell ended in\n{block}")

    def settle(self):
        """Waits until all mails are delivered, so that the next block finds its code."""
        for _ in range(200):
            with urllib.request.urlopen(f"{self.address}/metrics") as metrics:
                if "\naccounts_mail_queue_length 0\n" in metrics.read().decode():
                    return
            time.sleep(0.02)
        sys.exit("mails are not delivered")

    def stop(self):
        self.shell.stdin.close()
        self.shell.wait()
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


def documents_of(text):
    """The JSON values in a text, one after the other."""
    values, rest = [], text.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        values.append(value)
        rest = rest[end:].lstrip()
    return values


def constant(text):
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text


def comparable(kind, text):
    """A text without what differs between two runs."""
    if kind == "json":
        # `json.dumps` keeps the order of keys, which is part of the API.
        return [constant(json.dumps(value, ensure_ascii=False)) for value in documents_of(text)]
    if kind == "http":
        return [line.split(":")[0].lower() for line in text.splitlines()]
    return constant(text)


def printable(kind, text):
    """What a run printed, as a document shows it."""
    if kind == "json":
        text = "\n".join(
            json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            for value in documents_of(text)
        )
        text = re.sub(r"eyJ[\w.-]+", lambda token: token[0][:20] + "…", text)
    lines = []
    for line in text.replace("\r", "").splitlines():
        while len(line) > COLUMNS and "," in line[1:COLUMNS]:
            cut = line.rindex(",", 1, COLUMNS) + 1
            lines.append(line[:cut])
            line = " " + line[cut:]
        lines.append(line)
    return "\n".join(lines)


def check(program, path, write):
    """The number of differences in one document."""
    text = path.read_text()
    blocks = list(FENCE.finditer(text))
    server = Server(program)
    edits, differences = [], 0
    try:
        for block, following in zip(blocks, blocks[1:] + [None]):
            if block[1] != "sh" or text[: block.start()].endswith(SKIP):
                continue
            where = f"{path}:{text.count(chr(10), 0, block.start()) + 1}"
            output, status = server.run(block[2])
            if status != 0:
                print(f"{where}: exit status {status}\n{output}", file=sys.stderr)
                differences += 1
            if following is None or following[1] not in ("json", "text", "http"):
                continue
            kind = following[1]
            try:
                same = comparable(kind, following[2].strip()) == comparable(kind, output)
                shown = printable(kind, output)
            except ValueError:
                same, shown = False, output
            if not same:
                print(f"{where}: prints\n{shown}\ninstead of\n{following[2]}", file=sys.stderr)
                edits.append((following.start(2), following.end(2), shown + "\n"))
                differences += 1
    finally:
        server.stop()
    if write:
        for start, end, shown in reversed(edits):
            text = text[:start] + shown + text[end:]
        path.write_text(text)
    return differences


def main():
    arguments = [a for a in sys.argv[1:] if a != "--write"]
    program = str(pathlib.Path(arguments[0]).resolve())
    found = [check(program, pathlib.Path(p), "--write" in sys.argv) for p in arguments[1:]]
    if sum(found) > 0:
        sys.exit(f"{sum(found)} examples print something else")


main()
