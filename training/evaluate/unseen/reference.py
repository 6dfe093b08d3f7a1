"""The frozen reference of sets without sickle cells: red cells of each picture, and where a sickle cell is pasted.

Written once, with the pair of 0.6.0, so that figures of later versions have the same denominator and ask for the same
cells: a network that finds fewer cells has won nothing. Pictures are named by the first 16 digits of their sha256.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.types import Floats, Pixels
from training.data.datasets import DataError, LabelledField, digest, read_pixels, table
from training.evaluate.estimates import red
from training.evaluate.interventions import Appearance, appearance_of, pasted, sized, sprite_of
from training.evaluate.predictions import Prediction
from training.evaluate.shortcut_tests import planned
from training.run_folder import write_text

COUNTS = Path(__file__).parent / "reference_counts.csv"
PASTED = Path(__file__).parent / "reference_pasted.csv"

COUNT_COLUMNS = ("set", "picture", "red_cells")
SURE = (0.45, 0.45, 0.45)
"""Score of each kind from which a box takes a place: fainter ones are mostly no cells (by eye), and would leave a small
field no room."""

NARROW = 12
"""The margin of these fields (`shortcut_tests.MARGIN`): those of `krd_wbc` are 45 µm wide."""

PASTED_COLUMNS = ("picture", "um_per_px", "x", "y", "source", "source_um_per_px", "x0", "y0", "x1", "y1")


def name_of(field: LabelledField) -> str:
    """Return what the reference calls a picture."""
    return digest(field.path)[:16]


def red_cells(s: Prediction, sickle: float) -> int:
    """Return the whole red cells of a field, abstained ones with them."""
    return int((red(s.reading.labels(sickle)) & ~s.reading.border).sum())


def reference_counts() -> dict[str, int]:
    """Return the frozen number of red cells of each picture."""
    return {row["picture"]: int(row["red_cells"]) for row in table(COUNTS, COUNT_COLUMNS[:2], COUNT_COLUMNS[2:])}


def counted(fields: Sequence[LabelledField], counts: Mapping[str, int]) -> list[int]:
    """Return the frozen number of each field; raises DataError for a picture that has none."""
    names = [name_of(field) for field in fields]
    for name, field in zip(names, fields, strict=True):
        if name not in counts:
            raise DataError(
                f"{field.path} has no reference count in {COUNTS.name}: it is another picture than that of its name "
                "then was. Figures of it would not compare with earlier ones"
            )
    return [counts[name] for name in names]


@dataclass(frozen=True, slots=True)
class PastedCell:
    """A sickle cell of `uganda_scd` and its place in another field.

    at: x, y of its first pixel there; box: float32 (4,) in the picture that it comes from.
    """

    um_per_px: float
    at: tuple[int, int]
    source: str
    source_um_per_px: float
    box: Floats


def pasted_cells() -> dict[str, list[PastedCell]]:
    """Return the cells that are pasted into each picture."""
    cells: dict[str, list[PastedCell]] = {}
    for row in table(PASTED, PASTED_COLUMNS):
        box = np.array([float(row[k]) for k in ("x0", "y0", "x1", "y1")], np.float32)
        cell = PastedCell(float(row["um_per_px"]), (int(row["x"]), int(row["y"])), row["source"],
                          float(row["source_um_per_px"]), box)  # fmt: skip
        cells.setdefault(row["picture"], []).append(cell)
    return cells


class Paster:
    """Pastes the cells of the reference into fields."""

    def __init__(self, sources: Sequence[LabelledField]) -> None:
        """Take the fields of `uganda_scd`, which the cells come from."""
        self._sources = {name_of(field): field for field in sources}
        self._cells = pasted_cells()

    def labelled(self, fields: Sequence[LabelledField]) -> list[LabelledField]:
        """Return those fields that get cells, each labelled with their boxes."""
        return [
            replace(field, boxes=boxes, kinds=np.zeros(len(boxes), np.int64), partial=np.zeros(len(boxes), bool))
            for field in fields
            if len(boxes := self._boxes(field))
        ]

    def picture(self, field: LabelledField) -> Pixels:
        """Return the picture of a field with its cells."""
        pixels, cells = read_pixels(field.path), self._cells[name_of(field)]
        drawn = [(self._absorbance(cell), cell.at) for cell in cells]
        return pasted(pixels, drawn, appearance_of(pixels, cells[0].um_per_px))

    def _boxes(self, field: LabelledField) -> Floats:
        boxes = []
        for cell in self._cells.get(name_of(field), []):
            h, w = self._absorbance(cell).shape[:2]
            boxes.append([*cell.at, cell.at[0] + w, cell.at[1] + h])
        return np.array(boxes, np.float32).reshape(-1, 4)

    def _absorbance(self, cell: PastedCell) -> Floats:
        if cell.source not in self._sources:
            raise DataError(
                f"{PASTED.name} takes a cell from picture {cell.source}, which uganda_scd does not hold. The figure "
                "needs the whole set"
            )
        pixels = read_pixels(self._sources[cell.source].path)
        sprite = sprite_of(pixels, cell.box, appearance_of(pixels, cell.source_um_per_px))
        if sprite is None:
            raise DataError(f"the cell at {cell.box.tolist()} of picture {cell.source} cannot be cut out any more")
        return sized(sprite, cell.um_per_px)


def freeze(targets: Sequence[Prediction], sources: Sequence[Prediction], sickle: float) -> None:
    """Write both files of the reference.

    Args:
        targets: readings of the sets without sickle cells, and of negative fields.
        sources: readings of positive fields of `uganda_scd`.
        sickle: threshold of the pair that read them.
    """
    counts = [(s.field.dataset, name_of(s.field), red_cells(s, sickle)) for s in targets]
    looks: dict[Path, Appearance] = {}
    rows = []
    for target in targets:
        um = target.reading.um_per_px
        if target.field.dataset == "uganda_scd" or um is None:
            continue
        sure = Prediction(target.field, target.reading.above(SURE))
        for _, at, source, box in planned(sure, list(sources), looks, margin=NARROW):
            scales = (f"{scale:.6f}" for scale in (um, source.reading.um_per_px or um))
            rows.append((name_of(target.field), next(scales), *at, name_of(source.field), next(scales),
                         *np.round(box.astype(float), 1)))  # fmt: skip
    write_text(COUNTS, _csv(COUNT_COLUMNS, counts))
    write_text(PASTED, _csv(PASTED_COLUMNS, rows))


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()
