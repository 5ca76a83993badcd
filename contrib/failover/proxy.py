#!/usr/bin/env python3
"""A proxy for PostgreSQL that loses the answer to a commit.

It forwards the protocol (version 3, without TLS) on loopback. When it is armed, it waits for a
client's COMMIT and for the server's answer to it, and closes both connections instead of forwarding
that answer: the server has committed, and the client never learns it.

    with Proxy([("127.0.0.1", 5432)]) as proxy:
        client = connect(port=proxy.ports[0])
        proxy.cut(times=1)
        client.commit()              # fails, although it is done
        print(proxy.cuts)            # what was lost

A COMMIT is a simple query with that word, an Execute of a portal whose statement is COMMIT, or a
statement that writes outside of a transaction, which commits by itself. It is the server's answer
that decides: a COMMIT that was answered with ROLLBACK is forwarded.
"""

import argparse
import asyncio
import collections
import dataclasses
import itertools
import random
import re
import struct
import sys
import threading
import time

CANCEL_REQUEST, SSL_REQUEST, ENCRYPTION_REQUEST = 80877102, 80877103, 80877104
COMMITS = re.compile(rb"(?:^|;)\s*(?:COMMIT|END)\b", re.IGNORECASE)
BEGINS = (b"BEGIN\0", b"START TRANSACTION\0")
WRITES = re.compile(rb"(?:INSERT \d+|UPDATE|DELETE|MERGE|COPY) [1-9]\d*\0")


@dataclasses.dataclass
class Cut:
    """An answer that was lost."""

    at: float
    # What the client had executed in this transaction.
    statements: list
    when: str
    # Whether the server had committed: always, unless the cut was made before the COMMIT.
    committed: bool


@dataclasses.dataclass
class Order:
    """What to cut."""

    times: int
    probability: float
    when: str
    only: re.Pattern | None


class Session:
    """What is known about one connection."""

    def __init__(self):
        self.statements = {}
        self.portals = {}
        # Statements that the server has not answered yet, with None at the end of each batch:
        # clients may send the next transaction before this one is answered.
        self.sent = collections.deque()
        # Statements of the present transaction that the server has answered.
        self.executed = []
        # Inside of BEGIN … COMMIT; otherwise each statement commits by itself.
        self.in_transaction = False
        # Answers to a write that commits by itself, until it is known to be committed.
        self.held = []

    def answered(self):
        """Moves a statement on that the server has answered."""
        if self.sent and self.sent[0] is not None:
            self.executed.append(self.sent.popleft())

    def answered_batch(self):
        """Drops what the server has skipped after an error."""
        while self.sent and self.sent.popleft() is not None:
            pass

    def transaction(self):
        """All statements of the present transaction, answered or not."""
        return self.executed + list(itertools.takewhile(lambda sql: sql is not None, self.sent))


