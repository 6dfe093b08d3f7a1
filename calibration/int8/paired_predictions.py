"""What the fp32 network and its INT8 form see in the pictures of the gate, all else being the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.int8.agreement import Memory
from calibration.int8.calibration_set import Progress
from calibration.int8.gate_list import GatePicture
from calibration.int8.prepared_fields import Stages, digest
from edge.errors import InputError
from edge.runtime.base import Network
from edge.runtime.contract import Contract
from edge.types import Field, Floats, Labels, Mask, Pixels
from edge.vision.classify import CellClassifier, called
from edge.vision.detect import CellDetector

SCORE_FLOOR = 0.5
"""Boxes are read from this part of the detector's threshold on, so that another threshold can be chosen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one picture: boxes (N, 4) in pixels of the file, detector's score (N,), probabilities (N, 6), cut (N,)."""

    boxes: Floats
    score: Floats
    prob: Floats
    border: Mask

    def above(self, score: float) -> Seen:
        """Return the cells of at least this score."""
        kept = self.score >= score
        return Seen(self.boxes[kept], self.score[kept], self.prob[kept], self.border[kept])

    def labels(self, sickle: float, abstain: float) -> Labels:
        """Return the labels at a sickle threshold, as the device gives them."""
        return called(self.prob, sickle, abstain)


@dataclass(frozen=True, slots=True)
class Both:
    """A picture of the gate as seen with the fp32 network and with the INT8 one in its place."""

    picture: GatePicture
    fp32: Seen
    int8: Seen


class _Lower:
    """A detector that answers from a lower score on."""

    def __init__(self, network: Network) -> None:
        limits = network.contract.thresholds
        lower = {**limits, "score": limits["score"] * SCORE_FLOOR}
        self._network = network
        self.contract: Contract = network.contract.model_copy(update={"thresholds": lower})
        self.sha256, self.runtime = network.sha256, network.runtime

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        """Run the network."""
        return self._network(batch)

    def close(self) -> None:
        """Leave the network open for its owner."""


def read_both(
    pictures: Sequence[GatePicture], fp32: Memory, int8: Memory, partner: Network, progress: Progress
) -> list[Both]:
    """Read each picture twice: with the fp32 network and with the INT8 one, each beside the other role's `partner`.

    The scale is the fp32 detector's in both, or one pixel of rounding would hide what the encoding does. Pictures that
    give no scale are left out. Raises InputError when a picture is absent or not what the list was written for.
    """
    role = fp32.contract.role
    detector: Network = fp32 if role == "detector" else partner
    stages = Stages(detector)
    find = CellDetector(_Lower(detector))
    find_int8 = CellDetector(_Lower(int8)) if role == "detector" else find
    name = CellClassifier(partner if role == "detector" else fp32)
    name_int8 = name if role == "detector" else CellClassifier(int8)
    rows = []
    for i, picture in enumerate(pictures):
        progress("gate", i + 1, len(pictures))
        if not picture.picture.is_file() or digest(picture.picture) != picture.sha256:
            raise InputError(f"{picture.picture} of the gate list is absent or has changed. Write the list anew")
        field = stages.field(picture.picture, gate=False, um_per_px=picture.um_per_px)
        if isinstance(field, str):
            continue
        first = _seen(field, find, name)
        rows.append(Both(picture, first, _seen(field, find_int8, name_int8)))
    if not rows:
        raise InputError("no picture of the gate list shows red cells. Give fields of blood smears")
    return rows


def _seen(field: Field, find: CellDetector, name: CellClassifier) -> Seen:
    cells = find(field)
    prob, _ = name(field, cells)
    origin = np.array([*field.origin, *field.origin], np.float32)
    return Seen((cells.boxes * np.float32(field.zoom) + origin).astype(np.float32), cells.score, prob, cells.border)
