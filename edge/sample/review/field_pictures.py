"""Pictures of whole fields, kept for review: which fields, how large, and within which daily budget of the disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2
import numpy as np

from edge.sample.review.random_order import rank, share
from edge.sample.sample_row import Moment
from edge.storage.database import Database
from edge.types import CELLS_KEPT, Floats, Pixels

LONGEST_PX = 1600
"""Longer side of a stored field; a larger one is shrunk."""

QUALITY = 80
"""Of JPEG: some 60 kB for 640x480, 300 kB for the largest."""

OTHER_FIELDS = 0.2
"""Part of the fields without sickle-like or unnamed cells that is kept too, drawn at random."""

DAY_S = 86_400

DAYS_KEPT = 8
"""Days of which it is known how much was written, the newest: a clock may be set and unset in between."""

FIELDS_PER_SAMPLE = 200
"""Pictures of one sample at most, so that a sample that never ends leaves room for others."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as parts of the picture's width and height, 0 to 1."""


@dataclass(frozen=True, slots=True)
class FieldPicture:
    """A stored field.

    Attributes:
        field: number of the frame in its sample.
        width: of the stored picture, pixels.
        height: likewise.
        um_per_px: size of a pixel of the stored picture.
        boxes: where cells lie in it, by the cell's number.
        jpeg: the picture.
    """

    field: int
    width: int
    height: int
    um_per_px: float
    boxes: dict[int, Box]
    jpeg: bytes


class FieldChooser:
    """Chooses the fields of a session whose picture is kept.

    Every sickle-like or unnamed cell is on one picture, not on each that shows it.
    """

    def __init__(self, sample_id: str) -> None:
        self._sample_id = sample_id
        self._shown = np.zeros(CELLS_KEPT, bool)
        self._taken = 0

    def wanted(self, called: Iterable[int], new_share: float, field: int) -> bool:
        """Return whether the picture of a field is to be kept.

        Args:
            called: numbers of the sickle-like and unnamed cells in it.
            new_share: part of it that no other field showed.
            field: number of the frame.
        """
        at = np.fromiter((number % CELLS_KEPT for number in called), np.int64)
        missing = bool(len(at)) and not self._shown[at].all()
        drawn = not len(at) and new_share > 0.5 and rank(self._sample_id, f"field {field}") < share(OTHER_FIELDS)
        if self._taken >= FIELDS_PER_SAMPLE or not (missing or drawn):
            return False
        self._shown[at] = True
        self._taken += 1
        return True


def field_picture(pixels: Pixels, field: int, um_per_px: float, numbers: Iterable[int], boxes: Floats) -> FieldPicture:
    """Return the picture of a field.

    Args:
        pixels: uint8 (H, W, 3) RGB.
        field: number of the frame.
        um_per_px: size of its pixels.
        numbers: N numbers of cells.
        boxes: float32 (N, 4) x0, y0, x1, y1 in pixels.
    """
    height, width = pixels.shape[:2]
    shrink = min(1.0, LONGEST_PX / max(width, height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    shown = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if shrink < 1 else pixels
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    parts = np.round(boxes.astype(np.float64) / (width, height, width, height), 4).tolist()
    places = {number: (x0, y0, x1, y1) for number, (x0, y0, x1, y1) in zip(numbers, parts, strict=True)}
    return FieldPicture(field, *size, um_per_px / shrink, places, encoded.tobytes())


def save_picture(
    connection: sqlite3.Connection, sample_id: str, picture: FieldPicture, moment: Moment, budget: int
) -> None:
    """Store a field's picture unless the day's budget of bytes is used up; within a transaction."""
    day = _budget_day(moment)
    found = connection.execute("SELECT bytes FROM picture_writes WHERE day = ?", (day,)).fetchone()
    if (found[0] if found else 0) + len(picture.jpeg) > budget:
        return
    connection.execute(
        "DELETE FROM picture_writes WHERE day != ? AND rowid <= (SELECT MAX(rowid) FROM picture_writes) - ?",
        (day, DAYS_KEPT),
    )
    connection.execute(
        "INSERT INTO picture_writes (day, bytes) VALUES (?1, ?2) ON CONFLICT (day) DO UPDATE SET bytes = bytes + ?2",
        (day, len(picture.jpeg)),
    )
    connection.execute(
        "INSERT OR REPLACE INTO field_pictures (sample_id, field, width, height, um_per_px, boxes, jpeg) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (sample_id, picture.field, picture.width, picture.height, picture.um_per_px, json.dumps(picture.boxes),
         picture.jpeg),
    )  # fmt: skip


def _budget_day(moment: Moment) -> str:
    """Return the day of a budget; where nobody set the clock it is a day of this boot."""
    if moment.clock_synchronised:
        return datetime.fromtimestamp(moment.made_ms / 1000).astimezone().date().isoformat()
    return f"{moment.boot_id} {int(moment.uptime_s // DAY_S)}"


def pictured_fields(database: Database, sample_id: str) -> list[int]:
    """Return the numbers of a sample's fields of which a picture is kept."""
    found = database.read("SELECT field FROM field_pictures WHERE sample_id = ? ORDER BY field", sample_id)
    return [field for (field,) in found]


def load_picture(database: Database, sample_id: str, field: int) -> FieldPicture | None:
    """Return the picture of a field, if it is kept."""
    found = database.read(
        "SELECT width, height, um_per_px, boxes, jpeg FROM field_pictures WHERE sample_id = ? AND field = ?",
        sample_id, field,
    )  # fmt: skip
    if not found:
        return None
    width, height, um_per_px, boxes, jpeg = found[0]
    return FieldPicture(field, width, height, um_per_px, _boxes(boxes), jpeg)


def fields_of_cells(database: Database, sample_id: str) -> dict[int, int]:
    """Return by cell number a field whose picture shows the cell."""
    found = database.read("SELECT field, boxes FROM field_pictures WHERE sample_id = ? ORDER BY field", sample_id)
    return {number: field for field, boxes in found for number in _boxes(boxes)}


def _boxes(text: str) -> dict[int, Box]:
    """Return stored boxes; none where the text is damaged, for nothing is counted by them."""
    try:
        found: Any = json.loads(text)
        return {int(number): (float(a), float(b), float(c), float(d)) for number, (a, b, c, d) in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
