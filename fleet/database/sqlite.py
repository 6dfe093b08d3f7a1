"""SQLite, for one clinic: the same tables in one file, without partitions."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet.database.base import DatabaseError, RefusedValueError, Values, marks
from fleet.database.schema import GROWING, SCHEMA_TABLE, check_version, definition, tables, views

LOCKED_S = 10.0


class SQLite:
    """See `fleet.database.base.Database`."""

    for_update = ""

    def __init__(self, path: Path) -> None:
        self.name = f"SQLite {path}"
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._path, timeout=LOCKED_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        return self._connection

    @contextmanager
    def _talking(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._open()
        except (sqlite3.DataError, sqlite3.IntegrityError, UnicodeError, OverflowError) as error:
            raise RefusedValueError(str(error)) from error
        except sqlite3.Error as error:
            raise DatabaseError(f"{self.name}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Give a transaction: all or nothing."""
        with self._talking() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return what a statement returns."""
        with self._talking() as connection:
            return connection.execute(statement, values).fetchall()

    def execute(self, statement: str, values: Values = ()) -> int:
        """Return how many rows a statement changed."""
        with self._talking() as connection:
            return connection.execute(statement, values).rowcount

    def execute_many(self, statement: str, rows: Iterable[Values]) -> None:
        """Do a statement for each row of values."""
        with self._talking() as connection:
            connection.executemany(statement, rows)

    def lock(self, table: str, *, alone: bool) -> None:
        """Do nothing: one writes at a time."""

    def append(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> set[tuple[int, int]]:
        """Add the rows that are not here yet."""
        names = ", ".join(f'"{column}"' for column in columns)
        statement = (
            f"INSERT INTO {table} ({names}) VALUES ({marks(columns)}) ON CONFLICT DO NOTHING RETURNING boot, seq"
        )
        with self._talking() as connection:
            return {key for row in rows for key in connection.execute(statement, row).fetchall()}

    def create(self, version: int) -> None:
        """Make tables, views and new columns; ConfigError where a newer collector made them."""
        made = [*tables("integer PRIMARY KEY", "blob", "")]
        shown = [*views("strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')")]
        digest = definition([*made, *(text for _, text in shown)])
        with self.transaction():
            self.execute(SCHEMA_TABLE)
            found = self.rows("SELECT version, digest FROM fleet_schema")
            check_version(found[0][0] if found else version, version, self.name)
            if found == [(version, digest)]:
                return
            for statement in made:
                self.execute(statement)
            for table, columns in GROWING.items():
                there = {row[1] for row in self.rows(f"PRAGMA table_info({table})")}
                for column, kind in columns.items():
                    if column not in there:
                        self.execute(f'ALTER TABLE {table} ADD COLUMN "{column}" {kind}')
            for view, statement in shown:
                self.execute(f"DROP VIEW IF EXISTS {view}")
                self.execute(statement)
            self.execute("DELETE FROM fleet_schema")
            self.execute("INSERT INTO fleet_schema VALUES (?, ?)", (version, digest))

    def is_ready(self, at_ms: Collection[int]) -> bool:
        """Say that rows of any time can be written: there are no partitions."""
        return True

    def prepare(self, at_ms: Collection[int]) -> None:
        """Do nothing."""

    def forget(self, table: str, before_ms: int) -> int:
        """Delete the older rows."""
        return self.execute(f"DELETE FROM {table} WHERE at_ms < ?", (before_ms,))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
