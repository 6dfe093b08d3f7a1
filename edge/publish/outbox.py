"""Results wait here until the broker has taken them. One SQLite file, which survives a power cut at any instruction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TypeVar
from uuid import UUID

from edge.errors import StorageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id TEXT PRIMARY KEY NOT NULL,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'refused')),
    refused_reason TEXT NOT NULL DEFAULT ''
)
"""

_REMEDIES = {
    "full": "Free some space; nothing that was stored is lost",
    "unable to open": "Set device.state_dir to a folder that can be written",
    "readonly": "Give this user the right to write it, or set device.state_dir to another folder",
    "disk I/O error": "The disk is full or failing; nothing that was stored before is lost",
    "locked": "Another program has held it for seconds; is a second sicklescope, or a backup, at work?",
    "column": "It is another program's database; set device.state_dir to another folder",
}
"""What to do, by a part of SQLite's message: the numeric codes are not in Python 3.10."""

_DAMAGED = "The file is damaged, and left as it is. Move it aside to go on; `sqlite3 FILE .recover` shows what is in it"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Row:
    """A stored result. created_ms: wall time, milliseconds since 1970 UTC. refused_reason: the broker's, or empty."""

    id: str
    topic: str
    payload: str
    created_ms: int
    refused_reason: str


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How many results wait for the broker, and how many it has refused."""

    pending: int
    refused: int


class Outbox:
    """Results by UUID, oldest first. When `put` returns, the result is on the disk, whatever happens next.

    Any thread may call it; calls wait for each other. Two programs may have the same file open (the service, and
    `sicklescope resend`). A context manager; `close` may be called more than once. Every method raises StorageError
    when the disk is full, the file cannot be written or is damaged; a damaged file is never deleted or changed.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, making it and its folder where they are missing."""
        self.path = path.expanduser()
        self._lock = Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the folder of {self.path} cannot be made: {error}. Set device.state_dir to one that can be written"
            ) from error
        self._connection = self._guarded(self._open)

    def _open(self) -> sqlite3.Connection:
        # One connection for all threads: `_lock` keeps them apart.
        connection = sqlite3.connect(self.path, timeout=5.0, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # In WAL mode only FULL syncs at each commit; NORMAL may lose the last ones with the power.
            connection.execute("PRAGMA synchronous = FULL")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(" ".join(found.split()))
            with connection:
                connection.execute(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _guarded(self, work: Callable[[], _T]) -> _T:
        """Run `work`, and say of SQLite's errors what they mean here."""
        try:
            with self._lock:
                return work()
        except sqlite3.ProgrammingError:
            raise  # used after close: a mistake in the program, not in the file
        except sqlite3.Error as error:
            remedy = next((text for part, text in _REMEDIES.items() if part in str(error)), _DAMAGED)
            raise StorageError(f"results cannot be kept in {self.path}: {error}. {remedy}") from error

    def _write(self, statement: str, *values: str | int) -> int:
        """Run one statement in a transaction of its own; returns the number of rows it changed."""

        def work() -> int:
            with self._connection, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.rowcount

        return self._guarded(work)

    def _read(self, statement: str, *values: str | int) -> list[tuple[str, str, str, int, str]]:
        return self._guarded(lambda: self._connection.execute(statement, values).fetchall())

    def put(self, result_id: UUID | str, topic: str, payload: str) -> None:
        """Store a result as pending; on return it is on the disk. One that is there already stays as it is."""
        self._write(
            "INSERT INTO outbox (id, topic, payload, created_ms) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            str(result_id), topic, payload, time.time_ns() // 1_000_000,
        )  # fmt: skip

    def pending(self, limit: int = -1) -> list[Row]:
        """Return the oldest `limit` results that wait for the broker (all when negative)."""
        return self._rows("pending", limit)

    def refused(self) -> list[Row]:
        """Return the results that the broker refused, oldest first."""
        return self._rows("refused", -1)

    def _rows(self, state: str, limit: int) -> list[Row]:
        found = self._read(
            "SELECT id, topic, payload, created_ms, refused_reason FROM outbox WHERE state = ? ORDER BY rowid LIMIT ?",
            state, limit,
        )  # fmt: skip
        return [Row(*values) for values in found]

    def delete(self, result_id: UUID | str) -> None:
        """Forget a result, because the broker has taken it."""
        self._write("DELETE FROM outbox WHERE id = ?", str(result_id))

    def mark_refused(self, result_id: UUID | str, reason: str) -> None:
        """Keep a result that the broker refused; it is not sent again before `resend`."""
        self._write("UPDATE outbox SET state = 'refused', refused_reason = ? WHERE id = ?", reason, str(result_id))

    def resend(self) -> int:
        """Make the refused results pending again; returns how many."""
        return self._write("UPDATE outbox SET state = 'pending', refused_reason = '' WHERE state = 'refused'")

    def counts(self) -> OutboxCounts:
        """Count the results that are kept."""
        statement = "SELECT COALESCE(SUM(state = 'pending'), 0), COALESCE(SUM(state = 'refused'), 0) FROM outbox"
        ((pending, refused),) = self._guarded(lambda: self._connection.execute(statement).fetchall())
        return OutboxCounts(pending, refused)

    def close(self) -> None:
        """Close the file; nothing is lost."""
        self._guarded(self._connection.close)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
