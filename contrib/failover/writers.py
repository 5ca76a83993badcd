"""Writers of every kind, what they note, and what has to hold afterwards, for run.py.

Each writer is a thread that sends its requests to the servers in turn. It notes what was
acknowledged and what is unknown, and it finds out what became of the unknown by asking again.
`check` is called while all writers rest. Each writer owns its accounts: nobody else changes them.
"""

import collections
import contextlib
import itertools
import queue
import random
import threading
import time

from api import TIMEOUT, Client, claims, totp

# Seconds in which a used refresh token may be used again: the default of [tokens].
GRACE = 10
# Longer than a failover takes.
PATIENCE = 90
# Events that happen once for each request that is acknowledged.
COUNTED = {
    "sign_up",
    "sign_up_confirmed",
    "sign_in",
    "profile_changed",
    "password_changed",
    "password_reset_requested",
    "password_reset",
    "recovery_code_used",
    "sign_out",
    "user_deactivated",
}


class Undecided(Exception):
    """No server gave an answer for long."""


class Person:
    """An account, and what is known about its events."""

    def __init__(self, address, password):
        self.address = address
        self.password = password
        self.id = None
        self.access = None
        self.refresh = None
        # By event: how many there have to be, and how many more there may be.
        self.sure = collections.Counter()
        self.maybe = collections.Counter()

    def signed_in(self, body):
        self.access, self.refresh = body["access"], body["refresh"]
        self.id = claims(self.access)["user_id"]


class Lab:
    """What all writers share: servers, mails, the record of all writes, and what went wrong."""

    def __init__(self, servers, mailbox):
        self.servers = servers
        self.mailbox = mailbox
        self.staff = Person("staff@example.com", "staff-Passw0rd")
        self.lock = threading.Lock()
        # (started, ended, server, kind) of acknowledged writes, and their number by outcome.
        self.acknowledged = []
        self.outcomes = collections.Counter()
        self.violations = []
        self.phase = "start"
        self.notes = collections.Counter()
        # Access and refresh tokens of ended sessions: nobody may accept them again.
        self.ended = collections.deque(maxlen=400)
        self.probes = collections.Counter()
        # Seconds from an acknowledged sign-up to its mail.
        self.slowest_mail = 0.0
        # Accounts that the staff may deactivate.
        self.victims = queue.Queue()
        # All accounts whose events are counted at the end.
        self.people = []
        self.stopped = threading.Event()
        self.moved = threading.Condition()
        self.resting = False
        self.busy = 0

    def violated(self, kind, what):
        """`kind` is lost, stale, reused, revived, repeated or unexpected."""
        with self.lock:
            self.violations.append({"kind": kind, "phase": self.phase, "what": what})

    def note(self, what):
        """Something that is allowed, and worth knowing."""
        with self.lock:
            self.notes[what] += 1

    def record(self, kind, answer):
        with self.lock:
            if answer.acknowledged:
                self.acknowledged.append((answer.started, answer.ended, answer.server, kind))
                self.outcomes["acknowledged"] += 1
            elif answer.unknown:
                self.outcomes["unknown"] += 1
                self.outcomes[f"status {answer.status or 'none'}"] += 1
                if answer.status == 500:
                    self.notes["answers 500 instead of 503"] += 1
            else:
                self.outcomes["refused"] += 1

    # Rest: between two steps of each writer.

    def enter(self):
        with self.moved:
            self.moved.wait_for(lambda: not self.resting or self.stopped.is_set())
            self.busy += 1

    def leave(self):
        with self.moved:
            self.busy -= 1
            self.moved.notify_all()

    @contextlib.contextmanager
    def rest(self, seconds=PATIENCE + TIMEOUT):
        """Lets all writers finish their steps, and wait."""
        with self.moved:
            self.resting = True
            if not self.moved.wait_for(lambda: self.busy == 0, seconds):
                self.violated("unexpected", f"{self.busy} writers are still busy after {seconds} s")
        try:
            yield
        finally:
            with self.moved:
                self.resting = False
                self.moved.notify_all()


