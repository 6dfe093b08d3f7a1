"""What the fp32 network and its INT8 form see in the pictures of the gate, all else being the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.int8.gate_list import GatePicture
from calibration.int8.prepared_fields import FieldReader
from edge.config.model import Config
from edge.errors import InputError
from edge.runtime.base import Network
from edge.runtime.contract import Contract
from edge.screening.calls import called
from edge.system.digest import sha256_file
from edge.system.progress_bars import ReportProgress
from edge.types import CLASSES, Floats, Labels, Mask, Pixels, Rejection
from edge.vision.classify import CellClassifier
from edge.vision.detect import CellDetector
from edge.vision.prepare import Prepared

SCORE_FLOOR = 0.5
"""Boxes are read from this part of the detector's threshold on, so that another threshold can be chosen."""


@dataclass(frozen=True, slots=True)
class CellPredictions:
    """The cells of one picture: boxes, scores, probabilities and which are cut.

    Boxes (N, 4) in pixels of the file, scores (N,), probabilities (N, 6), cut (N,).
    """

    boxes: Floats
    score: Floats
    prob: Floats
    border: Mask

    def above(self, score: float) -> CellPredictions:
        """Return the cells of at least this score."""
        kept = self.score >= score
        return CellPredictions(self.boxes[kept], self.score[kept], self.prob[kept], self.border[kept])

    def labels(self, sickle: float, abstain: float) -> Labels:
        """Return the labels at a sickle threshold, as the device gives them."""
        return called(self.prob, sickle, abstain)


@dataclass(frozen=True, slots=True)
class Both:
    """A picture of the gate as seen with the fp32 network and with the INT8 one in its place."""

    picture: GatePicture
    fp32: CellPredictions
    int8: CellPredictions


class LowThresholdDetector:
    """A detector that finds boxes from a lower score on; see edge.runtime.base.Network."""

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


class _Side:
    """One pair of networks: whether the device would count a field with them, and what they find in it."""

    def __init__(self, config: Config, detector: Network, classifier: Network) -> None:
        self.reader = FieldReader(config, detector, classifier)
        self._find = CellDetector(LowThresholdDetector(detector))
        self._classify = CellClassifier(classifier)

    def seen(self, prepared: Prepared) -> CellPredictions | Rejection:
        """Return the cells from the lower score on, or why the device would refuse the field."""
        field, examined = prepared.outcome, self.reader.examined(prepared)
        if isinstance(field, Rejection):
            return field
        if isinstance(examined, Rejection):
            return examined
        cells = self._find(field)
        prob, _ = self._classify(field, cells)
        origin = np.array([*field.origin, *field.origin], np.float32)
        return CellPredictions(
            (cells.boxes * np.float32(field.zoom) + origin).astype(np.float32), cells.score, prob, cells.border
        )


def read_both(
    pictures: Sequence[GatePicture],
    fp32: Network,
    int8: Network,
    partner: Network,
    config: Config,
    progress: ReportProgress,
) -> tuple[list[Both], Counter[str]]:
    """Read each picture twice, as the device does.

    With the fp32 network and with the INT8 one in its place.

    The scale is the fp32 detector's in both, or one pixel of rounding would hide what the encoding does. A field that
    one of the two would refuse has no cell for it; one that both would is left out.

    Args:
        pictures: of the gate list.
        fp32: the network that was quantised.
        int8: its INT8 form.
        partner: the network of the other role, beside each.
        config: of the device; its limits of quality are those of the gate.
        progress: called for each picture.

    Returns:
        What was read, and how many pictures were left out by reason.

    Raises:
        InputError: a picture is absent or not what the list was written for, or none is read.
    """
    detects = fp32.contract.role == "detector"
    pairs = [(network, partner) if detects else (partner, network) for network in (fp32, int8)]
    sides = [_Side(config, *pair) for pair in pairs]
    rows, left_out = [], Counter[str]()
    for i, picture in enumerate(pictures):
        progress("gate", i + 1, len(pictures))
        if not picture.picture.is_file() or sha256_file(picture.picture) != picture.sha256:
            raise InputError(f"{picture.picture} of the gate list is absent or has changed. Write the list anew")
        prepared = sides[0].reader.prepared(picture.picture, picture.um_per_px)
        first, second = (side.seen(prepared) for side in sides)
        if isinstance(first, Rejection) and isinstance(second, Rejection):
            left_out[first.reason.value] += 1
            continue
        seen = (_NOTHING if isinstance(one, Rejection) else one for one in (first, second))
        rows.append(Both(picture, *seen))
    if not rows:
        why = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        raise InputError(f"no picture of the gate list can be read ({why}). Give fields of blood smears")
    return rows, left_out


_NONE = np.zeros(0, np.float32)

_NOTHING = CellPredictions(_NONE.reshape(0, 4), _NONE, _NONE.reshape(0, len(CLASSES)), np.zeros(0, bool))
"""What is seen in a field that is refused."""
