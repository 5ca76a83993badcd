#!/usr/bin/env python3
"""Shows what accounts-servers do while the primary of their PostgreSQL fails.

    run.py PROGRAM DIR                     a cluster below DIR, two servers, and all faults
    run.py PROGRAM DIR --faults kill,…     some of the faults; `proxy` is one of them
    run.py PROGRAM DIR --no-faults --db X  one server on this database, to test the test

Writers of every kind go on all the time, on the servers in turn. After each fault they rest, and
every server is asked for what was acknowledged, and for what must not be accepted any more. It
prints a table and writes DIR/result.json. The exit status is 1 when anything is lost, stale,
reused, revived, repeated or unexpected. It takes five to six minutes.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import re
import secrets
import signal
import sys
import time

import cluster as failover
from api import Mailbox, Server, totp
from proxy import Proxy
from writers import (
    Lab,
    Person,
    Prober,
    Requests,
    all_writers,
    check_events,
    check_mails,
)

KINDS = ("lost", "stale", "reused", "revived", "repeated", "unexpected")


@dataclasses.dataclass
class Phase:
    """What was measured while one fault happened."""

    name: str
    # The longest time without an acknowledged write, by server and by any of them.
    outage: dict
    # From the fault to the end of that time.
    first: float | None
    goal: float | None
    acknowledged: int
    unknown: int
    violations: dict
    seconds: float
    # What these seconds went into.
    parts: dict
    seen: str


class Run:
    def __init__(self, options):
        self.options = options
        self.folder = options.folder
        self.secret = secrets.token_hex(32)
        self.mailbox = Mailbox()
        self.lab = None
        self.requests = None
        self.writers = []
        self.phases = []
        self.parts = {}
        # A failed node comes back while its fault is checked.
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.rejoining = None
        self.lost = []
        self.began = time.monotonic()

    def server(self, name, database):
        server = Server(
            name, self.options.program, database, self.folder, self.secret, self.options.argument
        )
        self.mailbox.folders.append(server.mails)
        return server

    def start(self, servers, stack):
        """Starts servers and writers. The first server makes the staff account before it starts."""
        self.lab = Lab(servers, self.mailbox)
        staff = self.lab.staff
        servers[0].command_line(
            "user",
            "create",
            staff.address,
            "--staff",
            "--password-stdin",
            stdin=f"{staff.password}\n",
        )
        for server in servers:
            stack.callback(server.stop)
            server.start()
        self.requests = Requests(self.lab)
        self.requests.sign_in(staff)
        stack.callback(self.end_threads)
        self.writers = all_writers(self.lab)
        for writer in self.writers:
            writer.prepare()
        self.threads = [*self.writers, *(Prober(self.lab, server) for server in servers)]
        for thread in self.threads:
            thread.start()
        self.wait_for_write()

    def end_threads(self):
        self.lab.stopped.set()
        with self.lab.moved:
            self.lab.moved.notify_all()
        for thread in getattr(self, "threads", []):
            thread.join(30)

    # Measuring.

    def wait_for_write(self, seconds=60):
        """Waits until every server has acknowledged a write that begins now."""
        since = time.monotonic()
        waiting = {server.name for server in self.lab.servers}
        while waiting and time.monotonic() < since + seconds:
            time.sleep(0.05)
            with self.lab.lock:
                recent = self.lab.acknowledged[-200:]
            waiting -= {server for started, _, server, _ in recent if started > since}
        for name in waiting:
            self.lab.violated("unexpected", f"server {name} acknowledges no write for {seconds} s")

    def outage(self, since, server=None):
        """The longest time without an acknowledged write, and when it was over."""
        with self.lab.lock:
            writes = list(self.lab.acknowledged)
        moments = sorted(
            ended for _, ended, name, _ in writes if ended > since and server in (None, name)
        )
        gaps = [(b - a, b - since) for a, b in zip([since, *moments], moments)]
        return max(gaps, default=(None, None))

    def phase(self, name, goal, act):
        """One fault, and the check after it. `act` returns when it was done, and what was seen."""
        lab = self.lab
        lab.phase = name
        before, known = dict(lab.outcomes), len(lab.violations)
        began = time.monotonic()
        self.parts = {}
        try:
            at, seen = act()
        except (failover.ClusterError, RuntimeError) as error:
            at, seen = None, f"not done: {error}"[:300]
            lab.violated("unexpected", f"{name}: {error}")
        self.wait_for_write()
        # Outages are measured before writers rest.
        gap, first = self.outage(at) if at else (None, None)
        if gap and gap < 1:
            # A pause as at any other time.
            first = gap
        gaps = {s.name: self.outage(at, s.name)[0] if at else None for s in lab.servers}
        gaps["any"] = gap
        self.check()
        if self.rejoining:
            try:
                self.rejoining.result()
            except failover.ClusterError as error:
                lab.violated("unexpected", f"after {name}: {error}")
            self.rejoining = None
        if goal and first and first > goal:
            lab.note(f"first write {first:.1f} s after {name}, the goal is {goal:g} s")
        new = lab.violations[known:]
        self.phases.append(
            Phase(
                name,
                gaps,
                first,
                goal,
                lab.outcomes["acknowledged"] - before.get("acknowledged", 0),
                lab.outcomes["unknown"] - before.get("unknown", 0),
                {kind: sum(v["kind"] == kind for v in new) for kind in KINDS},
                time.monotonic() - began,
                self.parts,
                seen or "",
            )
        )
        self.show(self.phases[-1])

    def check(self):
        """Asks all servers for everything, while the writers rest."""
        began = time.monotonic()
        with self.lab.rest():
            resting = time.monotonic()
            self.parts["until all rest"] = resting - began
            for server in self.lab.servers:
                self.wait_for_readiness(server)
            for writer in self.writers:
                try:
                    writer.check(self.requests)
                except Exception as error:  # A check that fails is a finding, and others follow it.
                    self.lab.violated("unexpected", f"check of {writer.name}: {error!r}")
            self.parts["check"] = time.monotonic() - resting

    def wait_for_readiness(self, server, seconds=20):
        end = time.monotonic() + seconds
        while not (answer := self.requests.get(server, "/readyz")).acknowledged:
            if time.monotonic() > end:
                self.lab.violated("unexpected", f"not ready after {seconds} s: {answer}")
                return
            time.sleep(0.2)

    def show(self, phase):
        if len(self.phases) == 1:
            servers = "".join(f" {'out ' + s.name:>6}" for s in self.lab.servers)
            print(
                f"{'fault':17} {'out':>6}{servers} {'first':>6} {'goal':>5} "
                f"{'acked':>6} {'unknown':>7} "
                + " ".join(f"{kind[:8]:>8}" for kind in KINDS)
                + f" {'took':>5}  seen"
            )

        def seconds(value):
            return "-" if value is None else f"{value:.1f}"

        print(
            f"{phase.name:17} {seconds(phase.outage['any']):>6}"
            + "".join(f" {seconds(phase.outage[s.name]):>6}" for s in self.lab.servers)
            + f" {seconds(phase.first):>6} {seconds(phase.goal):>5} {phase.acknowledged:6} "
            f"{phase.unknown:7} "
            + " ".join(f"{phase.violations[kind]:8}" for kind in KINDS)
            + f" {phase.seconds:4.0f}s  {phase.seen}",
            flush=True,
        )

    # Phases.

    def steady(self):
        began = time.monotonic()
        time.sleep(self.options.seconds)
        gap, _ = self.outage(began)
        return None, f"longest pause between two acknowledged writes {gap:.2f} s"

    def fault(self, cluster, name):
        def look(old):
            """While there are two primaries, or no standby."""
            if name != "standbys":
                # Ended sessions are shown to both servers all the time.
                before = dict(self.lab.probes)
                time.sleep(6)
                return self.probes_since(before)
            # Commits of the last moment may have reached a standby before.
            time.sleep(1)
            since, cancelled = time.monotonic(), 0
            for _ in range(8):
                time.sleep(1)
                with contextlib.suppress(failover.ClusterError):
                    cancelled += cluster.cancel_waits(old)
            with self.lab.lock:
                wrong = [w for w in self.lab.acknowledged if w[0] > since]
            for _, _, server, kind in wrong:
                self.lab.violated("lost", f"{kind} is acknowledged by {server} without a standby")
            return f"acknowledged without standbys: {len(wrong)}, cancelled waits: {cancelled}"

        began = time.monotonic()
        seen = cluster.perform(name, self.wait_for_write, look)
        self.parts["fault"] = time.monotonic() - began
        self.rejoining = self.pool.submit(cluster.calm)
        return cluster.struck_at, seen

    def probes_since(self, before):
        now = self.lab.probes
        counts = {
            kind: now[kind] - before.get(kind, 0) for kind in ("accepted", "refused", "unknown")
        }
        return "ended sessions: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())

    def lost_answers(self, cluster, stack):
        """Operations whose commits are not answered, on a server of their own behind the proxy."""
        targets = [("127.0.0.1", cluster.port(node)) for node in failover.NODES]
        proxy = stack.enter_context(Proxy(targets))
        server = self.server("c", cluster.urls(proxy.ports))
        stack.callback(server.stop)
        server.start()
        test = LostAnswers(self, server, proxy)
        with self.lab.rest():
            test.run()
        server.stop()
        self.lost = test.done
        return None, test.summary()

    def finish(self):
        """Counts events and mails of all accounts, when nothing happens any more."""
        lab = self.lab
        lab.phase = "final"
        known = len(lab.violations)
        with lab.rest():
            late = self.wait_for_mails(20)
            try:
                check_events(lab, self.requests, lab.people)
                for writer in self.writers:
                    writer.finish(self.requests)
            except Exception as error:
                lab.violated("unexpected", f"the last check: {error!r}")
            if late:
                lab.notes["mails still in the queue at the end"] += late
                # They are not lost; counting them would say so.
            else:
                check_mails(lab, lab.people, self.mailbox)
        twice = self.mailbox.twice()
        if twice:
            lab.notes["mails that were delivered twice, as the same mail"] += twice
        new = lab.violations[known:]
        print(
            "events and mails: "
            + ", ".join(f"{sum(v['kind'] == kind for v in new)} {kind}" for kind in KINDS)
        )

    def wait_for_mails(self, seconds):
        """Waits until the queue is empty. How many mails are left."""
        end = time.monotonic() + seconds
        while True:
            answer = self.requests.as_staff("GET", "mails/?state=waiting")
            sending = self.requests.as_staff("GET", "mails/?state=sending")
            left = answer.body["count"] + sending.body["count"]
            if left == 0 or time.monotonic() > end:
                return left
            time.sleep(0.2)

    def result(self, cluster):
        lab = self.lab
        total = {kind: sum(v["kind"] == kind for v in lab.violations) for kind in KINDS}
        record = {
            "program": str(self.options.program),
            "times": cluster.times if cluster else None,
            "seconds": round(time.monotonic() - self.began, 1),
            "phases": [dataclasses.asdict(phase) for phase in self.phases],
            "outcomes": lab.outcomes,
            "probes_of_ended_sessions": lab.probes,
            "accounts": len(lab.people),
            "slowest_mail_of_a_sign_up": round(lab.slowest_mail, 1),
            "total": total,
            "notes": lab.notes,
            "lost_answers": self.lost,
            "violations": lab.violations[:500],
        }
        path = self.folder / "result.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"requests: {dict(lab.outcomes)}")
        print(f"ended sessions shown: {dict(lab.probes)}")
        print(f"slowest mail of an acknowledged sign-up: {lab.slowest_mail:.1f} s")
        for note, count in lab.notes.items():
            print(f"note: {count} {note}")
        for violation in lab.violations[:20]:
            print(f"{violation['kind']} ({violation['phase']}): {violation['what']}")
        if len(lab.violations) > 20:
            print(f"and {len(lab.violations) - 20} more in {path}")
        print(", ".join(f"{kind} {count}" for kind, count in total.items()))
        print(f"{record['seconds']:.0f} s, {path}")
        return sum(total.values()) == 0


class LostAnswers:
    """Each kind of operation once, while the answer to its commit is lost."""

    # When, how many, and of which transactions: `None` is those of --only. The second round loses
    # answers of every transaction, so that of a repetition as well.
    ROUNDS = (("after", 1, None), ("after", 3, ""), ("before", 1, None))

    def __init__(self, run, server, proxy):
        self.lab = run.lab
        self.mailbox = run.mailbox
        self.only = run.options.only
        self.server = server
        self.proxy = proxy
        self.requests = Requests(run.lab)
        self.done = []

    def run(self):
        operations = (
            self.sign_up,
            self.confirm,
            self.profile,
            self.sign_in,
            self.refresh,
            self.password,
            self.reset,
            self.reset_confirm,
            self.sign_out,
            self.deactivate,
            self.recovery_code,
        )
        for round_number, (when, times, pattern) in enumerate(self.ROUNDS):
            only = self.only if pattern is None else pattern
            for operation in operations:
                name = operation.__name__
                address = f"lost-{name.replace('_', '-')}-{round_number}@example.com"
                try:
                    self.one(operation, address, when, times, only)
                except Exception as error:
                    self.lab.violated("unexpected", f"{name} with a lost answer: {error!r}")
                finally:
                    self.proxy.spare()

    def one(self, operation, address, when, times, only):
        """`operation` prepares it, yields the request, and looks at what came of its answer."""
        work = operation(address)
        person, event, request = next(work)
        known = len(self.proxy.cuts)
        self.proxy.cut(times, when=when, only=only)
        answer = request()
        self.proxy.spare()
        cuts = self.proxy.cuts[known:]
        # The mail queue may be hit as well, where every transaction is.
        own = [c for c in cuts if any(re.search(self.only, s, re.I) for s in c.statements)]
        self.done.append(
            {
                "operation": operation.__name__,
                "when": when,
                "times": times,
                "status": answer.status,
                "hit": bool(own),
                "seconds": round(answer.ended - answer.started, 2),
                # The transactions whose answers were lost: they have to be those of the operation.
                "cuts": [[sql[:100] for sql in cut.statements] for cut in cuts],
            }
        )
        if answer.refused:
            # It does not know its own work again.
            self.lab.violated("unexpected", f"{operation.__name__}, lost {when} commit: {answer}")
        if answer.unknown and when == "after" and own and event:
            # It was committed, whatever the answer says.
            self.requests.settle(person, event, True)
        with_answer = work.send(answer)
        if with_answer is False:
            self.lab.violated("lost", f"{operation.__name__}, lost {when} commit: {answer}")
        if person.id is None:
            found = self.requests.as_staff("GET", f"users/?search={person.address}").body["results"]
            person.id = found[0]["id"] if found else None
        if person.id is not None:
            check_events(self.lab, self.requests, [person])
            if person not in self.lab.people:
                self.lab.people.append(person)

    def write(self, *arguments, **more):
        return self.requests.write(*arguments, server=self.server, **more)

    def sign_up(self, address):
        person = Person(address, "difference-Engine-2")
        body = {"email": address, "password": person.password, "confirm_password": person.password}
        yield (
            person,
            "sign_up",
            lambda: self.write("sign_up", person, "sign_up", "POST", "users/", body),
        )
        yield True

    def confirm(self, address):
        person = Person(address, "difference-Engine-2")
        body = {"email": address, "password": person.password, "confirm_password": person.password}
        self.requests.write("sign_up", person, "sign_up", "POST", "users/", body)
        mail = self.mailbox.wait(address, "sign_up", 20)
        yield (
            person,
            "sign_up_confirmed",
            lambda: self.write(
                "confirm",
                person,
                "sign_up_confirmed",
                "POST",
                "otp/verify/",
                {"email": address, "otp": mail.code},
            ),
        )
        again = self.requests.sign_in(person)
        yield again.acknowledged

    def profile(self, address):
        person = self.requests.new_person(address)
        answer = yield (
            person,
            "profile_changed",
            lambda: self.write(
                "profile",
                person,
                "profile_changed",
                "PATCH",
                "users/me/",
                {"first_name": "Ada"},
                person.access,
            ),
        )
        read = self.requests.get(self.lab.servers[0], "users/me/", person.access)
        yield read.body["first_name"] == "Ada" or not answer.acknowledged

    def sign_in(self, address):
        person = self.requests.new_person(address)
        answer = yield (
            person,
            "sign_in",
            lambda: self.write(
                "sign_in",
                person,
                "sign_in",
                "POST",
                "token/",
                {"email": address, "password": person.password},
            ),
        )
        if answer.acknowledged:
            read = self.requests.get(self.lab.servers[0], "users/me/", answer.body["access"])
            yield read.acknowledged
        yield True

    def refresh(self, address):
        person = self.requests.new_person(address)
        old = person.refresh
        answer = yield (
            person,
            None,
            lambda: self.write("refresh", person, None, "POST", "token/refresh/", {"refresh": old}),
        )
        # Within the grace, an unknown one may be repeated.
        token = answer.body["refresh"] if answer.acknowledged else old
        again = self.requests.write(
            "refresh", person, None, "POST", "token/refresh/", {"refresh": token}
        )
        yield again.acknowledged

    def password(self, address):
        person = self.requests.new_person(address)
        new = "analytical-Engine-v2"
        answer = yield (
            person,
            "password_changed",
            lambda: self.write(
                "password",
                person,
                "password_changed",
                "POST",
                "password/change/",
                {"current_password": person.password, "password": new, "confirm_password": new},
                person.access,
            ),
        )
        yield not answer.acknowledged or self.requests.accepts(self.lab.servers[0], person, new)

    def reset(self, address):
        person = self.requests.new_person(address)
        yield (
            person,
            "password_reset_requested",
            lambda: self.write(
                "reset",
                person,
                "password_reset_requested",
                "POST",
                "password/reset/",
                {"email": address},
            ),
        )
        yield self.mailbox.wait(address, "password_reset", 20) is not None

    def reset_confirm(self, address):
        person = self.requests.new_person(address)
        self.requests.write(
            "reset",
            person,
            "password_reset_requested",
            "POST",
            "password/reset/",
            {"email": address},
        )
        mail = self.mailbox.wait(address, "password_reset", 20)
        new = "analytical-Engine-v2"
        body = {"email": address, "otp": mail.code, "password": new, "confirm_password": new}
        answer = yield (
            person,
            "password_reset",
            lambda: self.write(
                "reset_confirm", person, "password_reset", "POST", "password/reset/confirm/", body
            ),
        )
        yield not answer.acknowledged or self.requests.accepts(self.lab.servers[0], person, new)

    def sign_out(self, address):
        person = self.requests.new_person(address)
        answer = yield (
            person,
            "sign_out",
            lambda: self.write(
                "sign_out",
                person,
                "sign_out",
                "POST",
                "token/blacklist/",
                {"refresh": person.refresh},
            ),
        )
        if answer.acknowledged:
            self.requests.end(person)
        yield True

    def deactivate(self, address):
        person = self.requests.new_person(address)
        answer = yield (
            person,
            "user_deactivated",
            lambda: self.write(
                "deactivate",
                person,
                "user_deactivated",
                "PATCH",
                f"users/{person.id}/",
                {"is_active": False},
                self.lab.staff.access,
            ),
        )
        if answer.acknowledged:
            self.requests.end(person)
        yield True

    def recovery_code(self, address):
        person = self.requests.new_person(address)
        answer = self.requests.get(self.lab.servers[0], "mfa/totp/activate/", person.access)
        answer = self.requests.write(
            "factor",
            person,
            None,
            "POST",
            "mfa/totp/activate/",
            {
                "activation_token": answer.body["activation_token"],
                "code": totp(answer.body["secret"]),
            },
            person.access,
        )
        code = answer.body["recovery_codes"][0]
        body = {"email": address, "password": person.password, "code": code}
        answer = yield (
            person,
            "recovery_code_used",
            lambda: self.write(
                "recovery_code", person, "recovery_code_used", "POST", "token/", body
            ),
        )
        person.maybe["sign_in"] += 1
        if answer.acknowledged:
            again = self.requests.insist(
                lambda: self.requests.client.ask(self.lab.servers[0], "POST", "token/", body)
            )
            if again.acknowledged:
                self.lab.violated("reused", f"recovery code after a lost answer: {again}")
        yield True

    def summary(self):
        hit = [entry for entry in self.done if entry["hit"]]
        acknowledged = sum(200 <= entry["status"] < 300 for entry in hit)
        names = {entry["operation"] for entry in self.done}
        unhit = sorted(names - {entry["operation"] for entry in hit})
        text = (
            f"{len(hit)} of {len(self.done)} operations lost an answer, {acknowledged} acknowledged"
        )
        return text + (f"; never hit: {', '.join(unhit)}" if unhit else "")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="Arguments after -- go to the servers."
    )
    parser.add_argument("program", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("folder", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument(
        "--faults",
        default=",".join((*failover.FAULTS, "proxy")),
        help="comma-separated, in this order",
    )
    parser.add_argument("--no-faults", action="store_true", help="no cluster; wants --db")
    parser.add_argument(
        "--asynchronous",
        action="store_true",
        help="a cluster that loses acknowledged writes, to see that this test notices it",
    )
    parser.add_argument("--db", help="one server on this database instead, which sees no fault")
    parser.add_argument("--seconds", type=float, default=5, help="of the phase without a fault")
    parser.add_argument(
        "--limit", type=int, default=540, help="seconds after which the run is ended"
    )
    parser.add_argument("--ttl", type=int, default=20)
    parser.add_argument("--loop-wait", type=int, default=5)
    parser.add_argument("--retry-timeout", type=int, default=5)
    # All these operations write an entry of the audit log; a refresh does not. Transactions of the
    # mail queue and the scheduled work do neither.
    parser.add_argument(
        "--only",
        default=r"(INSERT INTO|UPDATE) (events|refresh_tokens)\b",
        help="pattern of statements: the proxy loses answers of transactions with one of these",
    )
    given = sys.argv[1:]
    own, more = (
        (given[: given.index("--")], given[given.index("--") + 1 :])
        if "--" in given
        else (given, [])
    )
    options = parser.parse_args(own)
    options.argument = more
    return options


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda *_: sys.exit("run.py: ended before it was done"))
    signal.alarm(options.limit)
    options.folder.mkdir(parents=True, exist_ok=True)
    run = Run(options)
    cluster = None
    with contextlib.ExitStack() as stack:
        if options.no_faults:
            run.start([run.server("a", options.db)], stack)
            run.phase("none", None, run.steady)
        else:
            cluster = failover.Cluster(
                options.folder,
                ttl=options.ttl,
                loop_wait=options.loop_wait,
                retry_timeout=options.retry_timeout,
                synchronous=not options.asynchronous,
            )
            cluster.clear()
            stack.enter_context(cluster)
            names = ("a",) if options.db else ("a", "b")
            run.start([run.server(name, options.db or cluster.urls()) for name in names], stack)
            print(f"started after {time.monotonic() - run.began:.0f} s", flush=True)
            run.phase("none", None, run.steady)
            for name in filter(None, options.faults.split(",")):
                if name == "proxy":
                    run.phase(name, None, lambda: run.lost_answers(cluster, stack))
                    continue
                # A paused primary is given up a loop later: its agent still renews the lock once.
                slow = options.ttl + options.loop_wait + 5.0
                goal = {
                    "kill": options.ttl + 5.0,
                    "node": options.ttl + 5.0,
                    "switchover": 5.0,
                    "standbys": None,
                }.get(name, slow)
                run.phase(name, goal, lambda: run.fault(cluster, name))
        run.finish()
        right = run.result(cluster)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