class Requests:
    """Requests of one thread."""

    def __init__(self, lab):
        self.lab = lab
        self.client = Client()
        self.turn = itertools.cycle(lab.servers)

    def others(self, name):
        """The servers but this one; all of them where there is but one."""
        return [s for s in self.lab.servers if s.name != name] or self.lab.servers

    def write(self, kind, person, event, method, path, body=None, token=None, server=None):
        """A request that changes something. Its event is expected when it is acknowledged."""
        answer = self.client.ask(server or next(self.turn), method, path, body, token)
        self.lab.record(kind, answer)
        if event:
            if answer.acknowledged:
                person.sure[event] += 1
            elif answer.unknown:
                person.maybe[event] += 1
        return answer

    def settle(self, person, event, done):
        """An unknown outcome became known."""
        person.maybe[event] -= 1
        if done:
            person.sure[event] += 1

    def insist(self, ask, seconds=PATIENCE):
        """Repeats a request until a server gives an answer that is not unknown."""
        end = time.monotonic() + seconds
        while True:
            answer = ask()
            if not answer.unknown:
                return answer
            if time.monotonic() > end or self.lab.stopped.is_set():
                raise Undecided(str(answer))
            time.sleep(0.2)

    def sign_in(self, person, password=None, code=None, insist=True):
        """Signs in, at the servers in turn. Whether it is accepted."""
        body = {"email": person.address, "password": password or person.password}
        if code:
            body["code"] = code

        def ask():
            return self.write("sign_in", person, "sign_in", "POST", "token/", body)

        answer = self.insist(ask) if insist else ask()
        if answer.acknowledged:
            person.signed_in(answer.body)
        return answer

    def accepts(self, server, person, password):
        """Whether a server accepts a password. It counts as a sign-in."""

        def ask():
            return self.write(
                "sign_in",
                person,
                "sign_in",
                "POST",
                "token/",
                {"email": person.address, "password": password},
                server=server,
            )

        return self.insist(ask).acknowledged

    def get(self, server, path, token=None):
        return self.client.ask(server, "GET", path, token=token)

    def as_staff(self, method, path, body=None, server=None):
        """A request of the staff, repeated until there is an answer."""
        staff = self.lab.staff
        return self.insist(
            lambda: self.client.ask(server or next(self.turn), method, path, body, staff.access)
        )

    def end(self, person, access=None, refresh=None):
        """Notes that a session has ended, and asks all servers at once."""
        access, refresh = access or person.access, refresh or person.refresh
        self.lab.ended.append((access, refresh))
        for server in self.lab.servers:
            if self.get(server, "users/me/", access).acknowledged:
                self.lab.violated("revived", f"server {server.name} accepts an ended session")

    def new_person(self, address, password="analytical-Engine-1", name=""):
        """A confirmed account, while nothing fails."""
        person = Person(address, password)
        body = {
            "email": address,
            "password": password,
            "confirm_password": password,
            "first_name": name,
        }
        answer = self.write("sign_up", person, "sign_up", "POST", "users/", body)
        mail = answer.acknowledged and self.lab.mailbox.wait(address, "sign_up", 30)
        if not mail:
            raise RuntimeError(f"cannot make an account: {answer}, mail {mail}")
        answer = self.write(
            "confirm",
            person,
            "sign_up_confirmed",
            "POST",
            "otp/verify/",
            {"email": address, "otp": mail.code},
        )
        if not answer.acknowledged:
            raise RuntimeError(f"cannot make an account: {answer}")
        person.signed_in(answer.body)
        self.lab.people.append(person)
        return person


