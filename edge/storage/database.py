"""The device's one database: opened, checked, migrated, and written in whole transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any
from urllib.parse import quote

from edge.config.model import Config
from edge.errors import LockedError, StorageError
from edge.storage import checksums
from edge.storage.migrations import MIGRATIONS
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.owner import refuse_other_user

log = logging.getLogger(__name__)

APPLICATION_ID = 0x5343_4F50
"""Marks our files, in the header of SQLite's format: "SCOP"."""

LOCK_S = 5.0
"""How long a write waits for another program to let the database go."""

_REMEDIES = {
    "full": "Free some space; nothing that was stored is lost",
    "unable to open": "Set device.state_dir to a folder that can be written",
    "readonly": "Give this user the right to write it, or set device.state_dir to another folder",
    "disk I/O error": "The disk is full or failing; nothing that was stored before is lost",
    "locked": "Another program has held it for seconds: a second sicklescope, or a backup, may be at work",
}
"""What to do, by a part of SQLite's message: the numeric codes are not in Python 3.10."""

_VALUES = ("CHECK constraint failed", "NULL value in", "non-unique entry")
"""What `quick_check` says of a file that is whole, with a row that is not: whoever reads the row sees to that."""

_DAMAGED = (
    "The file is damaged, and left as it is. Move it and the files beside it (-wal, -shm) aside, and put a backup in "
    "its place; `sqlite3 FILE .recover` shows what is in it"
)


def database_path(config: Config) -> Path:
    """Return where a device keeps its samples, and the results that wait for the broker."""
    return config.device.state_dir / "sicklescope.sqlite3"


BEFORE = "before-upgrade-v"
"""In the name of a copy that is kept beside a database when it is brought up to date; its version follows."""


def kept_copies(path: Path) -> list[Path]:
    """Return the copies from before upgrades beside a database, oldest first."""
    copies = path.parent.glob(f"{path.name}.{BEFORE}*")
    return sorted(copies, key=lambda copy: int(copy.name.rpartition("v")[2]))


