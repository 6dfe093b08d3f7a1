"""Where a frame is dark whatever part of the slide it shows: the newest views, coarse and grey."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import Field, Mask, Pixels

GRID_UM = 1.0
"""Side of a pixel of the coarse views."""

VIEWS_MIN, VIEWS_KEPT = 5, 24
"""Fewer views show nothing, and more are not kept."""

GROUND_UM = 41
"""Side of the square over whose median the light is taken, odd."""

TOO_BRIGHT = 5
"""Of so many views one may seem too bright at a place: its surface of light is off in a corner that cells cover."""

LIGHT_UM, SURFACE = 25, 6
"""Side of the squares by which the light is measured, and the terms of the surface through them."""

SEEN_MIN = 0.2
"""A square of which less is seen does not show its light."""

DARK_SHARE, DARK_LEAST, DARK_MOST = 0.3, 0.04, 0.2
"""What is darker than the light by this share of the cells' contrast is dark, within these limits."""

FAINT = 0.5
"""What is darker by this part of it is faintly dark."""

BRIGHT = 200.0
"""Grey level to which the light of each view is brought."""

UNSEEN = 255
"""Level of what a view does not show."""

SURE = 7.0
"""Minus log10 of the chance, at one place, from which what is dark in every view is dirt, in a sample of VIEWS_KEPT.

In a longer one more views are tried, and the chance is held to be as small for all of it.
"""

SAME, EACH_SAME = 0.03, 1.0
"""Views that show the same at a place, to this mean difference as a share of the light, and minus log10 of the chance
of each beyond the first. Of places that cells cover by chance a further view is as alike at one of 200: the rest of the
distance allows for a place of the slide that comes back and is not known again.
"""

CELL_UM = 9.0
"""What is longer lies over as many cells as this goes into its length, and each is one more coincidence."""

CELL_UM2, CHANCE_UM2 = 44.0, 10.0
"""Area of a red cell, and that which cells cover by chance in several views at most. To cover more, cells must lie at
nearly one spot in each: what is larger counts for up to two cells a view.
"""

AREA_MIN_UM2 = 6.0
"""What is smaller, and no box has found, is let be."""

FAINT_AREA_MIN_UM2, FAINT_WIDE_UM = 3.0, 12.0
"""What is faint is smaller than that, or wider than a speck or needle that looks like a cell: a shadow, and let be."""

RIM_UM = 5
"""So much along the rim of what is seen belongs to the rim."""


@dataclass(frozen=True, slots=True)
class Dark:
    """A part that is dark in every view: rows and columns of the map, and its size.

    length_um, width_um: sides of the smallest rectangle round it. area_um2: inside the middles of its rim. evidence:
    minus log10 of the chance that cells explain it.
    """

    where: tuple[NDArray[np.int64], NDArray[np.int64]]
    length_um: float
    width_um: float
    area_um2: float
    evidence: float = 0.0

    @property
    def middle(self) -> complex:
        """Its middle, x + iy on the map."""
        rows, columns = self.where
        return complex(columns.mean() + 0.5, rows.mean() + 0.5)

    def large(self, faint: bool) -> bool:
        """Return whether it is large enough to be dirt without a box; faint: to be looked at."""
        if not faint:
            return self.area_um2 >= AREA_MIN_UM2
        return self.area_um2 >= FAINT_AREA_MIN_UM2 and self.width_um <= FAINT_WIDE_UM