class Writer(threading.Thread):
    pause = 0.1

    def __init__(self, lab, name):
        super().__init__(daemon=True, name=name)
        self.lab = lab
        self.requests = Requests(lab)

    def prepare(self):
        """Makes the accounts, before anything fails."""

    def step(self):
        """A few requests that belong together."""

    def check(self, requests):
        """What has to hold, on every server, while all writers rest."""

    def finish(self, requests):
        """What has to hold at the end, when the queue of mails is empty."""

    def run(self):
        while not self.lab.stopped.is_set():
            self.lab.enter()
            try:
                if not self.lab.stopped.is_set():
                    self.step()
            except Undecided as undecided:
                if not self.lab.stopped.is_set():
                    self.lab.violated(
                        "unexpected", f"{self.name}: no answer for {PATIENCE} s: {undecided}"
                    )
            except Exception as error:  # A thread that ends in silence would check nothing.
                self.lab.violated("unexpected", f"{self.name}: {type(error).__name__}: {error}")
                time.sleep(1)
            finally:
                self.lab.leave()
            time.sleep(self.pause)

    def people(self, count):
        return [self.requests.new_person(f"{self.name}-{i}@example.com") for i in range(count)]

    def unexpected(self, what, answer):
        """A valid token that is refused was issued by a write that is lost."""
        kind = "lost" if answer.status == 401 else "unexpected"
        self.lab.violated(kind, f"{self.name}: {what}: {answer}")


class SignUps(Writer):
    """Signs up, and confirms with the code of the mail on another server."""

    waiting = 4

    def __init__(self, lab, name):
        super().__init__(lab, name)
        self.number = 0
        # Sign-ups without a confirmation, with the time of the request and whether it was
        # acknowledged.
        self.pending = collections.OrderedDict()
        self.confirmed = []
        self.checked = 0
        self.codes = []

    def step(self):
        for address, (person, _, _) in list(self.pending.items()):
            mails = self.lab.mailbox.to(address, "sign_up")
            if mails:
                self.confirm(person, mails[-1].code)
                return
        recent = [1 for _, at, _ in self.pending.values() if time.time() - at < 10]
        if len(recent) < self.waiting:
            self.sign_up()

    def sign_up(self):
        self.number += 1
        person = Person(f"{self.name}-{self.number:05}@example.com", "difference-Engine-2")
        person.name = f"Name {self.number}"
        answer = self.requests.write(
            "sign_up",
            person,
            "sign_up",
            "POST",
            "users/",
            {
                "email": person.address,
                "password": person.password,
                "confirm_password": person.password,
                "first_name": person.name,
            },
        )
        if answer.refused:
            self.unexpected("sign-up", answer)
            return
        self.pending[person.address] = (person, time.time(), answer.acknowledged)

    def confirm(self, person, code):
        body = {"email": person.address, "otp": code}
        answer = self.requests.write(
            "confirm", person, "sign_up_confirmed", "POST", "otp/verify/", body
        )
        if answer.acknowledged:
            person.signed_in(answer.body)
        elif answer.refused:
            self.lab.violated("lost", f"a mailed code is refused: {person.address}: {answer}")
        else:
            # The password signs in once the address is confirmed.
            answer = self.requests.sign_in(person)
            self.requests.settle(person, "sign_up_confirmed", answer.acknowledged)
            if answer.refused:
                if (answer.body or {}).get("code") == "email_not_verified":
                    return
                self.lab.violated("lost", f"a sign-up is gone: {person.address}: {answer}")
        if self.pending[person.address][2]:
            mail = self.lab.mailbox.to(person.address, "sign_up")[0]
            delay = mail.at - self.pending[person.address][1]
            self.lab.slowest_mail = max(self.lab.slowest_mail, delay)
        # Who has the mail has signed up, whatever the answer was.
        if person.maybe["sign_up"]:
            self.requests.settle(person, "sign_up", True)
        del self.pending[person.address]
        if person.access is None:
            return
        self.codes.append((person, code))
        self.confirmed.append(person)
        self.lab.people.append(person)
        # They wait for a while, so that a former primary knows them.
        if self.lab.victims.qsize() < 30 and self.number % 2 == 0:
            person.given_away = True
            self.lab.victims.put(person)

    def check(self, requests):
        new = self.confirmed[self.checked :]
        self.checked = len(self.confirmed)
        for person in new:
            if hasattr(person, "given_away"):
                continue
            for server in self.lab.servers:
                answer = requests.as_staff("GET", f"users/{person.id}/", server=server)
                if not answer.acknowledged or answer.body["first_name"] != person.name:
                    self.lab.violated("lost", f"account {person.address}: {answer}")
        for person in [p for p in new[-3:] if not hasattr(p, "given_away")]:
            for server in self.lab.servers:
                if not requests.accepts(server, person, person.password):
                    self.lab.violated("lost", f"{person.address} does not sign in at {server.name}")
        for person, _, acknowledged in self.pending.values():
            if acknowledged:
                answer = requests.as_staff("GET", f"users/?search={person.address}")
                if answer.body["count"] != 1:
                    self.lab.violated("lost", f"sign-up {person.address}: {answer}")
        # Few of them: wrong codes are counted for each address.
        for person, code in self.codes[-3:]:
            for server in self.lab.servers:
                answer = requests.insist(
                    lambda: requests.client.ask(
                        server, "POST", "otp/verify/", {"email": person.address, "otp": code}
                    )
                )
                if answer.acknowledged:
                    self.lab.violated("reused", f"code of {person.address}: {answer}")

    def finish(self, requests):
        """Each acknowledged sign-up has its mail, or the queue still has it."""
        for address, (_, _, acknowledged) in self.pending.items():
            if acknowledged and not self.lab.mailbox.to(address, "sign_up"):
                answer = requests.as_staff("GET", f"mails/?search={address}")
                if answer.body["count"]:
                    self.lab.note("mails of sign-ups that are still in the queue at the end")
                else:
                    self.lab.violated("lost", f"the mail of the sign-up {address}")