class Proxy:
    """Forwards one port of loopback to each target."""

    def __init__(self, targets, ports=None):
        self.targets = targets
        self.ports = list(ports or [0] * len(targets))
        self.cuts = []
        self.connections = 0
        self._order = None
        self._lock = threading.Lock()
        self._writers = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self):
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    # Control, from any thread.

    def cut(self, times=1, probability=1.0, when="after", only=None):
        """Loses the answers to the next commits, each with a probability.

        `when` is "after" the server has committed, or "before" the COMMIT gets there. `only` is a
        regular expression: a transaction counts when a statement of it matches.
        """
        pattern = re.compile(only, re.IGNORECASE) if only else None
        with self._lock:
            self._order = Order(times, probability, when, pattern)

    def spare(self):
        """Forwards everything again. How many cuts were left."""
        with self._lock:
            left = self._order.times if self._order else 0
            self._order = None
        return left

    def _armed(self, when):
        order = self._order
        return order is not None and order.when == when

    def _decide(self, executed, when, committed):
        with self._lock:
            order = self._order
            if order is None or order.when != when or random.random() >= order.probability:
                return False
            statements = [sql.decode(errors="replace") for sql in executed]
            if order.only and not any(map(order.only.search, statements)):
                return False
            order.times -= 1
            if order.times == 0:
                self._order = None
            self.cuts.append(Cut(time.monotonic(), statements, when, committed))
            return True

    # Forwarding, in the thread of the loop.

    async def _listen(self):
        for i, target in enumerate(self.targets):
            server = await asyncio.start_server(
                lambda reader, writer, target=target: self._connection(target, reader, writer),
                "127.0.0.1",
                self.ports[i],
            )
            self.ports[i] = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def _close(self):
        for server in self._servers:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        # The connections notice it in their next turns.
        await asyncio.sleep(0.05)

    async def _connection(self, target, client, to_client):
        self.connections += 1
        self._writers.add(to_client)
        to_server = None
        try:
            startup = await self._startup(client, to_client)
            if startup is None:
                return
            server, to_server = await asyncio.open_connection(*target)
            self._writers.add(to_server)
            to_server.write(startup)
            session = Session()
            await asyncio.wait(
                [
                    asyncio.ensure_future(self._from_client(session, client, to_server)),
                    asyncio.ensure_future(self._from_server(session, server, to_client)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            # What one side has ended, or a cut, ends the other side as well.
            for writer in filter(None, (to_client, to_server)):
                self._writers.discard(writer)
                writer.transport.abort()

    async def _startup(self, client, to_client):
        """The first message, which has no type. None when there is nothing more to come."""
        while True:
            head = await client.readexactly(8)
            length, code = struct.unpack("!ii", head)
            if code in (SSL_REQUEST, ENCRYPTION_REQUEST):
                to_client.write(b"N")
                continue
            # A cancel request goes on as it is: it has a connection of its own.
            return head + await client.readexactly(length - 8)

    async def _message(self, reader):
        head = await reader.readexactly(5)
        length = struct.unpack("!i", head[1:])[0]
        return head[:1], head + await reader.readexactly(length - 4)

    async def _from_client(self, session, reader, writer):
        try:
            # Passwords come before the first query, in messages of their own type ('p').
            while True:
                kind, message = await self._message(reader)
                commits = self._note(session, kind, message[5:])
                if (
                    commits
                    and self._armed("before")
                    and self._decide(session.transaction(), "before", False)
                ):
                    return
                writer.write(message)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass

    def _note(self, session, kind, body):
        """Keeps what a message of the client says. Whether it commits."""
        sql = None
        if kind == b"Q":
            sql = body.rstrip(b"\0")
        elif kind == b"P":
            name, text = body.split(b"\0")[:2]
            session.statements[name] = text
        elif kind == b"B":
            portal, name = body.split(b"\0")[:2]
            session.portals[portal] = session.statements.get(name, b"")
        elif kind == b"E":
            sql = session.portals.get(body.split(b"\0")[0], b"")
        if sql is not None:
            session.sent.append(sql)
        if kind in (b"Q", b"S"):
            session.sent.append(None)
        return sql is not None and bool(COMMITS.search(sql))

    async def _from_server(self, session, reader, writer):
        try:
            while True:
                kind, message = await self._message(reader)
                body = message[5:]
                if kind == b"C":
                    session.answered()
                    if body == b"COMMIT\0":
                        if self._decide(session.executed, "after", True):
                            return
                        session.executed.clear()
                    session.in_transaction = body in BEGINS or (
                        session.in_transaction and body not in (b"COMMIT\0", b"ROLLBACK\0")
                    )
                    # Outside of a transaction, the end of the batch commits. Until then nothing is
                    # said.
                    if not session.in_transaction and None in session.sent and self._armed("after"):
                        if WRITES.fullmatch(body):
                            session.held.append(message)
                            continue
                elif kind in (b"I", b"s"):
                    session.answered()
                elif kind == b"Z":
                    session.answered_batch()
                    session.in_transaction = body != b"I"
                    if (
                        session.held
                        and body == b"I"
                        and self._decide(session.executed, "after", True)
                    ):
                        return
                    if body == b"I":
                        session.executed.clear()
                    message = b"".join(session.held) + message
                    session.held.clear()
                if session.held:
                    session.held.append(message)
                    continue
                writer.write(message)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass


def main():
    parser = argparse.ArgumentParser(
        description="Forwards PostgreSQL, and loses answers to commits."
    )
    parser.add_argument("listen", type=int, help="port of loopback")
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("--probability", type=float, default=0.1, help="of losing an answer")
    options = parser.parse_args()
    host, port = options.target.rsplit(":", 1)
    with Proxy([(host, int(port))], [options.listen]) as proxy:
        proxy.cut(times=sys.maxsize, probability=options.probability)
        print(f"forwarding 127.0.0.1:{options.listen} to {options.target}", flush=True)
        shown = 0
        try:
            while True:
                time.sleep(0.5)
                for cut in proxy.cuts[shown:]:
                    print(f"lost an answer to: {'; '.join(cut.statements)[:200]}", flush=True)
                shown = len(proxy.cuts)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
