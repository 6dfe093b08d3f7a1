"""Verifies a scale that is set by the size of the sample's red cells."""

from __future__ import annotations

import math

import numpy as np

from edge.types import Pixels, Reason, Rejection
from edge.vision.scale import CELLS_TO_ESTIMATE, CELLS_TO_LOCK, OFF_MAX, ScaleEstimator

CHECK_TRIES, CHECK_EVERY = 10, 50
"""Fields at the beginning of a sample on which its scale is verified, and after how many it is verified again."""


class ScaleCheck:
    """Verifies a set scale by the size of the sample's red cells.

    Another objective makes all counts wrong.
    """

    def __init__(self, estimate: ScaleEstimator) -> None:
        self._estimate = estimate
        self._fields = 0
        self._settled = False
        self._wrong: Rejection | None = None
        self._looks: list[tuple[float, int]] = []

    def __call__(self, pixels: Pixels, um_per_px: float) -> Rejection | None:
        """Look at uint8 (H, W, 3), if it is time to, and refuse it where the cells show another scale.

        Fields are looked at until they have shown CELLS_TO_LOCK cells. Where these show another scale, fields are
        refused, and looked at, until as many show the one that is set.
        """
        turn, self._fields = self._fields % CHECK_EVERY, self._fields + 1
        if turn == 0:
            self._settled = False
            self._looks.clear()
        if self._wrong is not None or (not self._settled and turn < CHECK_TRIES):
            shown, cells = self._shown(pixels, um_per_px)
            if shown is not None:
                self._settle(math.log(shown / um_per_px), cells)
        return self._wrong

    def _shown(self, pixels: Pixels, um_per_px: float) -> tuple[float | None, int]:
        """Return the scale that the cells show, and how many they are.

        A scale that is right is confirmed in a third of the time that an estimate takes.
        """
        confirmed = None if self._wrong is not None else self._estimate.confirmed(pixels, um_per_px)
        if confirmed is not None:
            return confirmed
        scale, cells = self._estimate(pixels, CELLS_TO_ESTIMATE)
        return (None if scale is None else scale.um_per_px), cells

    def _settle(self, off: float, cells: int) -> None:
        """Take in how far off, as a natural logarithm, so many cells say that the scale is."""
        self._looks.append((off, cells))
        offs, weights = np.array(self._looks).T
        if weights.sum() < CELLS_TO_LOCK:
            return
        off = math.exp(np.average(offs, weights=weights))
        self._looks.clear()
        self._settled, self._wrong = True, None
        if not 1 / OFF_MAX <= off <= OFF_MAX:
            self._wrong = Rejection(Reason.MAGNIFICATION, off, OFF_MAX if off > 1 else 1 / OFF_MAX)