class Profiles(Writer):
    """Changes a profile, and reads it on another server."""

    pause = 0.05
    count = 10

    def prepare(self):
        self.owners = self.people(self.count)
        for person in self.owners:
            person.number = 0
            person.acknowledged = 0
            # Unknown ones that were answered, and those that may still be on their way.
            person.unknown, person.late = set(), set()

    def step(self):
        person = random.choice(self.owners)
        person.number += 1
        number = person.number
        answer = self.requests.write(
            "profile",
            person,
            "profile_changed",
            "PATCH",
            "users/me/",
            {"first_name": f"v{number}"},
            person.access,
        )
        if answer.refused:
            self.unexpected("profile", answer)
        elif answer.unknown:
            (person.unknown if answer.status else person.late).add(number)
        else:
            person.acknowledged = number
            person.unknown.clear()
            server = self.requests.others(answer.server)[0]
            self.compare(person, self.requests.get(server, "users/me/", person.access), "stale")

    def compare(self, person, answer, kind):
        if answer.unknown:
            return None
        if not answer.acknowledged:
            self.unexpected("reading a profile", answer)
            return None
        number = int(answer.body["first_name"].lstrip("v") or 0)
        if number not in {person.acknowledged} | person.unknown | person.late:
            self.lab.violated(
                kind, f"profile {person.address}: v{person.acknowledged} was acknowledged, {answer}"
            )
        return number

    def check(self, requests):
        for person in self.owners:
            numbers = set()
            for server in self.lab.servers:
                answer = requests.insist(lambda: requests.get(server, "users/me/", person.access))
                numbers.add(self.compare(person, answer, "lost"))
            if len(numbers) > 1 and not person.late:
                self.lab.violated("stale", f"profile {person.address}: servers differ: {numbers}")
            # What all servers show in peace has come, and has to stay.
            number = numbers.pop()
            if number in person.unknown:
                person.acknowledged = number
            person.unknown.clear()


