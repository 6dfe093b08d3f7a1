"""The rows of a sample's cells: written with their checksums, and read though they be damaged."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from edge.sample.cell_records import CellChanges
from edge.storage.checksums import CELL, CELL_CALL, MARK, NUMBER_WEIGHT, REVIEW
from edge.storage.database import Database
from edge.types import CLASSES

ABSTAINED_NAME = "abstained"
"""How a cell that is in no class is called where a text is needed."""


@dataclass(frozen=True, slots=True)
class StoredCell:
    """A cell with what a person said of it last. class_name: the classifier's, or `abstained`."""

    number: int
    island: int
    x_um: float
    y_um: float
    field: int
    score: float
    class_name: str
    prob: tuple[float | None, ...]
    reviewed: str | None
    reviewed_by: str | None
    reviewed_reason: str | None
    pictured: bool


def save_changes(connection: sqlite3.Connection, sample_id: str, changes: CellChanges) -> None:
    """Store what a field changed in a sample's cells; within a transaction."""
    for kept, dropped in changes.joined:
        # The one that goes on may never have been seen whole: it then takes the other's row.
        moved = connection.execute(
            f"UPDATE OR IGNORE cells SET number = ?1, crc32 = crc32 + (?1 - number) * {NUMBER_WEIGHT} "  # noqa: S608
            "WHERE sample_id = ?2 AND number = ?3",
            (kept, sample_id, dropped),
        )
        if moved.rowcount:  # its reviews went with it
            connection.execute(
                f"UPDATE reviews SET crc32 = crc32 + (?1 - ?3) * {NUMBER_WEIGHT} "  # noqa: S608
                "WHERE sample_id = ?2 AND number = ?1",
                (kept, sample_id, dropped),
            )
        connection.execute("DELETE FROM cells WHERE sample_id = ? AND number = ?", (sample_id, dropped))
    connection.executemany(
        "DELETE FROM cells WHERE sample_id = ? AND number = ?", [(sample_id, number) for number in changes.gone]
    )
    connection.executemany(
        "INSERT INTO cells (sample_id, number, island, x_um, y_um, field, score, class, prob) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sample_id, number) DO UPDATE SET "
        "island = excluded.island, x_um = excluded.x_um, y_um = excluded.y_um, field = excluded.field, "
        "score = excluded.score, class = excluded.class, prob = excluded.prob",
        [
            (sample_id, cell.number, cell.island, cell.x_um, cell.y_um, cell.field, cell.score, cell.class_name,
             json.dumps(cell.prob))
            for cell in changes.cells
        ],
    )  # fmt: skip
    connection.executemany(
        f"UPDATE cells SET crc32 = {CELL} WHERE sample_id = ? AND number = ?",  # noqa: S608
        [(sample_id, cell.number) for cell in changes.cells],
    )
    # The checksum takes what the old class gave and adds what the new one gives: damage elsewhere in the row shows.
    connection.executemany(
        f"UPDATE cells SET crc32 = crc32 - {CELL_CALL} + "  # noqa: S608
        "crc32(CAST(COALESCE(?1, '') || '|' || ?2 AS BLOB)), "
        "class = ?1, prob = ?2 WHERE sample_id = ?3 AND number = ?4",
        [(name, json.dumps(prob), sample_id, number) for number, name, prob in changes.renamed],
    )
    connection.executemany(
        "DELETE FROM crops WHERE sample_id = ? AND number = ?", [(sample_id, number) for number in changes.needless]
    )
    connection.executemany(
        "INSERT INTO crops (sample_id, number, jpeg) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(sample_id, number, jpeg) for number, jpeg in changes.crops.items()],
    )


def damaged_rows(database: Database, sample_id: str) -> int:
    """Return how many of a sample's cells, reviews and marks are not what was written."""
    found = 0
    for table, expected in (("cells", CELL), ("reviews", REVIEW), ("marks", MARK)):
        # Of rows that lie out of order, a search gives some whose own key is another.
        wrong = f"sample_id IS NOT ?1 OR (crc32 IS NOT NULL AND crc32 IS NOT {expected})"
        ((rows,),) = database.read(f"SELECT TOTAL({wrong}) FROM {table} WHERE sample_id = ?1", sample_id)  # noqa: S608
        found += int(rows)
    return found


def unfound_cells(database: Database, sample_id: str) -> int:
    """Return how many of a sample's cells are read in their order and not found by their number.

    A key that a changed bit put out of order leads searches for cells beside it astray, another sample's too.
    """
    ((rows,),) = database.read(
        "SELECT COUNT(*) FROM cells AS one WHERE sample_id = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM cells WHERE sample_id = ?1 AND number = one.number)",
        sample_id,
    )
    return int(rows)


def cell_of(row: tuple[Any, ...]) -> StoredCell:
    """Return a row of cells, with its newest review and whether a picture of it is stored."""
    number, island, x_um, y_um, field, score, name, prob, reviewed, by, reason, pictured = row
    return StoredCell(
        number, island, x_um, y_um, field, score, name or ABSTAINED_NAME, _probabilities(prob), reviewed, by, reason,
        bool(pictured),
    )  # fmt: skip


def _probabilities(text: str) -> tuple[float | None, ...]:
    """Return stored probabilities; each None where the text is damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or len(found) != len(CLASSES):
        return (None,) * len(CLASSES)
    return tuple(one if isinstance(one, float | int) else None for one in found)
