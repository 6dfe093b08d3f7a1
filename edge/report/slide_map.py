"""The map of a slide: what was read of it, and where sickle-like cells lay."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor

from edge.sample.cell_records import places_um
from edge.storage.database import Database
from edge.types import CLASSES, FieldReading

SICKLE = CLASSES.index("sickle")

GAP = 3
"""Squares between two islands, whose places to each other are not known."""

SIDES_MIN = 24
"""So many squares wide is a map at least, that one field does not fill the page."""


SQUARE_UM = 25.0
"""Side of a square: some ten cells of a smear lie in one."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square in which cells lie: its place, and the number of its cells."""

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


@dataclass(frozen=True, slots=True)
class SlideMap:
    """A map, in squares.

    read: path (SVG) of the squares that were read. sickle: path of a triangle in each square with sickle-like cells.
    """

    width: int
    height: int
    read: str
    sickle: str


def slide_map(squares: Sequence[Square]) -> SlideMap:
    """Return a map with the islands side by side."""
    columns: dict[int, list[int]] = defaultdict(list)
    sickle: list[tuple[int, int]] = []
    left = height = 0
    for island in sorted({square.island for square in squares}):
        found = [square for square in squares if square.island == island]
        column0, row0 = min(square.column for square in found), min(square.row for square in found)
        for square in found:
            x, y = left + square.column - column0, square.row - row0
            columns[y].append(x)
            if square.sickle:
                sickle.append((x, y))
        left += max(square.column for square in found) - column0 + 1 + GAP
        height = max(height, max(square.row for square in found) - row0 + 1)
    read = "".join(f"M{x} {y}h{n}v1h-{n}z" for y, found in columns.items() for x, n in _runs(sorted(found)))
    triangles = "".join(f"M{x} {y}.05h1l-.5 .9z" for x, y in sickle)
    return SlideMap(max(SIDES_MIN, left - GAP), max(SIDES_MIN // 2, height), read, triangles)


def _runs(columns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give the first of each run of neighbours, and how many they are: a path of single squares would be long."""
    for _, run in groupby(enumerate(columns), lambda one: one[1] - one[0]):
        found = [column for _, column in run]
        yield found[0], len(found)


class Coverage:
    """Collects where the cells of placed frames lie, each by what it was called last."""

    def __init__(self) -> None:
        self._cells: dict[int, tuple[int, int, int, bool]] = {}

    def add(self, reading: FieldReading) -> None:
        """Add the cells of a frame; one whose place is not known adds nothing."""
        placement, scale, ids = reading.placement, reading.scale, reading.ids
        if placement is None or scale is None or ids is None:
            return
        for _, dropped in placement.joined:
            self._cells.pop(dropped, None)
        for number, (x, y), label in zip(
            ids.tolist(), places_um(reading, placement, scale), reading.label.tolist(), strict=True
        ):
            if number >= 0:
                at = floor(x / SQUARE_UM), floor(y / SQUARE_UM)
                self._cells[number] = (placement.island, *at, label == SICKLE)

    def map(self) -> SlideMap | None:
        """Return the map; None where no frame was placed."""
        if not self._cells:
            return None
        cells = Counter(cell[:3] for cell in self._cells.values())
        sickle = Counter(cell[:3] for cell in self._cells.values() if cell[3])
        return slide_map([Square(*at, count, sickle[at]) for at, count in cells.items()])
