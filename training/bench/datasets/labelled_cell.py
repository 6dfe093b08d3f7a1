"""What the readers of the bench hand on: labelled cells, each with the group that no split may cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled cell: a picture of its own, or a box in one.

    group is the slide or donor, or the picture where neither is known. fold is -1 where the set gives none. box is
    x0, y0, x1, y1 in pixels of the picture, None for all of it. mask is a picture of the same size, white on the cell.
    """

    path: Path
    label: str
    group: str
    fold: int = -1
    um_per_px: float | None = None
    box: tuple[int, int, int, int] | None = None
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class CellSet:
    """The cells of one published set, or of a folder of one's own.

    Licence as its authors state it.
    """

    name: str
    licence: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
