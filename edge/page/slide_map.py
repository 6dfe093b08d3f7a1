"""The map of a slide: what was read of it, and where sickle-like cells lay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.sample.coverage import Square

GAP = 3
"""Squares between two islands, whose places to each other are not known."""

SIDES_MIN = 24
"""So many squares wide is a map at least, that one field does not fill the page."""


@dataclass(frozen=True, slots=True)
class SlideMap:
    """Columns and rows of a map, its squares (x, y), and the squares (x, y, sickle-like cells) that hold some."""

    width: int
    height: int
    read: tuple[tuple[int, int], ...]
    sickle: tuple[tuple[int, int, int], ...]


def slide_map(squares: Sequence[Square]) -> SlideMap:
    """Return a map with the islands side by side."""
    read: list[tuple[int, int]] = []
    sickle: list[tuple[int, int, int]] = []
    left = height = 0
    for island in sorted({square.island for square in squares}):
        found = [square for square in squares if square.island == island]
        column0, row0 = min(square.column for square in found), min(square.row for square in found)
        for square in found:
            x, y = left + square.column - column0, square.row - row0
            read.append((x, y))
            if square.sickle:
                sickle.append((x, y, square.sickle))
        left += max(square.column for square in found) - column0 + 1 + GAP
        height = max(height, max(square.row for square in found) - row0 + 1)
    return SlideMap(max(SIDES_MIN, left - GAP), max(SIDES_MIN // 2, height), tuple(read), tuple(sickle))
