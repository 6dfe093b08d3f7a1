"""What is stored of a field: its cells with their places, and a small picture of some."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge.sample.review.field_pictures import FieldChooser, FieldPicture, field_picture
from edge.sample.review.random_order import Draw
from edge.types import ABSTAINED, CELLS_KEPT, CLASSES, FieldReading, Floats, Pixels, Placement, Scale

CROP_PX = 80
"""Side of a stored picture."""

CROP_MARGIN = 1.6
"""Side of what it shows, in sides of the cell's box."""

CROP_QUALITY = 85
"""Of JPEG: some 2 kB a cell."""

_PICTURED = (None, "sickle")
"""Classes of which every cell has a picture; None: abstained."""

NORMALS_PICTURED = 150
"""Normal cells drawn at random that have one too: a hundred for review, and some for those named otherwise later."""


@dataclass(frozen=True, slots=True)
class LocatedCell:
    """A cell of a sample, with its place.

    Attributes:
        number: of the cell in its sample.
        island: number of the part of the slide that it lies on.
        x_um: its middle on the slide, in the measure of its island.
        y_um: likewise, downwards.
        field: number of the frame that showed it last.
        score: the detector's.
        class_name: None where the classifier would not name it.
        prob: probabilities in the order of CLASSES.
    """

    number: int
    island: int
    x_um: float
    y_um: float
    field: int
    score: float
    class_name: str | None
    prob: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CellChanges:
    """What a field changed in a sample's cells.

    Attributes:
        joined: pairs (kept, dropped) of numbers that proved to be one cell.
        cells: cells that the field showed and that are new or named otherwise.
        renamed: number, class and probabilities of cells named otherwise that it did not show.
        crops: JPEG by number.
        gone: numbers of cells that count no longer.
        needless: numbers of cells whose picture is needed no longer.
        picture: of the field, where it is kept.
    """

    joined: tuple[tuple[int, int], ...]
    cells: tuple[LocatedCell, ...]
    renamed: tuple[tuple[int, str | None, tuple[float, ...]], ...]
    crops: dict[int, bytes]
    gone: tuple[int, ...] = ()
    needless: tuple[int, ...] = ()
    picture: FieldPicture | None = None


