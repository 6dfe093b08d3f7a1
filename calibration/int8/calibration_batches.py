"""What ranges are found on and encodings compared on: windows of fields (detector) or crops of cells (classifier)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from calibration.int8.calibration_set import Candidates
from calibration.int8.prepared_fields import FieldReader, PictureStatistics
from edge.camera.base import RejectedInputError
from edge.errors import InputError
from edge.system.progress_bars import ReportProgress
from edge.types import Field, Pixels, Rejection
from edge.vision.classify import crops
from edge.vision.detect import padded

FIELDS_MIN, CELLS_MIN = 300, 2000
"""Fewer than so many fields (detector) or cells (classifier) say too little about the ranges."""

FOR_AGREEMENT = 40
"""Fields that are kept apart, to compare the encodings on."""

WINDOW_PX = 320
"""Side of the middle part of a field, in canonical pixels, that a detector's ranges are found on: some 60 cells."""

CELLS_A_FIELD = 16
"""At most so many cells of one field, so that a crowded one does not decide."""

BATCH_PX = 32 * 64 * 64
"""Pixels that go to the network at once: bounds the memory."""


@dataclass(slots=True)
class Material:
    """Pictures uint8 that the network itself takes, apart by their use.

    With where they come from.
    """

    ranges: list[Pixels] = field(default_factory=list)
    agreement: list[Pixels] = field(default_factory=list)
    chosen: list[PictureStatistics] = field(default_factory=list)
    use: dict[str, str] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def batches(self, part: Sequence[Pixels]) -> Iterator[Pixels]:
        """Yield batches (N, H, W, 3) of pictures of one shape."""
        for _, alike in groupby(part, lambda picture: picture.shape):
            pictures = list(alike)
            size = max(1, BATCH_PX // pictures[0][..., 0].size)
            for i in range(0, len(pictures), size):
                yield np.stack(pictures[i : i + size])


def gathered(
    found: Candidates, reader: FieldReader, role: str, side: int, fields: int, progress: ReportProgress
) -> Material:
    """Read candidates in their order until there is enough of both parts.

    side: of the classifier's crop.

    fields: for a detector's ranges; a classifier's are found on CELLS_MIN cells. Every eighth field goes to the part
    for agreement until that is full. Raises InputError when nothing can be read.
    """
    material = Material()
    wanted = fields if role == "detector" else CELLS_MIN
    for i, look in enumerate(found.looks):
        apart = sum(use == "agreement" for use in material.use.values())
        if len(material.ranges) >= wanted and apart >= min(FOR_AGREEMENT, len(found.looks) // 8):
            break
        to_agreement = apart < FOR_AGREEMENT and (len(material.chosen) % 8 == 7 or len(material.ranges) >= wanted)
        pictures = _pictures(look, reader, role, side)
        if isinstance(pictures, str):
            material.left_out[pictures] = material.left_out.get(pictures, 0) + 1
            continue
        (material.agreement if to_agreement else material.ranges).extend(pictures)
        material.chosen.append(look)
        material.use[look.sha256] = "agreement" if to_agreement else "ranges"
        material.cells[look.sha256] = len(pictures) if role == "classifier" else 0
        progress("fields read", min(len(material.ranges), wanted), wanted)
        progress("candidates tried", i + 1, len(found.looks))
    if not material.ranges or not material.agreement:
        why = ", ".join(f"{n} {reason}" for reason, n in material.left_out.items()) or "too few pictures"
        raise InputError(
            f"no cells could be read in the pictures given ({why}). Give at least 8 fields of blood smears"
        )
    return material


def too_few(material: Material, role: str) -> str | None:
    """Return what is missing, or None."""
    least, what = (FIELDS_MIN, "fields") if role == "detector" else (CELLS_MIN, "cells")
    if len(material.ranges) >= least:
        return None
    return (
        f"{len(material.ranges)} {what} to calibrate on; at least {least} are needed, beside {FOR_AGREEMENT} fields to "
        "compare on. Give more pictures, or --force to see what comes of these"
    )


def _pictures(look: PictureStatistics, reader: FieldReader, role: str, side: int) -> list[Pixels] | str:
    try:
        prepared = reader.prepared(look.path)
    except RejectedInputError as error:
        return error.rejection.reason.value
    field, examined = prepared.outcome, reader.examined(prepared)
    if isinstance(field, Rejection):
        return field.reason.value
    if isinstance(examined, Rejection):
        return examined.reason.value
    if role == "detector":
        return [window(field)]
    boxes = examined.cells.boxes[examined.whole]
    if not len(boxes):
        return "empty"
    taken = np.unique(np.linspace(0, len(boxes) - 1, min(CELLS_A_FIELD, len(boxes))).round().astype(int))
    return list(crops(field.pixels, boxes[taken], side))


def window(seen: Field) -> Pixels:
    """Return the middle of a field, uint8 (h, w, 3).

    No side is longer than WINDOW_PX; padded as the device pads.
    """
    h, w = seen.pixels.shape[:2]
    y, x = max(0, (h - WINDOW_PX) // 2), max(0, (w - WINDOW_PX) // 2)
    return padded(seen.pixels[y : y + WINDOW_PX, x : x + WINDOW_PX])
