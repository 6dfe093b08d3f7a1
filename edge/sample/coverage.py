"""Where on the slide a sample's cells lie, in squares: for a map of what was read."""

from __future__ import annotations

from dataclasses import dataclass

from edge.storage.database import Database

SQUARE_UM = 25.0
"""Side of a square: some ten cells of a smear lie in one."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square in which cells lie: numbers of its island, column and row, of its cells and the sickle-like of them."""

    island: int
    column: int
    row: int
    cells: int
    sickle: int


def squares(database: Database, sample_id: str) -> list[Square]:
    """Return the squares of a sample in which cells are stored."""
    rows = database.read(
        "SELECT island, CAST(x_um / ?2 + 100000 AS INTEGER) - 100000, CAST(y_um / ?2 + 100000 AS INTEGER) - 100000, "
        "COUNT(*), SUM(class = 'sickle') FROM cells WHERE sample_id = ?1 GROUP BY 1, 2, 3",
        sample_id, SQUARE_UM,
    )  # fmt: skip
    return [Square(island, column, row, cells, sickle or 0) for island, column, row, cells, sickle in rows]