class CellRecorder:
    """Gathers what the readings of one session change in the cells of its sample."""

    def __init__(self, sample_id: str, first_number: int = 0, first_island: int = 0, drawn: Iterable[int] = ()) -> None:
        """Begin with numbers above those of an earlier session of the same sample.

        Args:
            sample_id: identifier of the sample; random choices follow from it.
            first_number: of the cells to come.
            first_island: likewise.
            drawn: normal cells that have a picture from an earlier session.
        """
        self._first_number, self._first_island = first_number, first_island
        self._pictured = np.zeros(CELLS_KEPT, bool)
        self._fields = FieldChooser(sample_id)
        self._normals = Draw(sample_id, NORMALS_PICTURED)
        for number in drawn:
            self._normals.offer(number)

    def changes(self, reading: FieldReading, pixels: Pixels, field: int) -> CellChanges | None:
        """Return what a reading changes in the cells of its sample; None where it changes nothing.

        Args:
            reading: of the frame.
            pixels: the frame's, uint8 (H, W, 3) RGB.
            field: number of the frame in its sample.
        """
        change, placement, ids = reading.change, reading.placement, reading.ids
        if change is None or placement is None or ids is None or reading.scale is None:
            return None
        if not len(change.numbers) and not placement.joined and not len(change.gone):
            return None
        # A number given for the first time may fall on the memory of a cell long past.
        self._pictured[placement.ids[placement.ids >= placement.numbered_before] % CELLS_KEPT] = False
        self._pictured[change.gone % CELLS_KEPT] = False
        rows = {number: row for row, number in enumerate(ids.tolist())}
        island = self._first_island + placement.island
        places, scores = places_um(reading, placement, reading.scale), _rounded(reading.score, 4)
        cells: list[LocatedCell] = []
        renamed, crops = [], {}
        needless: list[int] = []
        for number, prob, label in zip(
            change.numbers.tolist(), _rounded(change.prob, 4), change.label.tolist(), strict=True
        ):
            name = None if label == ABSTAINED else CLASSES[label]
            stored = self._first_number + number
            row = rows.get(number)
            if self._to_be_pictured(number, name, row is not None, needless):
                crops[stored] = crop(pixels, reading.boxes[row])
            if row is None:
                renamed.append((stored, name, tuple(prob)))
                continue
            x_um, y_um = places[row]
            cells.append(LocatedCell(stored, island, x_um, y_um, field, scores[row], name, tuple(prob)))
        for number in needless:
            crops.pop(number, None)
        dropped = [other for _, other in placement.joined]
        for number in (*dropped, *change.gone.tolist()):
            self._normals.remove(self._first_number + number)
        joined = tuple((self._first_number + one, self._first_number + other) for one, other in placement.joined)
        gone = tuple((self._first_number + change.gone).tolist())
        picture = self._picture(reading, pixels, field, cells, placement.new_share)
        return CellChanges(joined, tuple(cells), tuple(renamed), crops, gone, tuple(needless), picture)

    def _to_be_pictured(self, number: int, name: str | None, shown: bool, needless: list[int]) -> bool:
        """Return whether a cell's picture is to be taken; add to `needless` those that need theirs no longer."""
        stored, at = self._first_number + number, number % CELLS_KEPT
        had = bool(self._pictured[at])
        wanted, evicted = name in _PICTURED, None
        if name == "normal" and (shown or had):
            wanted, evicted = self._normals.offer(stored)
        else:
            self._normals.remove(stored)
        if had and not wanted:
            needless.append(stored)
        if evicted is not None:
            needless.append(evicted)
            if evicted >= self._first_number:
                self._pictured[(evicted - self._first_number) % CELLS_KEPT] = False
        self._pictured[at] = wanted and (shown or had)
        return wanted and shown and not had

    def _picture(
        self, reading: FieldReading, pixels: Pixels, field: int, cells: list[LocatedCell], new_share: float
    ) -> FieldPicture | None:
        """Return the picture of the field, where it is to be kept."""
        called = [cell.number for cell in cells if cell.class_name in _PICTURED]
        if reading.ids is None or reading.scale is None or not self._fields.wanted(called, new_share, field):
            return None
        known = reading.ids >= 0
        numbers = (self._first_number + reading.ids[known]).tolist()
        return field_picture(pixels, field, reading.scale.um_per_px, numbers, reading.boxes[known])


def places_um(reading: FieldReading, placement: Placement, scale: Scale) -> Any:
    """Return where the middles of a reading's cells lie, float (N, 2), µm in its island."""
    x0, y0, x1, y1 = reading.boxes.astype(np.float64).T
    middle = (x0 + x1 - reading.width + 1j * (y0 + y1 - reading.height)) / 2 * scale.um_per_px
    at = complex(placement.x_um, placement.y_um) + cmath.exp(1j * math.radians(placement.turned_deg)) * middle
    return _rounded(np.stack([at.real, at.imag], 1), 2)


def _rounded(values: Floats, digits: int) -> Any:
    """Return an array as lists of numbers that are short when written."""
    return np.round(values.astype(np.float64), digits).tolist()


def crop(pixels: Pixels, box: Floats) -> bytes:
    """Return a JPEG of a cell and what is round it.

    Args:
        pixels: uint8 (H, W, 3) RGB.
        box: x0, y0, x1, y1 in pixels.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    side = max(x1 - x0, y1 - y0, 1.0) * CROP_MARGIN
    zoom = CROP_PX / side
    # One affine map cuts and scales; beyond the edge the picture goes on as it ends.
    matrix = np.array(
        [[zoom, 0, CROP_PX / 2 - zoom * (x0 + x1) / 2], [0, zoom, CROP_PX / 2 - zoom * (y0 + y1) / 2]], np.float64
    )
    flags = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    cut = cv2.warpAffine(pixels, matrix, (CROP_PX, CROP_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(cut, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, CROP_QUALITY])
    return encoded.tobytes()
