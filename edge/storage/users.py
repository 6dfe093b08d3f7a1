"""Users, their logins, and the audit log of who did what: rows, of which no password can be read."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from edge.storage.database import Database
from edge.system.clock import clock_synchronised

AUDIT_KEPT = 20_000
"""Entries of the audit log that are kept, the newest: some megabytes."""


@dataclass(frozen=True, slots=True)
class User:
    """A person. password: its hash; roles: names of them."""

    name: str
    roles: tuple[str, ...]
    password: str


@dataclass(frozen=True, slots=True)
class Login:
    """A login: its boot, and monotonic clocks of its begin and last use, seconds."""

    name: str
    boot_id: str
    began_s: float
    used_s: float


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what; made_ms: wall time, milliseconds since 1970 UTC."""

    made_ms: int
    clock_synchronised: bool
    who: str
    action: str
    subject: str


class Users:
    """The tables of users. Any thread may call it; methods raise StorageError as Database does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, user: User) -> None:
        """Store a user; of one who is there already roles and password change, and every login ends."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM logins WHERE name = ?", (user.name,))
            connection.execute(
                "INSERT INTO users (name, roles, password) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "roles = excluded.roles, password = excluded.password",
                (user.name, ",".join(user.roles), user.password),
            )

    def remove(self, name: str) -> bool:
        """Remove a user, whose logins end; return whether there was one."""
        return self._database.write("DELETE FROM users WHERE name = ?", name) > 0

    def find(self, name: str) -> User | None:
        """Return a user, if there is one."""
        return next((user for user in self.all() if user.name == name), None)

    def all(self) -> list[User]:
        """Return every user by name."""
        rows = self._database.read("SELECT name, roles, password FROM users ORDER BY name")
        return [User(name, tuple(roles.split(",")), password) for name, roles, password in rows]

    def any(self) -> bool:
        """Return whether there is a user."""
        return bool(self._database.read("SELECT 1 FROM users LIMIT 1"))

    # Logins.

    def begin(self, token_sha256: str, login: Login) -> None:
        """Store a login under the digest of its token, and forget those of other boots."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM logins WHERE boot_id != ?", (login.boot_id,))
            connection.execute(
                "INSERT INTO logins (token_sha256, name, boot_id, began_s, used_s) VALUES (?, ?, ?, ?, ?)",
                (token_sha256, login.name, login.boot_id, login.began_s, login.used_s),
            )

    def login(self, token_sha256: str) -> tuple[Login, User] | None:
        """Return a login and its user."""
        rows = self._database.read(
            "SELECT l.name, l.boot_id, l.began_s, l.used_s, u.roles, u.password FROM logins l "
            "JOIN users u ON u.name = l.name WHERE l.token_sha256 = ?",
            token_sha256,
        )
        if not rows:
            return None
        name, boot_id, began_s, used_s, roles, password = rows[0]
        return Login(name, boot_id, began_s, used_s), User(name, tuple(roles.split(",")), password)

    def use(self, token_sha256: str, used_s: float) -> None:
        """Note that a login was used."""
        self._database.write("UPDATE logins SET used_s = ? WHERE token_sha256 = ?", used_s, token_sha256)

    def end(self, token_sha256: str) -> None:
        """End a login."""
        self._database.write("DELETE FROM logins WHERE token_sha256 = ?", token_sha256)

    def end_all(self, name: str) -> int:
        """End every login of a user; return how many there were."""
        return self._database.write("DELETE FROM logins WHERE name = ?", name)

    def key(self) -> bytes:
        """Return the device's secret key, which is made when it is first asked for."""
        self._database.write("INSERT OR IGNORE INTO page_key (one, key) VALUES (1, ?)", secrets.token_bytes(32))
        ((key,),) = self._database.read("SELECT key FROM page_key")
        return bytes(key)

    # The audit log.

    def note(self, who: str, action: str, subject: str = "") -> None:
        """Note in the audit log who did what.

        subject: identifier of the sample, or name of the user concerned.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO audit (made_ms, clock_synchronised, who, action, subject) VALUES (?, ?, ?, ?, ?)",
                (time.time_ns() // 1_000_000, clock_synchronised(), who, action, subject),
            )
            connection.execute("DELETE FROM audit WHERE id <= (SELECT MAX(id) FROM audit) - ?", (AUDIT_KEPT,))

    def audit(self, limit: int) -> list[AuditEntry]:
        """Return the newest entries of the audit log, the newest first."""
        rows = self._database.read(
            "SELECT made_ms, clock_synchronised, who, action, subject FROM audit ORDER BY id DESC LIMIT ?", limit
        )
        return [AuditEntry(made_ms, bool(set_), *rest) for made_ms, set_, *rest in rows]
