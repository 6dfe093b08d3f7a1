"""Logins: a password for a token that a browser keeps; the device keeps the token's digest, and can revoke it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Hashable

from edge.api.access import ALL_RIGHTS, LOCAL, Identity, Right, rights_of
from edge.api.passwords import fits
from edge.errors import CommandError
from edge.storage.users import Login, User, Users
from edge.system.clock import boot_id

IDLE_S = 3600.0
"""A login that is not used for so long ends. Clocks are monotonic, and a new boot ends every login."""

LONGEST_S = 12 * 3600.0
"""A login ends so long after it began."""

NOTED_S = 60.0
"""The last use of a login is stored at most so often."""

FREE_TRIES = 5
"""Failed logins of one name from one address before the next one has to wait."""

WAIT_FIRST_S, WAIT_MAX_S = 30.0, 900.0
"""How long, doubled with each failure. Failures are forgotten when there was none for the longest time more."""

FREE_TRIES_OF_ADDRESS = 20
"""Failed logins of one address, whatever the names, before the next one has to wait."""

REMEMBERED = 1000
"""Addresses, and pairs of name and address, of which failures are remembered."""

AT_A_TIME = 4
"""Passwords that wait to be looked at: each keeps a thread of the server, and memory."""


class Logins:
    """Who is signed in. Any thread may call it; the clock is given by a test, seconds."""

    def __init__(self, users: Users, monotonic: Callable[[], float] = time.monotonic, at_device: bool = True) -> None:
        """Know nobody yet.

        Args:
            users: who may sign in.
            monotonic: clock, seconds.
            at_device: whether whoever reaches the page is at the device, while no user has a password.
        """
        self.users = users
        self._monotonic, self._at_device = monotonic, at_device
        self._key = users.key()
        self._limit = _TryLimit(monotonic, FREE_TRIES)
        self._limit_of_address = _TryLimit(monotonic, FREE_TRIES_OF_ADDRESS)
        self._looked_at = threading.BoundedSemaphore(AT_A_TIME)

    def identify(self, token: str) -> Identity | None:
        """Return who carries a token; None where somebody has to sign in first.

        While no user has a password everybody who can reach the device is somebody at the device: it listens on the
        loopback only.
        """
        if not self.users.any():
            return Identity(LOCAL, ALL_RIGHTS, self._csrf(LOCAL)) if self._at_device else None
        digest = _digest(token)
        found = self.users.login(digest) if token else None
        if found is None:
            return None
        login, user = found
        now_s = self._monotonic()
        if login.boot_id != boot_id() or now_s - login.used_s > IDLE_S or now_s - login.began_s > LONGEST_S:
            self.users.end(digest)
            return None
        if now_s - login.used_s > NOTED_S:
            self.users.use(digest, now_s)
        return Identity(user.name, _rights(user), self._csrf(digest), signed_in=True)

    def sign_in(self, name: str, password: str, address: str) -> str:
        """Return the token of a new login.

        Raises:
            CommandError: Name or password are wrong, or too many were.
        """
        self.check(name, password, address)
        token, now_s = secrets.token_urlsafe(32), self._monotonic()
        self.users.begin(_digest(token), Login(name, boot_id(), now_s, now_s))
        self.users.note(name, "signed in")
        return token

    def check(self, name: str, password: str, address: str) -> User:
        """Return the user of this name and password.

        Raises:
            CommandError: They are wrong, or too many were.
        """
        self._limit.wait_left((name, address))
        self._limit_of_address.wait_left(address)
        user = self.users.find(name)
        if not self._fits(user, password) or user is None:
            self._limit.failed((name, address))
            self._limit_of_address.failed(address)
            # The name that was typed is not noted: people type their password there.
            self.users.note(name if user else "somebody", "gave a wrong password")
            raise CommandError("name or password is wrong")
        self._limit.succeeded((name, address))
        self._limit_of_address.succeeded(address)
        return user

    def _fits(self, user: User | None, password: str) -> bool:
        if not self._looked_at.acquire(blocking=False):
            raise CommandError("too many people sign in at this moment: try again")
        try:
            return fits(user.password if user else None, password)
        finally:
            self._looked_at.release()

    def sign_out(self, token: str) -> None:
        """End a login."""
        self.users.end(_digest(token))

    def login_csrf(self) -> str:
        """Return the token of the form that signs in, by which it is known to be the device's own."""
        return self._csrf("login")

    def _csrf(self, of: str) -> str:
        return hmac.new(self._key, f"csrf:{of}".encode(), hashlib.sha256).hexdigest()


class _TryLimit:
    """Lets somebody try a few times, and then ever more seldom."""

    def __init__(self, monotonic: Callable[[], float], free: int) -> None:
        self._monotonic, self._free, self._lock = monotonic, free, threading.Lock()
        self._failures: dict[Hashable, tuple[int, float]] = {}

    def wait_left(self, who: Hashable) -> None:
        """Raise CommandError while a further try has to wait."""
        with self._lock:
            failures, until_s = self._known(who)
        left_s = until_s - self._monotonic()
        if failures >= self._free and left_s > 0:
            raise CommandError(f"too many wrong passwords: try again in {left_s:.0f} s")

    def failed(self, who: Hashable) -> None:
        with self._lock:
            failures = self._known(who)[0] + 1
            self._failures.pop(who, None)  # the newest stands last
            wait_s = min(WAIT_MAX_S, WAIT_FIRST_S * 2.0 ** max(0, failures - self._free))
            self._failures[who] = failures, self._monotonic() + wait_s
            if len(self._failures) > REMEMBERED:
                del self._failures[next(iter(self._failures))]

    def _known(self, who: Hashable) -> tuple[int, float]:
        failures, until_s = self._failures.get(who, (0, 0.0))
        return (0, 0.0) if self._monotonic() > until_s + WAIT_MAX_S else (failures, until_s)

    def succeeded(self, who: Hashable) -> None:
        with self._lock:
            self._failures.pop(who, None)


def _rights(user: User) -> frozenset[Right]:
    return rights_of(user.roles)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
