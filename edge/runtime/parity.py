"""Pictures whose answers are known from ONNX Runtime: an engine that answers otherwise is not used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import EngineRefusedError
from edge.runtime.contract import NOVELTY, Contract
from edge.types import Pixels

Outputs = dict[str, NDArray[np.float32]]

LIMITS: dict[str, dict[str, float]] = {
    "fp32": {"peaks": 2e-3, "prob": 2e-3, "sides": 0.02, NOVELTY: 0.01},
    "fp16": {"peaks": 0.02, "prob": 0.02, "sides": 0.25, NOVELTY: 0.05},
    "int8": {"peaks": 0.1, "prob": 0.1, "sides": 1.5, NOVELTY: 0.2},
}
"""Largest difference from ONNX Runtime on the same file: probabilities, sides of boxes in pixels, and novelty as a part
of the limit for a cell.

Both compute the same graph, but not in the same order: rounding to half, or to 1/127 of a range, falls otherwise.
"""


def golden_pictures(contract: Contract) -> Pixels:
    """Draw uint8 (N, H, W, 3) that look like a smear: round cells, crescents, a dark nucleus.

    Always the same.
    """
    side = contract.size if contract.role == "classifier" else 160
    noise = np.random.default_rng(7).normal(0, 3, (6 if contract.role == "classifier" else 1, side, side, 3))
    pictures = np.empty(noise.shape, np.uint8)
    for i, grain in enumerate(noise):
        drawn: Any = np.full((side, side, 3), (226, 214, 218), np.uint8)
        for n, (x, y) in enumerate((x, y) for y in range(32, side, 48) for x in range(32, side, 48)):
            _cell(drawn, x, y, (n + i) % 4)
        drawn = cv2.GaussianBlur(drawn, (5, 5), 1.0)
        pictures[i] = np.clip(drawn + grain, 0, 255)
    return pictures


def _cell(drawn: Any, x: int, y: int, kind: int) -> None:
    red, pale, nucleus = (186, 116, 128), (208, 158, 166), (96, 58, 132)
    if kind == 1:  # elongated
        cv2.ellipse(drawn, (x, y), (19, 6), 30, 0, 360, red, -1, cv2.LINE_AA)
    elif kind == 2:  # crescent
        cv2.circle(drawn, (x, y), 15, red, -1, cv2.LINE_AA)
        cv2.circle(drawn, (x + 9, y - 5), 14, (226, 214, 218), -1, cv2.LINE_AA)
    else:
        cv2.circle(drawn, (x, y), 15, red, -1, cv2.LINE_AA)
        cv2.circle(drawn, (x, y), 6, nucleus if kind == 3 else pale, -1, cv2.LINE_AA)


def compared(found: Outputs, wanted: Outputs, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Return the largest difference of each output.

    Peaks are compared after a maximum over their neighbours: where two are almost equal, either may be the local
    maximum. Sides are compared where `wanted` has a peak of the threshold `score` or more: elsewhere nobody reads them.
    Novelty has a scale of its own: its difference is given as a part of the threshold `novelty_cell`.
    """
    differences = {}
    for name, array in wanted.items():
        ours = found[name]
        if ours.shape != array.shape or not np.isfinite(ours).all():
            differences[name] = float("inf")
        elif name == "peaks":
            differences[name] = float(np.abs(_spread(ours) - _spread(array)).max())
        elif name == "sides":
            where = wanted["peaks"].max(1, keepdims=True) >= thresholds["score"]
            differences[name] = float((np.abs(ours - array) * where).max())
        elif name == NOVELTY:
            differences[name] = float(np.abs(ours - array).max()) / thresholds["novelty_cell"]
        else:
            differences[name] = float(np.abs(ours - array).max())
    return differences


def _spread(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    around = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (2, 3))
    return np.asarray(windows.max((-1, -2)), np.float32)


def check(differences: dict[str, float], precision: str, what: str) -> None:
    """Raise EngineRefusedError when an output differs by more than its limit."""
    limits = LIMITS[precision]
    wrong = [
        f"{name} by {value:.3g} (at most {limits[name]:g})"
        for name, value in differences.items()
        if not value <= limits[name]
    ]
    if wrong:
        raise EngineRefusedError(
            f"{what} answers otherwise than ONNX Runtime with the same file: {', '.join(wrong)}. It is not used. "
            'Report it with the versions that `sicklescope doctor` shows; set models.precision = "fp32" or '
            'models.runtime = "onnxruntime" meanwhile'
        )
