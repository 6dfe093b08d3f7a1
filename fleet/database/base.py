"""What the writer needs of a database; a statement has `?` for each parameter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Values = Sequence[Any]


class DatabaseError(Exception):
    """The database cannot be used now (away, full, without rights); a later try may succeed."""


class RefusedValueError(Exception):
    """The database cannot hold a value; without it the rest can be written."""


class Database(Protocol):
    """One connection, opened when it is needed; used by one thread.

    Every method raises DatabaseError, and those that write RefusedValueError.
    """

    name: str
    """What is shown of it: no password."""

    for_update: str
    """What a SELECT ends with that locks its rows."""

    def transaction(self) -> AbstractContextManager[None]:
        """Give a transaction: all or nothing."""

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return what a statement returns."""

    def execute(self, statement: str, values: Values = ()) -> int:
        """Return how many rows a statement changed."""

    def execute_many(self, statement: str, rows: Iterable[Values]) -> None:
        """Do a statement for each row of values."""

    def lock(self, table: str, *, alone: bool) -> None:
        """Lock a table until the transaction ends: against all writers, or those alone."""

    def append(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> set[tuple[int, int]]:
        """Add rows to a table by its key (boot, seq); return the keys of those that were not there."""

    def create(self, version: int) -> None:
        """Make tables, views and new columns; ConfigError where a newer collector made them."""

    def is_ready(self, at_ms: Collection[int]) -> bool:
        """Say whether rows of these times can be written."""

    def prepare(self, at_ms: Collection[int]) -> None:
        """Make ready for rows of these times, outside a transaction."""

    def forget(self, table: str, before_ms: int) -> int:
        """Remove what is older, outside a transaction; return how many partitions or rows went."""

    def close(self) -> None:
        """Close the connection; the next use opens it again."""


def marks(values: Sequence[object]) -> str:
    """Return as many `?`, with commas."""
    return ", ".join("?" * len(values))