class Refreshes(Writer):
    """Rotates refresh tokens."""

    def prepare(self):
        self.owners = self.people(3)
        for person in self.owners:
            person.used = collections.deque(maxlen=200)

    def step(self):
        person = random.choice(self.owners)
        if person.refresh is None:
            self.requests.sign_in(person)
            return
        old, first = person.refresh, time.monotonic()
        asked = 0

        def ask():
            nonlocal asked
            asked += 1
            return self.requests.write(
                "refresh", person, None, "POST", "token/refresh/", {"refresh": old}
            )

        answer = self.requests.insist(ask)
        if answer.acknowledged:
            person.used.append((old, person.access, time.monotonic()))
            person.signed_in(answer.body)
        elif asked > 1 and answer.started - first > GRACE - 1:
            # The first try was done, and this one is reuse by now: the session ends, as documented.
            self.lab.note(
                "sessions that ended because an unknown refresh was repeated after the grace"
            )
            person.refresh = None
            person.used.clear()
        else:
            self.unexpected("refresh", answer)
            person.refresh = None
            person.used.clear()

    def check(self, requests):
        """Used tokens are refused after the grace, and reuse ends the session."""
        for person in self.owners:
            old = [used for used in person.used if time.monotonic() - used[2] > GRACE + 1]
            if not old or person.refresh is None:
                continue
            for server, (refresh, _, _) in zip(itertools.cycle(self.lab.servers), old[-4:]):
                answer = requests.insist(
                    lambda: requests.client.ask(
                        server, "POST", "token/refresh/", {"refresh": refresh}
                    )
                )
                if answer.acknowledged:
                    self.lab.violated("reused", f"refresh token of {person.address}: {answer}")
            requests.end(person)
            person.refresh = None
            person.used.clear()


class Endings(Writer):
    """Ends sessions in the ways that there are, and asks all servers whether they are over.

    What ends is old: a former primary knows such a session, and not that it has ended.
    """

    pause = 0.25
    stock = 40

    def prepare(self):
        self.owners = self.people(3)
        for person in self.owners:
            person.sessions = collections.deque()
        for person in self.owners[:2]:
            for _ in range(self.stock):
                self.add(person)
        self.ways = itertools.cycle(
            (
                (self.owners[0], self.sign_out),
                (self.owners[1], self.revoke),
                (self.owners[1], self.sign_out),
                (self.owners[0], self.revoke),
                (self.owners[2], self.revoke_others),
            )
        )

    def add(self, person):
        answer = self.requests.sign_in(person)
        if answer.acknowledged:
            person.sessions.append((person.access, person.refresh))
        else:
            self.unexpected("sign-in", answer)
        return answer.acknowledged

    def step(self):
        person, way = next(self.ways)
        if self.add(person) and len(person.sessions) > 1:
            way(person, person.sessions.popleft(), person.sessions[-1])

    def sign_out(self, person, old, _):
        answer = self.requests.insist(
            lambda: self.requests.write(
                "sign_out", person, "sign_out", "POST", "token/blacklist/", {"refresh": old[1]}
            )
        )
        self.ended(person, answer, *old, "sign_out")

    def revoke(self, person, old, new):
        path = f"sessions/{claims(old[0])['sid']}/"
        answer = self.requests.insist(
            lambda: self.requests.write("revoke", person, None, "DELETE", path, token=new[0])
        )
        # 404: an earlier try has done it.
        self.ended(person, answer, *old)

    def revoke_others(self, person, old, new):
        answer = self.requests.insist(
            lambda: self.requests.write("revoke", person, None, "DELETE", "sessions/", token=new[0])
        )
        if answer.acknowledged:
            self.ended(person, answer, *old)
        else:
            self.unexpected("revoking the other sessions", answer)

    def ended(self, person, answer, access, refresh, event=None):
        if answer.refused and answer.status not in (401, 404):
            self.unexpected("ending a session", answer)
            return
        if answer.refused and event and person.maybe[event]:
            self.requests.settle(person, event, True)
        self.requests.end(person, access, refresh)

    def check(self, requests):
        for access, refresh in list(self.lab.ended)[-25:]:
            for server in self.lab.servers:
                for path, body in (
                    ("token/refresh/", {"refresh": refresh}),
                    ("token/verify/", {"token": access}),
                ):
                    answer = requests.insist(
                        lambda: requests.client.ask(server, "POST", path, body)
                    )
                    if answer.acknowledged:
                        self.lab.violated("revived", f"ended session: {path}: {answer}")


