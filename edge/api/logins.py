"""Logins: a password for a token that a browser keeps; the device keeps the token's digest, and can revoke it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import cast

from edge.api.access import ALL_RIGHTS, LOCAL, Identity, Right, Role, rights_of
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
"""How long, doubled with each failure."""

REMEMBERED = 1000
"""Pairs of name and address of which failures are remembered."""


class Logins:
    """Who is signed in. Any thread may call it; the clock is given by a test, seconds."""

    def __init__(self, users: Users, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.users = users
        self._monotonic = monotonic
        self._key = users.key()
        self._limit = _TryLimit(monotonic)

    def identify(self, token: str) -> Identity | None:
        """Return who carries a token; None where somebody has to sign in first.

        While no user has a password everybody who can reach the device is somebody at the device: it listens on the
        loopback only.
        """
        if not self.users.any():
            return Identity(LOCAL, ALL_RIGHTS, self._csrf(LOCAL))
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
        self._limit.wait_left(name, address)
        user = self.users.find(name)
        if not fits(user.password if user else None, password) or user is None:
            self._limit.failed(name, address)
            # The name that was typed is not noted: people type their password there.
            self.users.note(name if user else "somebody", "gave a wrong password")
            raise CommandError("name or password is wrong")
        self._limit.succeeded(name, address)
        return user

    def sign_out(self, token: str) -> None:
        """End a login."""
        self.users.end(_digest(token))

    def login_csrf(self) -> str:
        """Return the token of the form that signs in, by which it is known to be the device's own."""
        return self._csrf("login")

    def _csrf(self, of: str) -> str:
        return hmac.new(self._key, f"csrf:{of}".encode(), hashlib.sha256).hexdigest()


class _TryLimit:
    """Lets a name be tried from an address a few times, and then ever more seldom."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic, self._lock = monotonic, threading.Lock()
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    def wait_left(self, name: str, address: str) -> None:
        """Raise CommandError while a further try has to wait."""
        with self._lock:
            failures, until_s = self._failures.get((name, address), (0, 0.0))
        left_s = until_s - self._monotonic()
        if failures >= FREE_TRIES and left_s > 0:
            raise CommandError(f"too many wrong passwords: try again in {left_s:.0f} s")

    def failed(self, name: str, address: str) -> None:
        with self._lock:
            failures = self._failures.pop((name, address), (0, 0.0))[0] + 1
            wait_s = min(WAIT_MAX_S, WAIT_FIRST_S * 2.0 ** max(0, failures - FREE_TRIES))
            self._failures[name, address] = failures, self._monotonic() + wait_s
            if len(self._failures) > REMEMBERED:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, name: str, address: str) -> None:
        with self._lock:
            self._failures.pop((name, address), None)


def _rights(user: User) -> frozenset[Right]:
    return rights_of(cast("tuple[Role, ...]", user.roles))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
