"""What people said of a sample's cells, as rows that are only ever added: answers, marks of missed cells, notes."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.errors import DamagedSampleError
from edge.sample.sample_row import Moment
from edge.storage.checksums import NUMBER_WEIGHT, checksum
from edge.storage.database import Database

Reading = Literal["first", "second", "third"]
"""first: the review that counts. second: another person's, blind to it. third: settles where the two differ."""

WITHDRAWN = ""
"""Stands for a class in an answer that takes back the one before."""

MARK_UNIT = 10_000
"""Places of marks are stored in parts of a picture's width and height of this size: whole numbers, for the checksum."""

_NEWEST = """newest AS (SELECT number, reading, class, by, reason FROM reviews WHERE id IN
(SELECT MAX(id) FROM reviews WHERE sample_id = ? GROUP BY number, reading))"""

COUNTED = (
    f"{_NEWEST}, counted AS (SELECT number, class, by, reason FROM newest n WHERE class != '' AND (reading = 'third' "  # noqa: S608
    "OR reading = 'first' AND NOT EXISTS (SELECT 1 FROM newest t WHERE t.number = n.number AND t.reading = 'third' "
    "AND t.class != '')))"
)
"""SQL: the answer that counts for each cell, `counted (number, class, by, reason)`; takes a sample's identifier."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of a cell.

    Attributes:
        row: number of the answer among all of the device.
        number: of the cell.
        class_name: None where an earlier answer is taken back.
        old: class in force before it, the classifier's or a person's; empty where version 0.6 did not keep it.
        by: who said so.
        reason: why, in words, or empty.
        reading: in which reading.
        made_ms: when, milliseconds since 1970 UTC.
        clock_synchronised: whether that can be believed.
    """

    row: int
    number: int
    class_name: str | None
    old: str
    by: str
    reason: str
    reading: Reading
    made_ms: int
    clock_synchronised: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A cell that the detector missed, marked by a person on the picture of a field.

    x, y: parts of the picture's width and height, 0 to 1. class_name: None where the mark is taken back.
    """

    mark: int
    field: int
    x: float
    y: float
    class_name: str | None
    by: str
    reason: str
    made_ms: int


@dataclass(frozen=True, slots=True)
class Note:
    """A person's note on a sample."""

    text: str
    by: str
    made_ms: int


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer to be stored.

    class_name: WITHDRAWN takes back the one before. drawn: whether the cell is a normal one drawn at random.
    """

    number: int
    class_name: str
    old: str
    drawn: bool


def add_answers(
    connection: sqlite3.Connection,
    sample_id: str,
    given: Iterable[NewAnswer],
    by: str,
    reason: str,
    reading: Reading,
    moment: Moment,
) -> None:
    """Store answers; within a transaction.

    Raises:
        sqlite3.IntegrityError: The sample has no such cell.
    """
    connection.executemany(
        "INSERT INTO reviews (sample_id, number, class, by, reason, made_ms, clock_synchronised, reading, old, drawn, "
        "crc32) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (sample_id, one.number, one.class_name, by, reason, moment.made_ms, moment.clock_synchronised, reading,
             one.old, int(one.drawn),
             checksum(one.class_name, by, reason, moment.made_ms, reading, one.old, int(one.drawn))
             + one.number * NUMBER_WEIGHT)
            for one in given
        ],
    )  # fmt: skip


def answers(database: Database, sample_id: str, reading: Reading | None = None) -> list[Answer]:
    """Return all answers on a sample, or on one reading of it, the oldest first."""
    found = database.read(
        "SELECT id, number, class, old, by, reason, reading, made_ms, clock_synchronised FROM reviews "
        "WHERE sample_id = ?1 AND (?2 IS NULL OR reading = ?2) ORDER BY id",
        sample_id, reading,
    )  # fmt: skip
    return [
        Answer(row, number, name or None, old, by, reason, reading_, made_ms, bool(sure))
        for row, number, name, old, by, reason, reading_, made_ms, sure in found
    ]


def newest_answers(database: Database, sample_id: str, reading: Reading) -> dict[int, str]:
    """Return the class that a reading gives each of its cells."""
    newest = {one.number: one.class_name for one in answers(database, sample_id, reading)}
    return {number: name for number, name in newest.items() if name is not None}


def readers(database: Database, sample_id: str) -> dict[Reading, tuple[str, ...]]:
    """Return who has answered in each reading of a sample."""
    found = database.read("SELECT reading, by FROM reviews WHERE sample_id = ? ORDER BY id", sample_id)
    names: dict[Reading, dict[str, None]] = {"first": {}, "second": {}, "third": {}}
    for reading, by in found:
        names.get(reading, {})[by] = None
    return {reading: tuple(by) for reading, by in names.items()}


def reviewed(database: Database, sample_id: str) -> Counter[tuple[str, str]]:
    """Count a sample's reviewed cells by (automatic class or `abstained`, class that counts).

    Raises:
        DamagedSampleError: A cell is lost whose review is there, by a changed bit in what ties them.
    """
    found = database.read(
        f"WITH {COUNTED} SELECT c.sample_id IS NULL, COALESCE(c.class, 'abstained'), n.class, COUNT(*) FROM counted n "  # noqa: S608
        "LEFT JOIN cells c ON c.sample_id = ? AND c.number = n.number GROUP BY 1, 2, 3",
        sample_id, sample_id,
    )  # fmt: skip
    lost = sum(count for missing, _, _, count in found if missing)
    if lost:
        raise DamagedSampleError(
            f"what is stored of the sample is damaged: {lost} of its reviewed cells are not there. "
            "Export it, then discard or erase it, and look to the disk"
        )
    return Counter({(automatic, person): count for _, automatic, person, count in found})


def newest_reviewed(database: Database, limit: int) -> list[str]:
    """Return the identifiers of the newest samples that were reviewed and not discarded."""
    found = database.read(
        "SELECT id FROM samples WHERE state != 'discarded' AND reviews > 0 ORDER BY rowid DESC LIMIT ?", limit
    )
    return [str(one) for (one,) in found]


def drawn_answers(database: Database, sample_ids: Sequence[str]) -> dict[str, dict[int, str]]:
    """Return what was said last of the cells called normal that were drawn at random.

    Args:
        database: of the device.
        sample_ids: of which samples.

    Returns:
        By sample, class by the cell's number.
    """
    found = database.read(
        "SELECT sample_id, number, class FROM reviews WHERE id IN (SELECT MAX(id) FROM reviews "
        "WHERE sample_id IN (SELECT value FROM json_each(?)) AND drawn AND reading != 'second' "
        "GROUP BY sample_id, number, reading) AND class != '' ORDER BY reading",
        json.dumps(sample_ids),
    )
    by_sample: dict[str, dict[int, str]] = {}
    for one, number, name in found:  # a third reader's come last, and stand above the first one's
        by_sample.setdefault(one, {})[number] = name
    return by_sample


def add_marks(connection: sqlite3.Connection, sample_id: str, marks: Sequence[Mark], moment: Moment) -> None:
    """Store marks; within a transaction."""
    rows = [
        (one.mark, one.field, round(one.x * MARK_UNIT), round(one.y * MARK_UNIT), one.class_name or WITHDRAWN, one.by,
         one.reason, one.made_ms)
        for one in marks
    ]  # fmt: skip
    connection.executemany(
        "INSERT INTO marks (sample_id, mark, field, x, y, class, by, reason, made_ms, clock_synchronised, crc32) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(sample_id, *row, moment.clock_synchronised, checksum(*row)) for row in rows],
    )


def marks(database: Database, sample_id: str) -> list[Mark]:
    """Return all marks of a sample, the oldest first, each as it was said last."""
    found = database.read(
        "SELECT mark, field, x, y, class, by, reason, made_ms FROM marks WHERE id IN "
        "(SELECT MAX(id) FROM marks WHERE sample_id = ? GROUP BY mark) ORDER BY mark",
        sample_id,
    )
    return [
        Mark(mark, field, x / MARK_UNIT, y / MARK_UNIT, name or None, *rest) for mark, field, x, y, name, *rest in found
    ]


def marked(database: Database, sample_id: str) -> Mapping[str, int]:
    """Count a sample's marked cells by class."""
    return Counter(one.class_name for one in marks(database, sample_id) if one.class_name is not None)


def add_note(database: Database, sample_id: str, text: str, by: str, moment: Moment) -> None:
    """Store a note."""
    database.write(
        "INSERT INTO notes (sample_id, text, by, made_ms, clock_synchronised) VALUES (?, ?, ?, ?, ?)",
        sample_id, text, by, moment.made_ms, moment.clock_synchronised,
    )  # fmt: skip


def notes(database: Database, sample_id: str) -> list[Note]:
    """Return the notes on a sample, the oldest first."""
    found = database.read("SELECT text, by, made_ms FROM notes WHERE sample_id = ? ORDER BY id", sample_id)
    return [Note(*row) for row in found]
