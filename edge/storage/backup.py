"""Copies of the database: kept before an upgrade, put back after a rollback, or carried to a replacement device."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.errors import StorageError
from edge.storage.carried import unpack
from edge.storage.database import APPLICATION_ID, Database, kept_copies
from edge.storage.migrations import MIGRATIONS, NEW_BLOCK
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.lock import exclusive

LOGS = ("-wal", "-shm")
"""Endings of the files that SQLite keeps beside a database."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restored database holds.

    Attributes:
        samples: how many.
        pending: results that wait for the broker.
        devices: `site/device` of its results.
        files: that the backup carried, by their names in the state folder.
        kept: where the database before lies.
    """

    samples: int
    pending: int
    devices: tuple[str, ...]
    files: tuple[str, ...]
    kept: Path | None


def restore(path: Path, backup: Path) -> Restored:
    """Put a backup in the place of the database at `path`.

    The database is kept beside it under another name.

    No service may run. Raises StorageError when the backup is damaged or another program's, BusyError for a service.
    """
    _refuse_other_files(backup)
    with exclusive(path.parent), aside(path.parent) as folder:
        copy = folder / path.name
        with storage_errors(copy):
            shutil.copyfile(backup, copy)
            copy.chmod(0o600)
        with _damage_named(backup), _alone(copy) as database:
            # Since the backup the device may have given the next numbers.
            database.write(NEW_BLOCK.format(table="result_numbers"))
            ((samples,),) = database.read("SELECT COUNT(*) FROM samples")
            ((pending,),) = database.read("SELECT COUNT(*) FROM outbox WHERE kind = 'result'")
            devices = sorted(set(_devices(database)))
            files = unpack(database, path.parent)
        kept = _set_aside(path) if any(_files(path)) else None
        move(copy, path)
    return Restored(samples, pending, tuple(devices), tuple(files), kept)


def _refuse_other_files(backup: Path) -> None:
    """Refuse what is no backup by its header, for SQLite makes a new database of an empty file."""
    if not backup.is_file():
        raise StorageError(f"{backup} not found. Give a file that `sicklescope backup` wrote")
    try:
        with backup.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise StorageError(f"{backup} cannot be read: {error.strerror}. Give this user the right to read it") from error
    if header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        found = "is no file that `sicklescope backup` wrote" if header else "is empty: it was not copied whole"
        raise StorageError(f"{backup} {found}. Nothing was changed; give another backup")
    if int.from_bytes(header[60:64], "big") > len(MIGRATIONS):
        raise StorageError(f"{backup} was written by a newer sicklescope. Nothing was changed; install that version")


@contextmanager
def _damage_named(backup: Path) -> Iterator[None]:
    """Say of a damaged copy which backup is damaged, and that another one is needed."""
    try:
        yield
    except StorageError as error:
        cause = error.__cause__
        if not isinstance(cause, sqlite3.DatabaseError) or isinstance(cause, sqlite3.OperationalError):
            raise
        raise StorageError(f"{backup} is damaged: {cause}. Nothing was changed; give another backup") from error


def _devices(database: Database) -> Iterator[str]:
    for (payload,) in database.read("SELECT payload FROM results"):
        try:
            result = json.loads(payload)
            yield f"{result['site']}/{result['device']}"
        except (ValueError, TypeError, KeyError):
            continue  # a damaged one, which the backup brings as it was


def undo_upgrade(path: Path, export: Path) -> tuple[Path, int]:
    """Put back the copy from before the newest upgrade.

    Results made since are written to `export`.

    Args:
        path: The database, as this version has it; it is kept beside the copy.
        export: Gets a JSON object a line, each a result as it was published.

    Returns:
        Where the database of this version is kept, and how many results were written.

    Raises:
        StorageError: There is no copy, or one of the files cannot be read or written.
        BusyError: A service runs.
    """
    copies = kept_copies(path)
    if not copies:
        raise StorageError(f"no copy from before an upgrade lies beside {path}. Put a backup in its place")
    with exclusive(path.parent), aside(path.parent) as folder:
        before = folder / path.name
        with storage_errors(before):
            shutil.copyfile(copies[-1], before)
            before.chmod(0o600)
        with Database(path) as database:
            database.attach(before)
            rows = database.read("SELECT payload FROM results WHERE id NOT IN (SELECT id FROM attached.results)")
            if database.read("SELECT 1 FROM attached.sqlite_master WHERE name = 'result_numbers'"):
                database.write(NEW_BLOCK.format(table="attached.result_numbers"))
            database.detach()
        with aside(export.parent) as exports:
            with storage_errors(export):
                (exports / export.name).write_text("".join(f"{payload}\n" for (payload,) in rows), "utf-8")
                (exports / export.name).chmod(0o600)
            move(exports / export.name, export)
        kept = _set_aside(path)
        move(before, path)
    return kept, len(rows)


@contextmanager
def _alone(path: Path) -> Iterator[Database]:
    """Open a database and leave it as one file, without a log beside it."""
    with Database(path) as database:
        yield database
        database.read("PRAGMA journal_mode = DELETE")


def _files(path: Path) -> list[Path]:
    """Return which of the logs and the database itself are there, in this order."""
    return [one for one in (path.with_name(path.name + end) for end in (*LOGS, "")) if one.exists()]


def _set_aside(path: Path) -> Path:
    """Rename the database and its logs, so that a log is never applied to another database."""
    kept = path.with_name(f"{path.name}.kept-{time.strftime('%Y%m%dT%H%M%S')}")
    with storage_errors(kept):
        for file in _files(path):
            file.rename(kept.with_name(kept.name + file.name.removeprefix(path.name)))
    return kept