class DarkMap:
    """The newest views through one optics, of different places of the slide."""

    def __init__(self, shape: tuple[int, int], um_per_px: float) -> None:
        """Begin for frames of a shape (height, width) in pixels of so many µm."""
        self.step_px = max(1, round(GRID_UM / um_per_px))
        self._size = max(1, shape[1] // self.step_px), max(1, shape[0] // self.step_px)
        self._views: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=VIEWS_KEPT)
        self._um = um_per_px * self.step_px
        self._added = 0
        # Of the views so far, made once for all that is asked about them.
        self._ground_of = np.full(self.shape, float(UNSEEN), np.float32)
        self._limit_of = DARK_LEAST

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map."""
        return self._size[1], self._size[0]

    def add(self, number: int, pixels: Pixels, field: Field) -> None:
        """Keep a view by its number.

        Args:
            number: of the view.
            pixels: the frame, uint8 (H, W, 3).
            field: the part of it that was read.
        """
        grey = cv2.cvtColor(cv2.resize(pixels, self._size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        seen = self.seen(field)
        level = np.clip(grey * (BRIGHT / self._light(grey, seen)), 0, UNSEEN - 1).astype(np.uint8)
        level[~seen] = UNSEEN
        self._views.append((number, level))
        self._added += 1
        self._ground_of = self._ground()
        self._limit_of = self._limit(self._ground_of)

    def _light(self, grey: NDArray[Any], seen: Mask) -> NDArray[Any]:
        """Return the light of a view: a quadratic surface through the 90th percentiles of squares.

        Of each view by itself, for its slope changes where the light is clipped.
        """
        h, w = self.shape
        side = max(1, round(LIGHT_UM / self._um))
        places, squares = [], []
        for y in range(0, h, side):
            for x in range(0, w, side):
                shown = seen[y : y + side, x : x + side]
                if shown.mean() > SEEN_MIN:
                    squares.append(grey[y : y + side, x : x + side][shown])
                    places.append(((x + shown.shape[1] / 2) / w - 0.5, (y + shown.shape[0] / 2) / h - 0.5))
        levels = _percentiles(squares, 90)
        if len(levels) < 2 * SURFACE:
            return np.full((h, w), max(1.0, float(np.median(levels))) if len(levels) else BRIGHT)
        weights = np.linalg.lstsq(_quadratic(*np.array(places).T), np.log(np.maximum(levels, 1.0)), rcond=None)[0]
        rows, columns = np.mgrid[0:h, 0:w]
        return np.asarray(np.exp(_quadratic((columns + 0.5) / w - 0.5, (rows + 0.5) / h - 0.5) @ weights))

    def seen(self, field: Field) -> Mask:
        """Return bool (h, w): what of the frame was read, without its rim."""
        x, y = (round(part / self.step_px) for part in field.origin)
        h, w = (max(1, round(side * field.zoom / self.step_px)) for side in field.pixels.shape[:2])
        part = np.ones((h, w), np.uint8)
        if field.visible is not None:
            part = cv2.resize(field.visible.view(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST)
            rim = np.ones((2 * RIM_UM + 1, 2 * RIM_UM + 1), np.uint8)
            part = cv2.erode(part, rim, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        seen = np.zeros(self.shape, np.bool_)
        inside = seen[y : y + h, x : x + w]
        inside[:] = part[: inside.shape[0], : inside.shape[1]] > 0
        return seen

    def always_dark(self, since: int) -> Mask:
        """Return bool (h, w): what is dark in every view from a number on."""
        views = [level for number, level in self._views if number >= since]
        if not views:
            return np.zeros(self.shape, np.bool_)
        return np.asarray(np.max(views, axis=0) < self._ground_of * (1 - self._limit_of), np.bool_)

    @property
    def sure(self) -> float:
        """The evidence from which a part is dirt."""
        return SURE + math.log10(max(1.0, self._added / VIEWS_KEPT))

    def parts(self, masked: Mask, *, faint: bool) -> Iterator[Dark]:
        """Give what is dark in all of the newest views, with the evidence that it is no cells.

        It grows with the number of views, the length of the part, and the number of views in which it looks alike.

        Args:
            masked: bool (h, w), what is known as dirt. What lies beside it must be proved by itself: else cells that
                lie there by chance would be added, in a long sample one after the other.
            faint: parts that are faintly dark; else those that are plainly so.
        """
        if not self._views:
            return
        levels, ground = np.stack([level for _, level in self._views]), self._ground_of
        limit = ground * (1 - self._limit_of * (FAINT if faint else 1.0))
        covered = float((levels < limit).mean())
        of_a_view = -math.log10(min(max(covered, 1e-3), 0.999))
        # Of the newest views only, for dirt may have come in mid-sample.
        brightest = np.maximum.accumulate(levels[::-1])
        for count in range(VIEWS_MIN, len(levels) + 1):
            newest = levels[-count:]
            dark = ((brightest[count - 1] < limit) & ~masked).astype(np.uint8)
            for outline in cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
                part = self._part(outline, dark)
                if not part.large(faint):
                    continue
                there = newest[:, part.where[0], part.where[1]] / ground[part.where]
                cells = max(1.0, part.length_um / CELL_UM, min(2.0, 1 + (part.area_um2 - CHANCE_UM2) / CELL_UM2))
                yield replace(part, evidence=count * of_a_view * cells + EACH_SAME * (_alike(there) - 1))

    def _part(self, outline: NDArray[Any], dark: NDArray[np.uint8]) -> Dark:
        x, y, w, h = cv2.boundingRect(outline)
        drawn = cv2.drawContours(np.zeros((h, w), np.uint8), [outline], -1, 1, -1, offset=(-x, -y))
        rows, columns = np.nonzero(cv2.bitwise_and(drawn, dark[y : y + h, x : x + w]))
        sides = sorted((side + 1) * self._um for side in cv2.minAreaRect(outline)[1])
        return Dark((rows + y, columns + x), sides[1], sides[0], cv2.contourArea(outline) * self._um**2)

    def _ground(self) -> NDArray[Any]:
        """Return the light of each place: nearly what is brightest there in any view, without what is small."""
        levels = np.stack([level for _, level in self._views])
        unseen = (levels == UNSEEN).any(0).astype(np.uint8)
        rank = len(levels) - 1 - len(levels) // TOO_BRIGHT
        brightest: NDArray[Any] = np.partition(levels, rank, axis=0)[rank]
        if unseen.any() and not unseen.all():  # or the rim would be darker than what lies beyond it
            _, nearest = cv2.distanceTransformWithLabels(unseen, cv2.DIST_L1, 3, labelType=cv2.DIST_LABEL_PIXEL)
            levels = np.zeros(int(nearest.max()) + 1, np.uint8)
            levels[nearest[unseen == 0]] = brightest[unseen == 0]
            brightest = levels[nearest]
        side = min(round(GROUND_UM / self._um) | 1, 2 * (min(self.shape) // 2) - 1)
        return np.asarray(cv2.medianBlur(brightest, max(3, side)), np.float32)

    def _limit(self, ground: NDArray[Any]) -> float:
        """Return the share by which what is dark is darker than the light."""
        shares = np.concatenate([(level / ground)[level < UNSEEN][::4] for _, level in self._views])
        return float(np.clip(DARK_SHARE * (1 - np.percentile(shares, 10)), DARK_LEAST, DARK_MOST))


def _percentiles(groups: Sequence[NDArray[Any]], percent: float) -> NDArray[np.float64]:
    """Return a percentile of each group; groups of one size are taken together, which is many times as fast."""
    sizes, found = np.array([len(group) for group in groups]), np.zeros(len(groups))
    for size in np.unique(sizes):
        alike = np.nonzero(sizes == size)[0]
        found[alike] = np.percentile(np.stack([groups[i] for i in alike.tolist()]), percent, axis=1)
    return found


def _quadratic(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Return the terms of a quadratic surface, the last axis of six."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _alike(views: NDArray[Any]) -> int:
    """Return how many of (N, P) views of a place show the same as one of them."""
    apart = np.abs(views[:, None] - views).mean(2)
    return int((apart < SAME).sum(1).max())
