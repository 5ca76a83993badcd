#!/usr/bin/env python3
"""Shows that cluster.py and proxy.py do what they say, with a small writer of its own.

    DIR/venv/bin/python selftest.py DIR [--faults kill,pause,…]

Writers insert numbers and note which ones were acknowledged, while one fault after the other
happens. After each fault every acknowledged number has to be there. Then the proxy loses answers,
and what was repeated has to be there once. It takes four minutes.
"""

import argparse
import concurrent.futures
import contextlib
import pathlib
import signal
import socket
import sys
import threading
import time

import psycopg

import cluster as failover
from proxy import Proxy


class Unknown(Exception):
    """The outcome of a write is not known."""


@contextlib.contextmanager
def at_most(connection, seconds):
    """Gives up on a connection that does not answer. No cancel is sent: it would end the wait of a
    commit for its standby, and PostgreSQL would report success."""

    def give_up():
        with contextlib.suppress(OSError):
            with socket.socket(fileno=connection.fileno()) as mine:
                mine.shutdown(socket.SHUT_RDWR)
                # The descriptor is that of the connection, which closes it.
                mine.detach()

    timer = threading.Timer(seconds, give_up)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Database:
    """A connection to the node that can commit, found by trying all of them at once."""

    def __init__(self, cluster, ports=None, seconds=3):
        self.cluster = cluster
        self.ports = ports or [cluster.port(node) for node in failover.NODES]
        self.seconds = seconds
        self.connection = None
        self.pool = concurrent.futures.ThreadPoolExecutor(len(self.ports))

    def try_host(self, port):
        connection = psycopg.connect(
            host="127.0.0.1",
            port=port,
            user="accounts",
            password=self.cluster.state["password"],
            dbname=failover.DATABASE,
            target_session_attrs="read-write",
            connect_timeout=3,
            autocommit=True,
        )
        try:
            # An old primary that nobody has demoted takes writes as well. It cannot commit.
            with at_most(connection, self.seconds):
                self.commit(connection, "UPDATE fence SET n = n + 1", ())
        except Exception:
            connection.close()
            raise
        return connection

    def commit(self, connection, statement, values):
        warnings = []
        handler = lambda notice: warnings.append(notice.message_primary)  # noqa: E731
        connection.add_notice_handler(handler)
        try:
            with connection.transaction():
                found = connection.execute(statement, values).rowcount
        finally:
            connection.remove_notice_handler(handler)
        if warnings:
            # "canceling wait for synchronous replication", in a commit that is reported as done.
            raise Unknown(warnings[0])
        return found

    def connect(self):
        attempts = [self.pool.submit(self.try_host, port) for port in self.ports]
        for attempt in concurrent.futures.as_completed(attempts):
            with contextlib.suppress(psycopg.Error, OSError, Unknown):
                connection = attempt.result()
                if self.connection is None:
                    self.connection = connection
                else:
                    connection.close()
        if self.connection is None:
            raise Unknown("no node can commit")

    def write(self, statement, values):
        try:
            if self.connection is None:
                self.connect()
            with at_most(self.connection, self.seconds):
                return self.commit(self.connection, statement, values)
        except (psycopg.Error, OSError, Unknown) as error:
            self.close()
            raise Unknown(str(error)) from None

    def close(self):
        if self.connection:
            with contextlib.suppress(Exception):
                self.connection.close()
        self.connection = None