class Deactivations(Writer):
    """Staff deactivates accounts."""

    pause = 1

    def __init__(self, lab, name):
        super().__init__(lab, name)
        self.done = []

    def step(self):
        try:
            person = self.lab.victims.get_nowait()
        except queue.Empty:
            return
        answer = self.requests.insist(
            lambda: self.requests.write(
                "deactivate",
                person,
                "user_deactivated",
                "PATCH",
                f"users/{person.id}/",
                {"is_active": False},
                self.lab.staff.access,
            )
        )
        if not answer.acknowledged:
            self.unexpected("deactivation", answer)
            return
        # Repeated tries change nothing, so there is one event in any case.
        person.sure["user_deactivated"], person.maybe["user_deactivated"] = 1, 0
        self.done.append(person)
        self.requests.end(person)
        for server in self.lab.servers:
            answer = self.requests.client.ask(
                server, "POST", "token/", {"email": person.address, "password": person.password}
            )
            if answer.acknowledged:
                self.lab.violated("revived", f"a deactivated account signs in: {answer}")

    def check(self, requests):
        for person in self.done[-10:]:
            for server in self.lab.servers:
                if requests.accepts(server, person, person.password):
                    self.lab.violated("revived", f"deactivated {person.address} signs in")


class Passwords(Writer):
    """Changes passwords, and tries the old ones."""

    pause = 0.3

    def prepare(self):
        self.owners = self.people(4)
        for person in self.owners:
            person.number, person.old = 0, None

    def step(self):
        person = random.choice(self.owners)
        person.number += 1
        new = f"analytical-Engine-v{person.number}"
        before = (person.access, person.refresh)
        answer = self.requests.write(
            "password",
            person,
            "password_changed",
            "POST",
            "password/change/",
            {"current_password": person.password, "password": new, "confirm_password": new},
            person.access,
        )
        if answer.refused:
            self.unexpected("password change", answer)
            self.requests.sign_in(person)
            return
        if answer.acknowledged:
            person.signed_in(answer.body)
            person.old, person.password = person.password, new
            self.requests.end(person, *before)
            server = self.requests.others(answer.server)[0]
            body = {"email": person.address, "password": person.old}
            if self.requests.client.ask(server, "POST", "token/", body).acknowledged:
                self.lab.violated(
                    "revived", f"the old password of {person.address} signs in at once"
                )
            return
        done = self.requests.sign_in(person, new).acknowledged
        if not done and not self.requests.sign_in(person).acknowledged:
            self.lab.violated(
                "lost", f"{person.address}: neither the new nor the old password signs in"
            )
            return
        self.requests.settle(person, "password_changed", done)
        if done:
            person.old, person.password = person.password, new
            self.requests.end(person, *before)

    def check(self, requests):
        for person in self.owners:
            for server in self.lab.servers:
                if not requests.accepts(server, person, person.password):
                    self.lab.violated(
                        "lost", f"the new password of {person.address} at {server.name}"
                    )
                if person.old and requests.accepts(server, person, person.old):
                    self.lab.violated(
                        "revived", f"the old password of {person.address} at {server.name}"
                    )


