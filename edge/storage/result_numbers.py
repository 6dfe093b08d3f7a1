"""The numbers of results: one for each that the device makes, by which a receiver sees what it misses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge.storage.checksums import RESULT
from edge.storage.database import Database

HIGHEST_NUMBER = (1 << 53) - 1
"""No number is higher: every reader of JSON holds it exactly."""

_HELD = """
SELECT MIN(number), MAX(number) FROM (
    SELECT number, number - ROW_NUMBER() OVER (ORDER BY number) AS run FROM (
        SELECT DISTINCT number FROM results WHERE number IS NOT NULL
        AND id NOT IN (SELECT id FROM outbox WHERE state = 'pending' AND NOT unheard AND kind = 'result')
    )
)
GROUP BY run ORDER BY 1 DESC
"""


@dataclass(frozen=True, slots=True)
class HeldResults:
    """The results that can be sent again.

    Attributes:
        highest: number of the newest result; the next has one more.
        ranges: first and last number of each range, the highest range first; results on their way to the broker are
            in none.
    """

    highest: int
    ranges: tuple[tuple[int, int], ...]


class ResultNumbers:
    """Gives each result the next number, and finds results by it.

    A number is never given twice, though its sample is erased: the counter is a row of its own. Every method raises
    StorageError as Database does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self) -> int:
        """Return the next number; to be called within the transaction that stores its result."""
        number = self._highest() + 1
        self._database.write("UPDATE result_numbers SET last = ?", number)
        return number

    def _highest(self) -> int:
        # Whichever is higher, for a counter that a changed bit lowered must not give a number again.
        found = self._database.read("SELECT last FROM result_numbers UNION ALL SELECT MAX(number) FROM results")
        return max((last for (last,) in found if isinstance(last, int) and 0 <= last < HIGHEST_NUMBER), default=0)

    def held(self) -> HeldResults:
        """Return which results can be sent again."""
        return HeldResults(self._highest(), tuple(self._database.read(_HELD)))

    def newest(self) -> str | None:
        """Return the payload of the newest result, if it is what was written."""
        found = self._database.read(
            f"SELECT payload, crc32 IS NULL OR crc32 = {RESULT} FROM results ORDER BY rowid DESC LIMIT 1"  # noqa: S608
        )
        return next((payload for payload, whole in found if whole), None)

    def between(self, first: int, last: int) -> Iterator[tuple[int, str, str | None]]:
        """Return number, identifier and payload of the results in a range.

        A payload that is not what was written is None.
        """
        found = self._database.read(
            f"SELECT number, id, payload, crc32 IS NULL OR crc32 = {RESULT} FROM results "  # noqa: S608
            "WHERE number BETWEEN ? AND ? ORDER BY number",
            first, last,
        )  # fmt: skip
        return ((number, result_id, payload if whole else None) for number, result_id, payload, whole in found)