class Writers:
    """Writes numbers without a pause, each from a thread and connection of its own."""

    def __init__(self, cluster, count=4):
        self.acknowledged = []
        self.unknown = []
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.run, args=(cluster, i), daemon=True) for i in range(count)
        ]

    def run(self, cluster, writer):
        database = Database(cluster)
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                database.write("INSERT INTO numbers VALUES (%s, %s)", (writer, number))
                with self.lock:
                    self.acknowledged.append((time.monotonic(), writer, number))
            except Unknown:
                with self.lock:
                    self.unknown.append((writer, number))
                time.sleep(0.1)
            time.sleep(0.01)
        database.close()

    def outage(self, since):
        """The longest time without an acknowledged write from then on, and when it was over."""
        with self.lock:
            moments = sorted(at for at, _, _ in self.acknowledged)
        moments = [since] + [at for at in moments if at > since]
        gaps = zip(moments, moments[1:])
        length, end = max(((b - a, b) for a, b in gaps), default=(float("inf"), float("inf")))
        return length, end - since

    def counts(self):
        with self.lock:
            return len(self.acknowledged), len(self.unknown)

    def wait_for_write(self, seconds=60):
        before = self.counts()[0]
        failover.until(
            "a write is acknowledged", seconds, lambda: self.counts()[0] > before, pause=0.02
        )

    def missing(self, cluster):
        """How many acknowledged numbers are not there, and how many unknown ones are."""
        with self.lock:
            acknowledged = {(w, n) for _, w, n in self.acknowledged}
            unknown = set(self.unknown)
        lines = cluster.sql("SELECT writer, n FROM numbers", database=failover.DATABASE)
        there = {tuple(map(int, line.split("|"))) for line in lines}
        return len(acknowledged - there), len(unknown & there), len(unknown)


