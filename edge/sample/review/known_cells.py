"""Known cells: settled cells of other samples, mixed into a gallery to tell how well people answer.

A cell is known when both readers of a signed sample gave it the same class, or a third person settled it. It is shown
under a number of its own, beside the sample's cells and like them, and never counts in the sample's result.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from edge.sample.review.random_order import rank
from edge.sample.review.rows import WITHDRAWN, Reading
from edge.sample.sample_row import Moment
from edge.screening.agreement import SICKLE
from edge.storage.database import Database
from edge.types import CLASSES

KNOWN_EACH = 5
"""So many sickle-like known cells a gallery has, and as many others, where there are as many."""

_FROM, _PER_SAMPLE = 1 << 39, 1 << 22
"""The lowest number under which a known cell is shown, and how many numbers its sample has."""

_SAMPLES = 40
"""Known cells are those of the newest signed samples that two people read."""

_KNOWN = """
WITH chosen AS (
    SELECT s.rowid AS place, s.id FROM samples s WHERE s.state = 'final' AND s.id != ?1
    AND EXISTS (SELECT 1 FROM reviews r WHERE r.sample_id = s.id AND r.reading = 'second')
    ORDER BY s.rowid DESC LIMIT ?2
), newest AS (
    SELECT sample_id, number, reading, class FROM reviews WHERE id IN (
        SELECT MAX(id) FROM reviews WHERE sample_id IN (SELECT id FROM chosen) GROUP BY sample_id, number, reading
    ) AND class != ''
)
SELECT o.place, o.id, a.number, COALESCE(t.class, a.class), COALESCE(c.class, 'abstained'), c.prob
FROM chosen o JOIN newest a ON a.sample_id = o.id AND a.reading = 'first'
JOIN newest b ON b.sample_id = o.id AND b.number = a.number AND b.reading = 'second'
LEFT JOIN newest t ON t.sample_id = o.id AND t.number = a.number AND t.reading = 'third'
JOIN cells c ON c.sample_id = o.id AND c.number = a.number
JOIN crops p ON p.sample_id = o.id AND p.number = a.number
WHERE a.class = b.class OR t.class IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class KnownCell:
    """A known cell.

    Attributes:
        shown: number under which it is shown in the other sample's gallery.
        sample_id: its own sample.
        number: its own number there.
        truth: the class that was settled.
        class_name: the classifier's, or `abstained`.
        p_sickle: its chance of being sickle-like; None where that is damaged.
    """

    shown: int
    sample_id: str
    number: int
    truth: str
    class_name: str
    p_sickle: float | None


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """How many known cells a reading answered, and how many as they were settled.

    Only sickle-like or not is compared, as in the agreement of two readers.
    """

    answered: int
    right: int


def is_known(shown: int) -> bool:
    """Return whether a number of a gallery is that of a known cell."""
    return shown >= _FROM


def known_cells(database: Database, sample_id: str, reading: Reading) -> list[KnownCell]:
    """Return the known cells of a reading: those answered, and drawn ones beside them.

    A third person is asked none.
    """
    if reading == "third":
        return []
    every = [_known(*row) for row in database.read(_KNOWN, sample_id, _SAMPLES) if row[0] < _FROM // _PER_SAMPLE]
    answered = newest_known_answers(database, sample_id, reading)
    every.sort(key=lambda one: (one.shown not in answered, rank(sample_id, f"known {one.sample_id} {one.number}")))
    sickle = [one for one in every if one.truth == SICKLE]
    others = [one for one in every if one.truth != SICKLE]
    return sickle[:KNOWN_EACH] + others[:KNOWN_EACH]


def _known(place: int, sample_id: str, number: int, truth: str, class_name: str, prob: str) -> KnownCell:
    try:
        chance = float(json.loads(prob)[CLASSES.index(SICKLE)])
    except (ValueError, TypeError, IndexError):  # damaged; nothing is counted by it
        chance = None
    return KnownCell(_FROM + place * _PER_SAMPLE + number, sample_id, number, truth, class_name, chance)


def known_crop(database: Database, shown: int) -> bytes | None:
    """Return the JPEG of a known cell, if it is kept."""
    place, number = divmod(shown - _FROM, _PER_SAMPLE)
    found = database.read(
        "SELECT p.jpeg FROM samples s JOIN crops p ON p.sample_id = s.id WHERE s.rowid = ? AND s.state = 'final' "
        "AND p.number = ?",
        place, number,
    )  # fmt: skip
    return found[0][0] if found else None


def add_known_answers(
    connection: sqlite3.Connection,
    sample_id: str,
    given: Mapping[KnownCell, str],
    by: str,
    reading: Reading,
    moment: Moment,
) -> None:
    """Store answers on known cells, WITHDRAWN for one that is taken back; within a transaction."""
    connection.executemany(
        "INSERT INTO known_answers (sample_id, reading, known_sample_id, known_number, truth, class, by, made_ms, "
        "clock_synchronised, after_review) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT COALESCE(MAX(id), 0) FROM reviews))",
        [
            (sample_id, reading, one.sample_id, one.number, one.truth, name, by, moment.made_ms,
             moment.clock_synchronised)
            for one, name in given.items()
        ],
    )  # fmt: skip


_NEWEST = """
SELECT s.rowid, k.known_number, k.truth, k.class FROM known_answers k JOIN samples s ON s.id = k.known_sample_id
WHERE k.id IN (
    SELECT MAX(id) FROM known_answers WHERE sample_id = ? AND reading = ? GROUP BY known_sample_id, known_number
) AND k.class != ?
"""


def newest_known_answers(database: Database, sample_id: str, reading: Reading) -> dict[int, str]:
    """Return the class that a reading gives each known cell, by its number as shown."""
    rows = database.read(_NEWEST, sample_id, reading, WITHDRAWN)
    return {_FROM + place * _PER_SAMPLE + number: name for place, number, _, name in rows}


def compared(database: Database, sample_id: str, reading: Reading) -> KnownAnswers:
    """Return how a reading named the known cells."""
    rows = database.read(_NEWEST, sample_id, reading, WITHDRAWN)
    right = sum((truth == SICKLE) == (name == SICKLE) for _, _, truth, name in rows)
    return KnownAnswers(len(rows), right)


def known_answers_of(database: Database, sample_id: str, reading: Reading) -> list[tuple[int, int, str, str, int]]:
    """Return all answers on known cells, the oldest first.

    Returns:
        The newest row of reviews before it, number under which the cell is shown, class, person, and wall time in ms.
    """
    rows = database.read(
        "SELECT k.after_review, s.rowid, k.known_number, k.class, k.by, k.made_ms FROM known_answers k "
        "JOIN samples s ON s.id = k.known_sample_id WHERE k.sample_id = ? AND k.reading = ? ORDER BY k.id",
        sample_id, reading,
    )  # fmt: skip
    return [
        (after, _FROM + place * _PER_SAMPLE + number, name, by, made_ms)
        for after, place, number, name, by, made_ms in rows
    ]