class Resets(Writer):
    """Resets passwords with the code of a mail."""

    pause = 0.3

    def prepare(self):
        self.owners = self.people(2)
        for person in self.owners:
            person.number, person.old, person.code = 0, None, None

    def step(self):
        person = random.choice(self.owners)
        known = {mail.id for mail in self.lab.mailbox.to(person.address, "password_reset")}
        answer = self.requests.write(
            "reset",
            person,
            "password_reset_requested",
            "POST",
            "password/reset/",
            {"email": person.address},
        )
        if answer.refused:
            self.unexpected("reset", answer)
            return
        mail = self.lab.mailbox.wait(
            person.address, "password_reset", 10, known, unless=lambda: self.lab.resting
        )
        if mail is None:
            if answer.acknowledged and not self.lab.resting:
                self.lab.note("mails of acknowledged resets that did not come within 10 s")
            return
        person.number += 1
        new = f"difference-Engine-v{person.number}"
        body = {"email": person.address, "otp": mail.code, "password": new, "confirm_password": new}
        before = (person.access, person.refresh)
        answer = self.requests.write(
            "reset_confirm", person, "password_reset", "POST", "password/reset/confirm/", body
        )
        if answer.refused:
            # An earlier unknown request may have replaced the code after its mail was sent.
            newest = self.lab.mailbox.to(person.address, "password_reset")[-1]
            if person.maybe["password_reset_requested"] or newest.id != mail.id:
                self.lab.note("codes that a later reset had replaced")
            else:
                self.lab.violated("lost", f"a mailed code is refused: {person.address}: {answer}")
            return
        done = answer.acknowledged or self.requests.sign_in(person, new).acknowledged
        if answer.unknown:
            self.requests.settle(person, "password_reset", done)
        if done:
            person.old, person.password, person.code = person.password, new, mail.code
            self.requests.end(person, *before)
            self.requests.sign_in(person)

    def check(self, requests):
        for person in self.owners:
            if not person.code:
                continue
            for server in self.lab.servers:
                body = {
                    "email": person.address,
                    "otp": person.code,
                    "password": "never-Again-3",
                    "confirm_password": "never-Again-3",
                }
                answer = requests.insist(
                    lambda: requests.client.ask(server, "POST", "password/reset/confirm/", body)
                )
                if answer.acknowledged:
                    self.lab.violated("reused", f"reset code of {person.address}: {answer}")
                if not requests.accepts(server, person, person.password):
                    self.lab.violated(
                        "lost", f"the new password of {person.address} at {server.name}"
                    )
                if requests.accepts(server, person, person.old):
                    self.lab.violated(
                        "revived", f"the old password of {person.address} at {server.name}"
                    )


class RecoveryCodes(Writer):
    """Signs in with recovery codes, each of which works once."""

    pause = 0.4

    def prepare(self):
        (self.person,) = self.people(1)
        token = self.person.access
        answer = self.requests.get(next(self.requests.turn), "mfa/totp/activate/", token)
        body = {
            "activation_token": answer.body["activation_token"],
            "code": totp(answer.body["secret"]),
        }
        answer = self.requests.write(
            "factor", self.person, None, "POST", "mfa/totp/activate/", body, token
        )
        if not answer.acknowledged:
            raise RuntimeError(f"cannot enrol an authenticator app: {answer}")
        self.codes = list(answer.body["recovery_codes"])
        self.used = []

    def step(self):
        if len(self.codes) < 2:
            self.regenerate()
            return
        code = self.codes.pop()
        answer = self.with_code(code)
        if answer.refused:
            self.unexpected("recovery code", answer)
            return
        if answer.unknown:
            # Another try is accepted where the first one was not done.
            again = self.requests.insist(lambda: self.with_code(code))
            self.person.maybe["recovery_code_used"] = 0
            self.person.sure["recovery_code_used"] += 0 if again.acknowledged else 1
            answer = again
        if answer.acknowledged:
            self.person.signed_in(answer.body)
        self.used.append(code)
        # Where it is refused, the owner waits a second: few of them.
        if len(self.used) % 3 == 0:
            server = self.requests.others(answer.server)[0]
            again = self.with_code(code, server)
            if again.acknowledged:
                self.lab.violated("reused", f"recovery code at once: {again}")

    def with_code(self, code, server=None):
        person = self.person
        body = {"email": person.address, "password": person.password, "code": code}
        answer = self.requests.write(
            "recovery_code", person, "recovery_code_used", "POST", "token/", body, server=server
        )
        if answer.acknowledged:
            person.sure["sign_in"] += 1
        elif answer.unknown:
            person.maybe["sign_in"] += 1
        return answer

    def regenerate(self):
        answer = self.requests.write(
            "factor",
            self.person,
            None,
            "POST",
            "mfa/recovery-codes/regenerate/",
            {},
            self.person.access,
        )
        if answer.refused:
            self.unexpected("new recovery codes", answer)
            time.sleep(1)
        elif answer.acknowledged:
            self.used += self.codes
            self.codes = list(answer.body["codes"])
        elif len(self.codes) == 1:
            # Nobody knows these codes. The token is still good, so the next step asks again.
            self.lab.note("recovery codes whose answer was lost")

    def check(self, requests):
        for code in self.used[-3:]:
            for server in self.lab.servers:
                body = {
                    "email": self.person.address,
                    "password": self.person.password,
                    "code": code,
                }
                answer = requests.insist(
                    lambda: requests.client.ask(server, "POST", "token/", body)
                )
                if answer.acknowledged:
                    self.lab.violated("reused", f"recovery code: {answer}")


