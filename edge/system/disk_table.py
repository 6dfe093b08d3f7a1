"""Tables in a file of the system's temporary folder, for what would be too much for memory."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.errors import StorageError


class DiskTables:
    """SQLite tables of one program; their file has no name and is gone with this object.

    Each method raises StorageError when the disk will not take them.
    """

    def __init__(self, *definitions: str) -> None:
        """Take the statements that make the tables."""
        with _disk_errors():
            # Another thread may be the one that lets go of it.
            self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._connection.close)
            self.do("PRAGMA journal_mode = OFF")  # Nothing is to be had of it after a crash.
        for definition in definitions:
            self.do(definition)

    def do(self, statement: str, *values: Any) -> None:
        """Run a statement."""
        with _disk_errors():
            self._connection.execute(statement, values)

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a query one after the other."""
        with _disk_errors():
            yield from self._connection.execute(query, values)

    def value(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row; None where there is no row."""
        with _disk_errors():
            row = self._connection.execute(query, values).fetchone()
        return None if row is None else row[0]


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(
            f"the temporary folder of this computer cannot hold the list of files: {error}. Free space there, or set "
            "TMPDIR to a folder with space"
        ) from error