def is_older(path: Path) -> bool:
    """Return whether a database is of an older version, which opening it would change for good."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=LOCK_S)) as found:
            ((version,),) = found.execute("PRAGMA user_version")
    except sqlite3.Error:
        return False  # whoever opens it finds out
    return 0 < int(version) < len(MIGRATIONS)


def _make_private(path: Path) -> None:
    """Let only the user, and the group where it may already, read the file and its logs."""
    if not path.exists():
        path.touch(0o600)
    found = path.stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o027:
        path.chmod(found.st_mode & 0o750)


class Database:
    """One SQLite file; what a `transaction` wrote survives a power cut at any instruction.

    Any thread may call it; calls wait for each other. Several programs may have the same file open (the service, and
    commands beside it). A context manager; `close` may be called more than once. Every method raises StorageError when
    the disk is full, the file cannot be written, is damaged or another program's; such a file is never deleted or
    changed.
    """

    def __init__(self, path: Path, checked: bool = True) -> None:
        """Open `path`, making it and its folder where they are missing.

        Args:
            path: of the file.
            checked: whether all of it is read to see that it is whole, which takes seconds for a large one.
        """
        self.path = path.expanduser()
        self._lock = RLock()
        self._depth = 0
        refuse_other_user(self.path.parent)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _make_private(self.path)
        except OSError as error:
            raise StorageError(
                f"the folder of {self.path} cannot be made: {error}. Set device.state_dir to one that can be written"
            ) from error
        with self._explained():
            # One connection for all threads: `_lock` keeps them apart. Transactions begin where we say so.
            self._connection = sqlite3.connect(self.path, timeout=LOCK_S, check_same_thread=False, isolation_level=None)
            checksums.install(self._connection)
            try:
                self._prepare(checked)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, checked: bool) -> None:
        """Refuse a file that is not ours or not whole, unchanged; then bring it up to date."""
        self._refuse_foreign()
        if checked:
            self._check()
        self._connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode only FULL syncs at each commit; NORMAL may lose the last ones with the power.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        # What is deleted is overwritten: an erased sample leaves nothing in free pages.
        self._connection.execute("PRAGMA secure_delete = ON")
        if self._version() < len(MIGRATIONS):
            if version := self._version():
                # An older program refuses what this one makes of it: a rollback puts the copy back.
                self.backup(self.path.with_name(f"{self.path.name}.{BEFORE}{version}"))
            self._migrate()

    def _check(self) -> None:
        """Read the whole file, and refuse one that is damaged."""
        found = [" ".join(line.split()) for (line,) in self.read("PRAGMA quick_check")]
        bad = [line for line in found if line != "ok" and not line.startswith(_VALUES)]
        if bad:
            raise sqlite3.DatabaseError(bad[0])
        if found != ["ok"]:
            log.error("%s: %s. The rows concerned are set aside", self.path, "; ".join(found))

    def _migrate(self) -> None:
        with self.transaction() as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            version = self._version()  # within, for another program may have been quicker
            for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in step:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    def _refuse_foreign(self) -> None:
        ((tables,),) = self.read("SELECT COUNT(*) FROM sqlite_master")
        ((application,),) = self.read("PRAGMA application_id")
        if tables and application != APPLICATION_ID:
            raise StorageError(
                f"{self.path} is another program's database, and left as it is. "
                "Set device.state_dir to another folder, or move the file aside"
            )
        version = self._version()
        if version > len(MIGRATIONS):
            raise StorageError(
                f"{self.path} was written by a newer sicklescope: it has version {version}, this program knows "
                f"{len(MIGRATIONS)}. Install the newer one again, or put a backup of before in its place"
            )

    def _version(self) -> int:
        ((version,),) = self.read("PRAGMA user_version")
        return int(version)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say of SQLite's errors what they mean here."""
        try:
            with self._lock:
                yield
        except sqlite3.ProgrammingError:
            raise  # used after close, or a wrong statement: a mistake in the program, not in the file
        except sqlite3.IntegrityError:
            raise  # a rule of the tables, for whoever wrote to them
        except sqlite3.Error as error:
            remedy = next((text for part, text in _REMEDIES.items() if part in str(error)), _DAMAGED)
            kind = LockedError if "locked" in str(error) else StorageError
            raise kind(f"results cannot be kept in {self.path}: {error}. {remedy}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection within a transaction: all is on the disk on leaving, or nothing.

        One within another of the same thread is part of it, so that several tables may be written as one.
        """
        with self._explained():
            if not self._depth:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._connection
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._depth == 1 and self._connection.in_transaction:  # a full disk ends it by itself
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def write(self, statement: str, *values: str | float | bytes | None) -> int:
        """Run one statement in a transaction; returns the number of rows it changed."""
        with self.transaction() as connection, closing(connection.execute(statement, values)) as cursor:
            return cursor.rowcount

    def read(self, statement: str, *values: str | float | bytes | None) -> list[Any]:
        """Return all rows of a query, as tuples."""
        with self._explained():
            return self._connection.execute(statement, values).fetchall()

    def backup(self, target: Path, carried: Iterable[tuple[str, bytes]] = ()) -> None:
        """Copy the whole database to `target` while it may be in use, in place of a file there.

        Args:
            target: one file, complete or absent.
            carried: name and content of files that the copy holds besides; see `carried`.

        Raises:
            StorageError: One of the two cannot be read or written.
        """
        if target.resolve() == self.path.resolve():
            raise StorageError(f"{target} is the database itself. Give the backup another name")
        if target.exists() and not target.is_file():
            raise StorageError(f"{target} is no file, such as a device or a folder. Give the backup the name of a file")
        with aside(target.parent) as folder:
            copy = folder / target.name
            with self._explained(), closing(sqlite3.connect(copy)) as connection:
                self._connection.backup(connection)
                # No second file beside it: a backup is carried about.
                connection.execute("PRAGMA journal_mode = DELETE")
                for number, (name, content) in enumerate(carried):
                    if not number:
                        connection.execute(
                            "CREATE TABLE carried (name TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL)"
                        )
                    connection.execute("INSERT INTO carried VALUES (?, ?)", (name, content))
                connection.commit()
            with storage_errors(target):
                copy.chmod(0o600)
            move(copy, target)

    def rewrite_order(self) -> None:
        """Write anew all indexes, and `cells`, which is one: each row that is there is found again.

        A key that a changed bit put out of order leads searches astray, and so what deletes. Not within a transaction.
        """
        with self._explained():
            self._connection.execute("PRAGMA foreign_keys = OFF")  # else what refers to cells is deleted with them
            try:
                with self.transaction() as connection:
                    for statement in (
                        "REINDEX", "CREATE TABLE anew AS SELECT * FROM cells", "DELETE FROM cells",
                        "INSERT OR IGNORE INTO cells SELECT * FROM anew", "DROP TABLE anew",
                    ):  # fmt: skip
                        connection.execute(statement)
            finally:
                self._connection.execute("PRAGMA foreign_keys = ON")

    def attach(self, other: Path) -> None:
        """Let statements read another file as `attached`."""
        with self._explained():
            self._connection.execute("ATTACH DATABASE ? AS attached", (str(other),))

    def detach(self) -> None:
        """Let the attached file go."""
        with self._explained():
            self._connection.execute("DETACH DATABASE attached")

    def forget(self) -> None:
        """Let nothing that was deleted remain in the files: empty the log.

        The pages were overwritten already.
        """
        with self._explained():
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        with storage_errors(self.path):
            for copy in (*kept_copies(self.path), *self.path.parent.glob(f"{self.path.name}.kept-*")):
                copy.unlink()
        if busy:
            raise StorageError(
                f"the log beside {self.path} still holds what was deleted, for another program reads it. End that "
                "program, or restart the service: the log is emptied when the last one closes it"
            )

    def close(self) -> None:
        """Close the file; nothing is lost."""
        with self._explained():
            self._connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
