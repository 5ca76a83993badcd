#!/usr/bin/env python3
"""A highly available PostgreSQL on loopback, with faults on request.

Three etcd, three Patroni and three PostgreSQL run below one folder, on free ports of 127.0.0.1.
They are what a production cluster has, only smaller. As a library:

    with Cluster("/tmp/lab") as cluster:
        print(cluster.urls())
        old = cluster.primary()
        cluster.pause(old)
        new = cluster.wait_for_primary(not_this_one=old)

As a command:

    cluster.py install DIR           fetch etcd and Patroni into DIR, and check PostgreSQL
    cluster.py start DIR             start it and print the URL of its database
    cluster.py status DIR            who is the primary
    cluster.py switchover DIR NODE   make another node the primary
    cluster.py stop DIR              stop what was started

PostgreSQL refuses to run as root: started by root, everything runs as the user `postgres`.
Processes are found by the process ids that this program has noted, and by the data folder of a
PostgreSQL, and never by name. Every wait has an end.
"""

import argparse
import atexit
import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
NODES = ("n1", "n2", "n3")
# What can happen to the primary, from the simplest to the longest.
FAULTS = ("kill", "pause", "freeze", "freeze and pause", "switchover", "standbys", "node")
DATABASE = "accounts"
# Where Debian keeps the programs of PostgreSQL: they are not in the PATH.
POSTGRES_PLACES = "/usr/lib/postgresql"
# What programs get from our environment. Variables of others, such as PGHOST or PATRONI_*, would
# change what they do.
ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}
# Packages that are fetched come with the settings of this machine's clients.
FETCHING = {
    name: value
    for name, value in os.environ.items()
    if name.startswith(("PIP_", "SSL_", "REQUESTS_")) or name.lower().endswith("_proxy")
}


class ClusterError(Exception):
    """Something did not happen in time, or is missing."""


def account():
    """The arguments of Popen that drop the rights of root."""
    if os.geteuid() != 0:
        return {}
    try:
        group = pwd.getpwnam("postgres").pw_gid
    except KeyError:
        raise ClusterError("there is no user postgres: install postgresql first") from None
    return {"user": "postgres", "group": group, "extra_groups": []}


def own(path):
    """Gives a file or folder to the user that the processes run as."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
        os.chown(path, entry.pw_uid, entry.pw_gid)


def can_reach(path):
    """Whether that user can open a path, such as a program in somebody's home folder."""
    return subprocess.run(["test", "-r", str(path)], **account()).returncode == 0


def until(what, seconds, check, pause=0.1):
    """Repeats a check until it gives something, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


def postgres_programs():
    """The folder of the newest PostgreSQL, or None."""
    found = pathlib.Path(POSTGRES_PLACES).glob("*/bin/postgres")
    folders = sorted((path.parent for path in found), key=lambda path: int(path.parent.name))
    return folders[-1] if folders else None


def run(command, **options):
    """Runs a program to its end, and shows what it said only when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}")
    return done.stdout


# Installation.