class Test:
    def __init__(self, cluster):
        self.cluster = cluster
        self.writers = Writers(cluster)
        self.failures = 0

    def look(self, name, old):
        if name == "standbys":
            return self.without_standbys(old)
        # What the old primary has to say before its agent does.
        time.sleep(2)
        return self.of_old_primary(old)

    def of_old_primary(self, old):
        """What a primary does that was replaced and does not know it."""
        now = self.cluster.sql("SELECT count(*) FROM numbers", database=failover.DATABASE)[0]
        stale = self.cluster.sql("SELECT count(*) FROM numbers", old, failover.DATABASE)[0]
        read_write = self.cluster.sql("SELECT NOT pg_is_in_recovery()", old)[0] == "t"
        database = Database(self.cluster, [self.cluster.port(old)], seconds=2)
        try:
            database.connect()
            self.failures += 1
            committed = "COMMITS"
        except Unknown:
            committed = "commits nothing"
        return (
            f"the old primary {'says it takes writes' if read_write else 'is a standby'}, "
            f"{committed}, and reads {stale} of {now} rows"
        )

    def without_standbys(self, primary):
        # Commits of the last moment may have reached a standby before.
        time.sleep(1)
        before, _ = self.writers.counts()
        cancelled = 0
        for _ in range(8):
            time.sleep(1)
            cancelled += self.cluster.cancel_waits(primary)
        acknowledged = self.writers.counts()[0] - before
        self.failures += acknowledged
        return f"without standbys {acknowledged} acknowledged, {cancelled} waits cancelled"

    def run(self, faults):
        cluster, writers = self.cluster, self.writers
        cluster.sql(
            "CREATE TABLE numbers (writer int, n int, PRIMARY KEY (writer, n));"
            "CREATE TABLE fence (n bigint); INSERT INTO fence VALUES (0);"
            "ALTER TABLE numbers OWNER TO accounts; ALTER TABLE fence OWNER TO accounts",
            database=failover.DATABASE,
        )
        for thread in writers.threads:
            thread.start()
        writers.wait_for_write()
        time.sleep(2)
        print(
            f"{'fault':17} {'outage':>7} {'first ack':>9} "
            f"{'acked':>6} {'unknown':>7} {'lost':>4}  seen"
        )
        for name in faults:
            before = writers.counts()
            seen = cluster.perform(name, writers.wait_for_write, lambda old: self.look(name, old))
            at = cluster.struck_at
            cluster.calm()
            writers.wait_for_write()
            time.sleep(1)
            length, first = writers.outage(at)
            lost, _, _ = writers.missing(cluster)
            after = writers.counts()
            print(
                f"{name:17} {length:6.1f}s {first:8.1f}s {after[0] - before[0]:6} "
                f"{after[1] - before[1]:7} {lost:4}  {seen or ''}",
                flush=True,
            )
        writers.stopped.set()
        for thread in writers.threads:
            thread.join(15)
        lost, came, unknown = writers.missing(cluster)
        print(
            f"acknowledged {writers.counts()[0]}, of them lost {lost}; "
            f"unknown {unknown}, of them done {came}"
        )
        self.failures += lost

    def proxy(self):
        """Answers to commits are lost in every form that a commit has."""
        cluster = self.cluster
        cluster.sql(
            "CREATE TABLE effects (id text PRIMARY KEY); ALTER TABLE effects OWNER TO accounts",
            database=failover.DATABASE,
        )
        targets = [("127.0.0.1", cluster.port(node)) for node in failover.NODES]

        def simple(connection, name):
            connection.execute(f"BEGIN; INSERT INTO effects VALUES ('{name}')")
            connection.execute("COMMIT")

        def prepared(connection, name):
            connection.execute("BEGIN", prepare=True)
            connection.execute("INSERT INTO effects VALUES (%s)", (name,), prepare=True)
            connection.execute("COMMIT", prepare=True)

        def pipelined(connection, name):
            with connection.pipeline():
                connection.execute("BEGIN")
                connection.execute("INSERT INTO effects VALUES (%s)", (name,))
                connection.execute("COMMIT")

        def alone(connection, name):
            connection.execute("INSERT INTO effects VALUES (%s)", (name,))

        def together(connection, name):
            connection.execute(f"BEGIN; INSERT INTO effects VALUES ('{name}'); COMMIT")

        with Proxy(targets) as proxy:
            database = Database(cluster, proxy.ports)
            for form in (simple, prepared, pipelined, alone, together):
                for when in ("after", "before") if form is not alone else ("after",):
                    name = f"{form.__name__} {when}"
                    database.close()
                    database.connect()
                    # An answer that is not the one of the insert is not lost.
                    proxy.cut(when=when, only="effects")
                    database.connection.execute("UPDATE fence SET n = n + 1")
                    try:
                        form(database.connection, name)
                        failed = False
                    except psycopg.OperationalError:
                        failed = True
                    left = proxy.spare()
                    database.close()
                    count = f"SELECT count(*) FROM effects WHERE id = '{name}'"
                    first = int(cluster.sql(count, database=failover.DATABASE)[0])
                    database.write(
                        "INSERT INTO effects VALUES (%s) ON CONFLICT DO NOTHING", (name,)
                    )
                    second = int(cluster.sql(count, database=failover.DATABASE)[0])
                    right = failed and not left and (first, second) == (int(when == "after"), 1)
                    self.failures += not right
                    print(
                        f"proxy: {name:17} "
                        f"client {'lost its connection' if failed else 'NOTICED NOTHING'}, "
                        f"rows {first}, after a repetition {second}{'' if right else '  WRONG'}"
                    )
            database.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--faults", default=",".join(failover.FAULTS), help="comma-separated")
    parser.add_argument(
        "--asynchronous",
        action="store_true",
        help="a cluster that loses acknowledged writes, to see that this test notices it",
    )
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda *_: sys.exit("selftest.py: ended before it was done"))
    signal.alarm(540)
    begin = time.monotonic()
    lab = failover.Cluster(options.folder, synchronous=not options.asynchronous)
    lab.clear()
    with lab as cluster:
        print(f"started in {time.monotonic() - begin:.1f} s, times {cluster.times}")
        test = Test(cluster)
        test.run([name for name in options.faults.split(",") if name])
        test.proxy()
    print(f"{time.monotonic() - begin:.0f} s, {test.failures} failures")
    sys.exit(1 if test.failures else 0)


if __name__ == "__main__":
    main()
