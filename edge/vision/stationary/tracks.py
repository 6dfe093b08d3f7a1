"""Boxes that come back at one place of the frame, and how unlikely that is by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.types import Floats
from edge.vision.registration.matching import unlikely

NEAR_UM, NEAR_SHARE = 1.0, 0.12
"""How near its place a box comes back, in µm, or as a share of its size where that is more."""

ALIKE = 0.35
"""How far width and height may differ then, as natural logarithms."""

SURE = 7.0
"""Minus log10 of the chance from which a place is taken for dirt: some 5,000 places are looked at in a sample."""

AGAIN = 0.1
"""Chance that of two cells that cover one place both middles lie so near each other, and their sides are alike."""

HOPELESS_VIEWS, HOPELESS_SHARE = 6, 0.3
"""A place that was tried so often, and found in a smaller share of views, is given up."""

Complexes: TypeAlias = NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one view: middles (N,), x + iy in pixels of the frame, and sides (N, 2)."""

    at: Complexes
    sides: Floats

    @classmethod
    def of(cls, boxes: Floats) -> Boxes:
        """Take boxes (N, 4) as x0, y0, x1, y1."""
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        return cls((middle[:, 0] + 1j * middle[:, 1]).astype(np.complex64), boxes[:, 2:] - boxes[:, :2])

    def __getitem__(self, which: Any) -> Boxes:
        return Boxes(self.at[which], self.sides[which])


@dataclass(frozen=True, slots=True)
class Recurring:
    """A place that is sure: its mean box x0, y0, x1, y1, and the first view that showed it."""

    box: tuple[float, float, float, float]
    first_view: int


class Tracks:
    """Follows each box from view to view.

    Views are of different places of the slide, numbered from 0.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget every place."""
        self._boxes = Boxes(np.zeros(0, np.complex64), np.zeros((0, 2), np.float32))
        self._hits = np.zeros(0, np.int64)
        self._first = np.zeros(0, np.int64)
        self._seen = 0
        self._views = 0
        self._newest = 0

    def add(self, view: int, boxes: Boxes, um_per_px: float, area_px: float) -> list[Recurring]:
        """Take in a view and return the places that are sure now; they are followed no longer.

        Args:
            view: its number.
            boxes: those that may be dirt.
            um_per_px: size of a pixel of the frame, µm.
            area_px: of what is seen, in pixels.
        """
        self._seen, self._views = self._seen + len(boxes.at), self._views + 1
        self._newest = view
        near = np.maximum(NEAR_UM / um_per_px, NEAR_SHARE * np.sqrt(self._boxes.sides.prod(1)))
        free = self._matched(boxes, near)
        per_px = self._seen / self._views / area_px
        found = np.array(
            [
                unlikely(hits, view - first + 1, per_px * np.pi * reach**2)
                for hits, first, reach in zip(self._hits.tolist(), self._first.tolist(), near.tolist(), strict=True)
            ]
        )
        sure = found >= SURE if len(found) else np.zeros(0, bool)
        recurring = [
            Recurring((x - w / 2, y - h / 2, x + w / 2, y + h / 2), int(first))
            for x, y, (w, h), first in zip(
                self._boxes.at[sure].real.tolist(),
                self._boxes.at[sure].imag.tolist(),
                self._boxes.sides[sure].tolist(),
                self._first[sure].tolist(),
                strict=True,
            )
        ]
        tried = view - self._first + 1
        self._keep(~sure & ~((tried >= HOPELESS_VIEWS) & (self._hits < HOPELESS_SHARE * tried)))
        self._begin(view, boxes[free])
        return recurring

    def evidence_at(self, at: complex, within_px: float) -> float:
        """Return how unlikely it is to find the cells of a place so often at one spot of it.

        Args:
            at: middle of the place, x + iy in pixels of the frame.
            within_px: how near to it the spot lies.

        Returns:
            Minus log10 of the chance.
        """
        near = np.abs(self._boxes.at - at) <= within_px
        tried = self._newest - self._first[near] + 1
        found = (unlikely(*one, AGAIN) for one in zip(self._hits[near].tolist(), tried.tolist(), strict=True))
        return max(found, default=0.0)

    def _matched(self, boxes: Boxes, near: NDArray[Any]) -> NDArray[np.bool_]:
        """Count the boxes that came back, and return those that did not, bool (N,)."""
        free = np.ones(len(boxes.at), bool)
        if not (len(boxes.at) and len(self._hits)):
            return free
        apart = np.abs(self._boxes.at[:, None] - boxes.at)
        off = np.abs(np.log(self._boxes.sides[:, None] / np.maximum(boxes.sides, 1e-3))).max(2)
        apart[(apart > near[:, None]) | (off > ALIKE)] = np.inf
        nearest = apart.argmin(1)
        hit = np.isfinite(apart[np.arange(len(apart)), nearest])
        self._hits[hit] += 1
        weight = 1 / self._hits[hit]
        at, sides = boxes.at[nearest[hit]], boxes.sides[nearest[hit]]
        self._boxes.at[hit] += (weight * (at - self._boxes.at[hit])).astype(np.complex64)
        self._boxes.sides[hit] += (weight[:, None] * (sides - self._boxes.sides[hit])).astype(np.float32)
        free[nearest[hit]] = False
        return free

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self._boxes, self._hits, self._first = self._boxes[which], self._hits[which], self._first[which]

    def _begin(self, view: int, boxes: Boxes) -> None:
        new = len(boxes.at)
        self._boxes = Boxes(
            np.concatenate([self._boxes.at, boxes.at]), np.concatenate([self._boxes.sides, boxes.sides])
        )
        self._hits = np.concatenate([self._hits, np.ones(new, np.int64)])
        self._first = np.concatenate([self._first, np.full(new, view, np.int64)])