def install_postgres():
    if postgres_programs():
        return
    if os.geteuid() != 0:
        raise ClusterError("PostgreSQL is missing: run apt-get install postgresql as root")
    # Debian makes and starts a cluster of its own with the package; nobody wants that one here.
    settings = pathlib.Path("/etc/postgresql-common/createcluster.conf")
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text("create_main_cluster = false\nstart_conf = 'manual'\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], timeout=300)
    # The settings above are ours: keep them where the package brings its own.
    run(
        [
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "-o",
            "Dpkg::Options::=--force-confold",
            "postgresql",
        ],
        env=environment,
        timeout=600,
    )


def install_etcd(folder):
    """Finds etcd, or unpacks Debian's package below the folder: nothing is installed or started."""
    program = folder / "etcd" / "usr/bin/etcd"
    if program.exists():
        return
    with contextlib.suppress(FileExistsError):
        (folder / "etcd").mkdir()
    if shutil.which("etcd"):
        program.parent.mkdir(parents=True)
        program.symlink_to(shutil.which("etcd"))
        return
    download = folder / "etcd" / "package"
    download.mkdir(exist_ok=True)
    try:
        run(["apt-get", "download", "etcd-server"], cwd=download, timeout=300)
    except ClusterError:
        # An old list of packages names files that are gone.
        run(["apt-get", "update", "-qq"], timeout=300)
        run(["apt-get", "download", "etcd-server"], cwd=download, timeout=300)
    run(["dpkg", "-x", next(download.glob("etcd-server*.deb")), folder / "etcd"], timeout=120)
    shutil.rmtree(download)


def install_patroni(folder):
    wanted = (HERE / "requirements.txt").read_text()
    stamp = folder / "venv/requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    # Another user runs it, so it has to be a Python that this user can read.
    candidates = [os.path.realpath(sys.executable), "/usr/bin/python3"]
    for python in filter(can_reach, candidates):
        shutil.rmtree(folder / "venv", ignore_errors=True)
        with contextlib.suppress(ClusterError):
            run([python, "-m", "venv", folder / "venv"], timeout=120)
            break
    else:
        raise ClusterError(f"no Python that makes a venv, of {candidates}: install python3-venv")
    run(
        [
            folder / "venv/bin/pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
            HERE / "requirements.txt",
        ],
        timeout=600,
        env={**ENVIRONMENT, **FETCHING},
    )
    stamp.write_text(wanted)


def install(folder):
    """Fetches what is missing. It takes about half a minute the first time."""
    folder = pathlib.Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install_postgres()
    if not can_reach(folder):
        raise ClusterError(f"{folder} is closed to the user postgres: choose another folder")
    install_etcd(folder)
    install_patroni(folder)


# Processes.


def started_at(pid):
    """When a process started, in ticks since boot: an id with another start is another process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError):
                text = pathlib.Path(f"/proc/{entry}/stat").read_text()
                if int(text[text.rindex(")") + 2 :].split()[1]) == pid:
                    found.append(int(entry))
    return found


def send(pid, number):
    """Sends a signal. Whether the process was still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def free_ports(count):
    """Free ports below those that the system hands out to connections that leave this machine."""
    found = []
    for port in random.sample(range(20_000, 32_000), 4_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise ClusterError("no free ports")


class Cluster:
    """Three nodes: an etcd, a Patroni (the agent) and a PostgreSQL each."""

    def __init__(
        self,
        folder,
        *,
        base_port=0,
        ttl=20,
        loop_wait=5,
        retry_timeout=5,
        strict=False,
        synchronous=True,
    ):
        """`base_port` 0 means any free ports, another number that one and the eleven after it.

        `ttl` is how long a primary that says nothing stays the primary. Patroni 4.1 takes no `ttl`
        below 20 s, no `loop_wait` below 1 s, no `retry_timeout` below 3 s, and wants
        loop_wait + 2 * retry_timeout <= ttl.

        `strict` is `synchronous_mode_strict`. With `synchronous_mode` alone, a primary without any
        standby goes on alone: what it acknowledges then has one copy, until a standby is back. In
        strict mode it waits instead, and nothing is acknowledged that has no second copy.

        Not `synchronous` is for a test of the test: acknowledged writes get lost.
        """
        self.folder = pathlib.Path(folder).resolve()
        self.base_port = base_port
        self.strict = strict
        self.synchronous = synchronous
        self.times = {"ttl": ttl, "loop_wait": loop_wait, "retry_timeout": retry_timeout}
        # Children of this process, which it has to reap.
        self.processes = {}
        self.state = None
        self.bin = None
        # When the last fault was done.
        self.struck_at = None

    # Start and stop.

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop(at_once=True)
            raise
        return self

    def __exit__(self, *_):
        self.stop(at_once=True)

    def start(self, seconds=120):
        """Starts everything, and returns when all standbys follow the primary."""
        install(self.folder)
        self.bin = postgres_programs()
        self.load()
        if self.state is None:
            self.prepare()
        atexit.register(self.stop, at_once=True)
        for node in NODES:
            self.start_etcd(node)
        until("etcd has a leader", 30, self.etcd_is_healthy)
        for node in NODES:
            self.start_agent(node)
        self.wait_for_primary(timeout=seconds)
        self.make_database()
        self.wait_for_standbys(timeout=seconds)
        # A new cluster is made with short waits, which saves half a minute.
        self.set(loop_wait=self.times["loop_wait"], synchronous_mode_strict=self.strict)
        time.sleep(1.5)

    def clear(self):
        """Removes the data of an earlier run, and ends what it may have left. The programs stay."""
        self.stop(at_once=True)
        for node in NODES:
            shutil.rmtree(self.folder / node, ignore_errors=True)
        (self.folder / "cluster.json").unlink(missing_ok=True)
        self.state = None

    def keep(self):
        """Lets the cluster outlive this process, for the command `start`."""
        atexit.unregister(self.stop)

    def prepare(self):
        ports = free_ports(12)
        if self.base_port:
            ports = list(range(self.base_port, self.base_port + 12))
        self.state = {
            "password": secrets.token_hex(16),
            "nodes": {
                node: {
                    "postgres": ports[i],
                    "agent": ports[3 + i],
                    "etcd": ports[6 + i],
                    "peer": ports[9 + i],
                    "pids": {},
                }
                for i, node in enumerate(NODES)
            },
        }
        for node in NODES:
            for path in (self.folder / node, self.folder / node / "log"):
                path.mkdir(mode=0o700)
                own(path)
            self.write_private(self.folder / node / "patroni.json", self.agent_settings(node))
        self.save()

    def load(self):
        path = self.folder / "cluster.json"
        if self.state is None and path.exists():
            self.state = json.loads(path.read_text())

    def save(self):
        self.write_private(self.folder / "cluster.json", self.state)

    def write_private(self, path, value):
        """Passwords are in these files."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(value, indent=1))
        own(path)

    def start_etcd(self, node):
        mine = self.state["nodes"][node]
        self.spawn(
            node,
            "etcd",
            [
                self.folder / "etcd/usr/bin/etcd",
                "--name",
                node,
                "--data-dir",
                self.folder / node / "etcd",
                "--listen-client-urls",
                f"http://127.0.0.1:{mine['etcd']}",
                "--advertise-client-urls",
                f"http://127.0.0.1:{mine['etcd']}",
                "--listen-peer-urls",
                f"http://127.0.0.1:{mine['peer']}",
                "--initial-advertise-peer-urls",
                f"http://127.0.0.1:{mine['peer']}",
                "--initial-cluster",
                ",".join(
                    f"{name}=http://127.0.0.1:{other['peer']}"
                    for name, other in self.state["nodes"].items()
                ),
                # Not so eager as by default to elect another leader: a busy machine is not a lost
                # node, and an election makes every lease, and so the failover, last longer.
                "--heartbeat-interval",
                "250",
                "--election-timeout",
                "2500",
            ],
        )

    def etcd_is_healthy(self):
        def healthy(node):
            status, body = self.ask(node, "GET", "/health", port="etcd")
            return status == 200 and body.get("health") == "true"

        return all(map(healthy, NODES))

    def agent_settings(self, node):
        mine, password = self.state["nodes"][node], self.state["password"]
        return {
            "scope": "failover",
            "name": node,
            "etcd3": {"hosts": [f"127.0.0.1:{n['etcd']}" for n in self.state["nodes"].values()]},
            "restapi": {
                "listen": f"127.0.0.1:{mine['agent']}",
                "connect_address": f"127.0.0.1:{mine['agent']}",
                "authentication": {"username": "lab", "password": password},
            },
            "ctl": {"authentication": {"username": "lab", "password": password}},
            "bootstrap": {
                "dcs": {
                    **self.times,
                    "loop_wait": 1,
                    # Only a standby that has all that was acknowledged may become the primary.
                    "synchronous_mode": self.synchronous,
                    "synchronous_mode_strict": False,
                    "maximum_lag_on_failover": 1 << 20,
                    # A primary that crashes is replaced at once, instead of being restarted for up
                    # to five minutes: the harder case for its clients.
                    "primary_start_timeout": 0,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "use_slots": True,
                        "parameters": {
                            "wal_log_hints": "on",
                            "max_connections": 100,
                            "max_wal_senders": 10,
                            "max_replication_slots": 10,
                            # A former primary finds here what it needs to follow the new one.
                            "wal_keep_size": "256MB",
                        },
                    },
                },
                "initdb": [
                    "data-checksums",
                    {"encoding": "UTF8"},
                    {"locale": "C"},
                    {"auth": "scram-sha-256"},
                ],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{mine['postgres']}",
                "connect_address": f"127.0.0.1:{mine['postgres']}",
                "data_dir": str(self.data(node)),
                "bin_dir": str(self.bin),
                "pgpass": str(self.folder / node / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": password},
                    "replication": {"username": "replicator", "password": password},
                    "rewind": {"username": "rewinder", "password": password},
                },
                "pg_hba": [
                    "host replication replicator 127.0.0.1/32 scram-sha-256",
                    "host all all 127.0.0.1/32 scram-sha-256",
                ],
                "basebackup": [{"checkpoint": "fast"}],
                # A former primary that cannot be turned into a standby becomes a new copy. Without
                # this, somebody has to look at it.
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
                "parameters": {
                    "shared_buffers": "32MB",
                    "fsync": "on",
                    "synchronous_commit": "on",
                    # Paths of sockets are limited to 107 bytes, and the folder is not ours to
                    # choose.
                    "unix_socket_directories": "",
                    # A node that does not answer is noticed in the time of a loop.
                    "wal_sender_timeout": "5s",
                    "wal_receiver_timeout": "5s",
                    "logging_collector": "on",
                    "log_directory": str(self.folder / node / "log"),
                    "log_filename": "postgresql.log",
                    "log_line_prefix": "%m [%p] %q%u ",
                },
            },
            # In production a watchdog restarts a machine whose agent hangs. This one has no device,
            # and the test freezes agents on purpose: it shall not restart the machine of who runs
            # it.
            "watchdog": {"mode": "off"},
        }

    def start_agent(self, node):
        self.spawn(
            node,
            "agent",
            [
                self.folder / "venv/bin/python",
                "-m",
                "patroni",
                self.folder / node / "patroni.json",
            ],
        )

    def spawn(self, node, kind, command):
        with open(self.folder / node / "log" / f"{kind}.log", "ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder / node,
                env={**ENVIRONMENT, "ETCD_UNSUPPORTED_ARCH": "arm64"},
                # An interrupt at the terminal goes to this program, which stops them in order.
                start_new_session=True,
                **account(),
            )
        self.processes[node, kind] = process
        self.state["nodes"][node]["pids"][kind] = [process.pid, started_at(process.pid)]
        self.save()

    def make_database(self):
        if self.sql("SELECT 1 FROM pg_roles WHERE rolname = 'accounts'"):
            return
        self.sql(f"CREATE ROLE accounts LOGIN PASSWORD '{self.state['password']}'")
        self.sql(f"CREATE DATABASE {DATABASE} OWNER accounts")

    def stop(self, at_once=False):
        """Stops what was started. `at_once` is for a cluster that nobody needs any more."""
        atexit.unregister(self.stop)
        self.load()
        if self.state is None:
            return
        for node in NODES:
            self.thaw(node)
            self.resume(node)
        if at_once:
            for node in NODES:
                self.end(node, "agent", signal.SIGKILL)
        else:
            for node in NODES:
                self.end(node, "agent", signal.SIGTERM, wait=False)
            with contextlib.suppress(ClusterError):
                until("agents end", 20, lambda: not any(self.pid(n, "agent") for n in NODES))
            for node in NODES:
                self.end(node, "agent", signal.SIGKILL)
        # Agents have stopped their PostgreSQL, unless they had no time for it.
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for node in NODES:
                if self.postmaster(node):
                    send(self.postmaster(node), number)
            with contextlib.suppress(ClusterError):
                until("PostgreSQL ends", 10, lambda: not any(map(self.postmaster, NODES)))
                break
        for node in NODES:
            self.end(node, "etcd", signal.SIGKILL if at_once else signal.SIGTERM)

    def end(self, node, kind, number, wait=True):
        pid = self.pid(node, kind)
        if pid is None:
            return
        send(pid, number)
        if wait:
            try:
                until("it ends", 10, lambda: self.pid(node, kind) is None, pause=0.02)
            except ClusterError:
                send(pid, signal.SIGKILL)

    # Who is who.

    def data(self, node):
        return self.folder / node / "data"

    def pid(self, node, kind):
        """The id of a process that was started here, while it runs."""
        process = self.processes.get((node, kind))
        if process:
            process.poll()
        noted = self.state["nodes"][node]["pids"].get(kind)
        return noted[0] if noted and started_at(noted[0]) == noted[1] else None

    def postmaster(self, node):
        """The first process of a node's PostgreSQL, while it runs."""
        try:
            pid = int((self.data(node) / "postmaster.pid").read_text().split("\n")[0])
            # The file may be an old one, and its id another process by now.
            mine = os.readlink(f"/proc/{pid}/cwd") == str(self.data(node))
        except (OSError, ValueError):
            return None
        return pid if mine and started_at(pid) else None

    def ask(self, node, method, path, body=None, port="agent", timeout=2):
        """Status and answer of a node's agent or etcd; status 0 without an answer."""
        credentials = base64.b64encode(f"lab:{self.state['password']}".encode()).decode()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.state["nodes"][node][port], timeout=timeout
        )
        try:
            headers = {"Authorization": f"Basic {credentials}"} if port == "agent" else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, {}
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {"text": text}

    def ask_all(self, path, timeout=2):
        """The answers of all agents, asked at once: a frozen one costs its timeout."""
        with concurrent.futures.ThreadPoolExecutor(len(NODES)) as pool:
            answers = pool.map(lambda n: self.ask(n, "GET", path, timeout=timeout), NODES)
            return dict(zip(NODES, answers))

    def primary(self):
        """The node that has the leader's lock and takes writes. Frozen agents say nothing."""
        answers = self.ask_all("/primary", timeout=1.5)
        return next((node for node, (status, _) in answers.items() if status == 200), None)

    def members(self):
        """What the agents know of all nodes: role and state by name."""
        for status, body in self.ask_all("/cluster").values():
            if status == 200 and any(m.get("role") == "leader" for m in body.get("members", [])):
                return {m["name"]: m for m in body["members"]}
        return {}

    def standbys(self):
        return [node for node in NODES if node != self.primary()]

    def wait_for_primary(self, not_this_one=None, timeout=60):
        def another():
            node = self.primary()
            return node if node != not_this_one else None

        return until("there is a primary", timeout, another)

    def wait_for_standbys(self, timeout=60):
        """Waits until all nodes follow one primary, one of them synchronously."""

        def complete():
            members = self.members().values()
            # A former primary that its agent has not looked at yet is still called "running".
            following = [m for m in members if m["role"] == "leader" or m["state"] == "streaming"]
            same = len({m.get("timeline") for m in following}) == 1
            roles = [m["role"] for m in following]
            safe = "sync_standby" in roles or not self.synchronous
            return same and safe and len(roles) == len(NODES)

        def streaming():
            # What the agents know can be as old as a loop. PostgreSQL knows it at once.
            primary = self.primary()
            if primary is None:
                return None
            with contextlib.suppress(ClusterError):
                states = self.sql("SELECT state, sync_state FROM pg_stat_replication", primary)
                if len(states) == len(NODES) - 1 and all(s.startswith("streaming") for s in states):
                    if "streaming|sync" in states or not self.synchronous:
                        return primary
            return None

        return until("all standbys follow", timeout, lambda: complete() and streaming(), pause=0.3)

    def calm(self, timeout=90):
        """Waits as `wait_for_standbys`; agents look more often meanwhile, which saves time."""
        self.set(loop_wait=1)
        primary = self.wait_for_standbys(timeout)
        self.set(loop_wait=self.times["loop_wait"])
        # The agents read the setting in their next loops.
        time.sleep(1.5)
        return primary

    def port(self, node):
        return self.state["nodes"][node]["postgres"]

    def urls(self, ports=None):
        """The URL of the database with all hosts. Other `ports` are those of a proxy per node."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or map(self.port, NODES))
        return (
            f"postgresql://accounts:{self.state['password']}@{hosts}/{DATABASE}"
            "?target_session_attrs=read-write"
        )

    def sql(self, statement, node=None, database="postgres", seconds=20):
        """Runs a statement as superuser, on the primary by default. Returns the lines it gives."""
        node = node or self.wait_for_primary()
        environment = {
            **ENVIRONMENT,
            "PGPASSWORD": self.state["password"],
            "PGCONNECT_TIMEOUT": "5",
        }
        try:
            text = run(
                [
                    self.bin / "psql",
                    "-XAtq",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    self.port(node),
                    "-U",
                    "postgres",
                    "-d",
                    database,
                    "-c",
                    statement,
                ],
                env=environment,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{node} did not answer within {seconds} s") from None
        return text.splitlines()

    # Settings and switchover.

    def set(self, **settings):
        """Changes settings of Patroni while it runs, such as synchronous_mode_strict."""

        def accepted():
            return any(
                self.ask(node, "PATCH", "/config", settings, timeout=5)[0] == 200 for node in NODES
            )

        until("settings are changed", 20, accepted)

    def switchover(self, to=None, timeout=60):
        """Makes the synchronous standby the primary, without a loss. Returns its name."""
        leader = self.wait_for_primary()
        end = time.monotonic() + timeout
        while True:
            roles = {name: member["role"] for name, member in self.members().items()}
            candidates = sorted(roles, key=lambda name: roles[name] != "sync_standby")
            candidate = to or next((name for name in candidates if name != leader), None)
            self.struck_at = time.monotonic()
            status, answer = self.ask(
                leader,
                "POST",
                "/switchover",
                {"leader": leader, "candidate": candidate},
                timeout=timeout,
            )
            if status in (200, 202):
                break
            # 412: this one is not synchronous yet, or not any more.
            if status != 412 or time.monotonic() > end:
                raise ClusterError(f"switchover from {leader} to {candidate}: {status} {answer}")
            time.sleep(0.5)
        until(f"{candidate} is the primary", timeout, lambda: self.primary() == candidate)
        return candidate

    # Faults.

    def processes_of_postgres(self, node):
        """The first process, stopped so that it starts no others, and then its children."""
        pid = self.postmaster(node)
        if pid is None:
            return []
        send(pid, signal.SIGSTOP)
        return [pid, *children_of(pid)]

    def kill_postgres(self, node):
        """Kills all processes of a PostgreSQL, as the kernel does when memory runs out."""
        for pid in self.processes_of_postgres(node):
            send(pid, signal.SIGKILL)

    def pause(self, node):
        """Stops all processes of a PostgreSQL: connections stay open, and nothing answers."""
        for pid in self.processes_of_postgres(node):
            send(pid, signal.SIGSTOP)

    def resume(self, node):
        pid = self.postmaster(node)
        if pid:
            # The first process is the last to go on: it would take its children for dead.
            for process in [*children_of(pid), pid]:
                send(process, signal.SIGCONT)

    def freeze_agent(self, node):
        """Stops Patroni alone: nobody demotes this PostgreSQL any more."""
        if self.pid(node, "agent"):
            send(self.pid(node, "agent"), signal.SIGSTOP)

    def thaw(self, node):
        if self.pid(node, "agent"):
            send(self.pid(node, "agent"), signal.SIGCONT)

    def isolate(self, node):
        """Makes a node unreachable: it accepts connections and never answers."""
        self.freeze_agent(node)
        self.pause(node)

    def rejoin(self, node):
        self.resume(node)
        self.thaw(node)

    def kill_node(self, node):
        """Kills agent and PostgreSQL, as when a machine is lost."""
        self.end(node, "agent", signal.SIGKILL)
        self.kill_postgres(node)

    def restart_node(self, node):
        self.start_agent(node)

    def perform(self, fault, recovered, look=lambda node: None):
        """Does a fault to the primary, and undoes it. Returns what `look` returned.

        `recovered` has to wait until clients are served again. `look` gets the former primary while
        there are two of them, or while there are no standbys.
        """
        old = self.wait_for_standbys()
        seen = None
        if fault == "standbys":
            self.set(synchronous_mode_strict=True)
        self.struck_at = time.monotonic()
        if fault == "kill":
            before = self.postmaster(old)
            self.kill_postgres(old)
            # Another node is the primary, or the agent has started this one again.
            until(
                "the agent notices",
                60,
                lambda: (
                    self.primary() not in (None, old)
                    or (self.postmaster(old) not in (None, before) and self.primary() == old)
                ),
            )
            recovered()
        elif fault == "node":
            self.kill_node(old)
            self.wait_for_primary(not_this_one=old)
            recovered()
            self.restart_node(old)
        elif fault == "switchover":
            self.switchover()
        elif fault == "pause":
            self.pause(old)
            self.wait_for_primary(not_this_one=old)
            recovered()
            self.resume(old)
        elif fault == "freeze":
            self.freeze_agent(old)
            self.wait_for_primary(not_this_one=old)
            recovered()
            seen = look(old)
            self.thaw(old)
        elif fault == "freeze and pause":
            self.freeze_agent(old)
            self.pause(old)
            self.wait_for_primary(not_this_one=old)
            recovered()
            # The old primary goes on before its agent does.
            self.resume(old)
            seen = look(old)
            self.thaw(old)
        elif fault == "standbys":
            standbys = [node for node in NODES if node != old]
            for node in standbys:
                self.isolate(node)
            seen = look(old)
            for node in standbys:
                self.rejoin(node)
            recovered()
            self.set(synchronous_mode_strict=self.strict)
        else:
            raise ClusterError(f"{fault} is none of {', '.join(FAULTS)}")
        return seen

    def cancel_waits(self, node):
        """Cancels commits that wait for a standby, as an administrator may do. Their number.

        PostgreSQL reports such a commit as success, with a warning.
        """
        lines = self.sql(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", node
        )
        return lines.count("t")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "start", "status", "switchover", "stop"):
        command = commands.add_parser(name)
        command.add_argument("folder")
        if name == "start":
            command.add_argument("--base-port", type=int, default=0, help="0: any free ports")
            command.add_argument("--ttl", type=int, default=20)
            command.add_argument("--loop-wait", type=int, default=5)
            command.add_argument("--retry-timeout", type=int, default=5)
            command.add_argument("--strict", action="store_true", help="synchronous_mode_strict")
        if name == "switchover":
            command.add_argument("node", nargs="?")
    options = vars(parser.parse_args())
    command, node = options.pop("command"), options.pop("node", None)
    if command == "install":
        install(options["folder"])
        return
    cluster = Cluster(**options)
    if command == "start":
        with contextlib.ExitStack() as stack:
            stack.callback(cluster.stop, at_once=True)
            cluster.start()
            stack.pop_all()
        cluster.keep()
        print(cluster.urls())
        return
    cluster.load()
    cluster.bin = postgres_programs()
    if cluster.state is None:
        sys.exit(f"there is no cluster in {cluster.folder}")
    if command == "stop":
        cluster.stop()
    elif command == "switchover":
        print(cluster.switchover(node))
    else:
        members = cluster.members()
        for name in NODES:
            member = members.get(name, {})
            print(
                name,
                cluster.port(name),
                member.get("role", "unknown"),
                member.get("state", "unknown"),
            )
        print(cluster.urls())
        sys.exit(0 if cluster.primary() else 1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except ClusterError as error:
        sys.exit(f"cluster.py: {error}")