class Prober(threading.Thread):
    """Shows ended sessions to one server all the time, also while writers rest."""

    def __init__(self, lab, server):
        super().__init__(daemon=True, name=f"prober {server.name}")
        self.lab = lab
        self.server = server
        self.client = Client()

    def run(self):
        while not self.lab.stopped.is_set():
            time.sleep(0.03)
            try:
                access, _ = random.choice(list(self.lab.ended)[-60:])
            except (IndexError, RuntimeError):
                continue
            answer = self.client.ask(self.server, "GET", "users/me/", token=access)
            with self.lab.lock:
                kind = "refused" if answer.refused else "unknown" if answer.unknown else "accepted"
                self.lab.probes[kind] += 1
            if answer.acknowledged:
                self.lab.violated("revived", f"an ended session is accepted: {answer}")


def all_writers(lab):
    return [
        SignUps(lab, "signups"),
        Profiles(lab, "profiles"),
        Profiles(lab, "names"),
        Refreshes(lab, "refreshes"),
        Endings(lab, "endings"),
        Deactivations(lab, "deactivations"),
        Passwords(lab, "passwords"),
        Resets(lab, "resets"),
        RecoveryCodes(lab, "recovery"),
    ]


def events_of(requests, person):
    """How often each event happened to an account."""
    counts = collections.Counter()
    for page in itertools.count(1):
        answer = requests.as_staff("GET", f"users/{person.id}/events/?page_size=100&page={page}")
        if not answer.acknowledged:
            raise RuntimeError(f"events of {person.address}: {answer}")
        for event in answer.body["results"]:
            counts[event["event"]] += event["count"]
        if answer.body["next"] is None:
            return counts


def check_events(lab, requests, people):
    """Each acknowledged write has one event, and each unknown one at most one."""
    for person in people:
        counts = events_of(requests, person)
        for event in COUNTED:
            least = person.sure[event]
            most = least + person.maybe[event]
            if event == "profile_changed":
                # An account with a hundred entries within an hour gets no more of these.
                least = min(least, 90)
            if counts[event] < least:
                lab.violated(
                    "lost", f"events {event} of {person.address}: {counts[event]}, at least {least}"
                )
            if counts[event] > most:
                lab.violated(
                    "repeated",
                    f"events {event} of {person.address}: {counts[event]}, at most {most}",
                )


def check_mails(lab, people, mailbox):
    """Each of these events has one mail. Codes that were replaced or used are not sent any more."""
    for person in people:
        for kind, events in (
            ("sign_up", ("sign_up",)),
            ("password_reset", ("password_reset_requested",)),
            ("password_changed", ("password_changed", "password_reset")),
        ):
            count = len(mailbox.to(person.address, kind))
            sure = [person.sure[event] for event in events]
            all_of_them = [person.sure[event] + person.maybe[event] for event in events]
            if kind == "password_changed":
                # An account gets no more than five notices of changes in a day. Resets always have
                # one.
                sure[0], all_of_them[0] = min(sure[0], 5), min(all_of_them[0], 5)
            least, most = sum(sure), sum(all_of_them)
            if count > most:
                lab.violated(
                    "repeated", f"mails {kind} to {person.address}: {count}, at most {most}"
                )
            if count < least and kind != "password_reset":
                lab.violated("lost", f"mails {kind} to {person.address}: {count}, at least {least}")
