"""Results that devices hold and that are not here: lost behind their broker."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.database.base import Database

SETTLED_MS = 60_000
"""A device's list is compared so long after it came: its results may come by another session."""

AT_ONCE = 100
"""Devices that are compared in one go."""

ASKED = 1000
"""Results that a device sends again for one command, at most."""

Range = tuple[int, int]


def ranges(held: str) -> Iterator[Range]:
    """Give first and last number of each range of a device's list."""
    for part in filter(None, held.split(",")):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def missing_of(database: Database, device: int, held: str) -> list[Range]:
    """Return the numbers that a device holds and that are not here, in ranges."""
    missing: list[Range] = []
    for first, last in ranges(held):
        found = database.rows(
            "SELECT number FROM results WHERE device_id = ? AND number BETWEEN ? AND ? ORDER BY number",
            (device, first, last),
        )
        before = first - 1
        for number in (*(number for (number,) in found), last + 1):
            missing += _cut(before + 1, number - 1)
            before = number
    return missing


def _cut(first: int, last: int) -> Iterator[Range]:
    for start in range(first, last + 1, ASKED):
        yield start, min(start + ASKED - 1, last)


def count_missing(database: Database, now_ms: int) -> None:
    """Write how many results are missing of devices whose lists changed or lacked some."""
    for device, held in database.rows(
        "SELECT id, held FROM devices WHERE held_ms < ? AND (missing_ms IS NULL OR missing_ms < held_ms + ? "
        "OR results_missing > 0) ORDER BY missing_ms LIMIT ?", (now_ms - SETTLED_MS, SETTLED_MS, AT_ONCE),
    ):  # fmt: skip
        number = sum(last - first + 1 for first, last in missing_of(database, device, held))
        database.execute(
            "UPDATE devices SET results_missing = ?, missing_ms = ? WHERE id = ?",
            (number, now_ms, device),
        )
