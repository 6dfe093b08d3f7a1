"""A rendered smear without end, over which the camera may move as it likes: the same cells wherever it comes back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.camera.virtual.layout import (
    ATTEMPTS,
    GAP_UM,
    MARGIN_UM,
    RED,
    Kind,
    Placed,
    SlideSpec,
    View,
    VirtualCell,
    bank_of,
    shapes_on,
)
from edge.camera.virtual.smear import SHAPES

PLOT_UM = 80.0
"""The smear is laid in squares of this side. Cells, at most 12 µm in radius, reach into neighbours only."""

PLOTS_KEPT = 4096
"""Squares that are remembered; an older one is laid anew, cell by cell as before."""

ROW = 10
"""Fields in a row of the path to and fro."""

Affine: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Laid:
    """A cell with its centre, in µm of the slide."""

    kind: Kind
    x_um: float
    y_um: float
    identity: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grown:
    """The cells under a view and its margin, on pixels that are not yet turned.

    Shape is (height, width).
    """

    shape: tuple[int, int]
    cells: list[Placed]


def serpentine(spec: SlideSpec, overlap: float) -> tuple[View, ...]:
    """Return n_fields views in rows to and fro, with some overlap.

    Each shares `overlap` of its side with the one before.
    """
    step_x, step_y = (side * spec.um_per_px * (1 - overlap) for side in (spec.width, spec.height))
    views = []
    for index in range(spec.n_fields):
        row, along = divmod(index, ROW)
        views.append(View((along if row % 2 == 0 else ROW - 1 - along) * step_x, row * step_y))
    return tuple(views)


class Specimen:
    """The cells of the smear. What lies in a square depends on the seed and the square only."""

    def __init__(self, spec: SlideSpec) -> None:
        self._spec = spec
        self._bank = bank_of(spec)
        self._plot = lru_cache(PLOTS_KEPT)(self._lay)

    def truth(self, view: View) -> list[VirtualCell]:
        """Return every cell of which a tenth or more shows, as it lies in the picture."""
        spec, um = self._spec, self._spec.um_per_px
        across, turn = np.array([spec.width, spec.height]) * um, _turn(view)
        found = []
        for cell in self._near(view):
            outline = cell.kind.outline @ turn.T
            centre = turn @ (cell.x_um - view.x_um, cell.y_um - view.y_um) + across / 2
            low, high = outline.min(0) + centre, outline.max(0) + centre
            shown = ((np.minimum(high, across) - np.maximum(low, 0)) / (high - low)).clip(0, 1).min()
            if spec.eyepiece:
                reach = np.hypot(*(outline + centre - across / 2).T)
                part = (spec.eyepiece_radius_um - reach.min()) / (reach.max() - reach.min())
                shown = min(shown, max(0.0, part))
            if shown > 0.1:
                box = (low[0] / um, low[1] / um, high[0] / um, high[1] / um)
                name, shape = SHAPES[cell.kind.shape][0], cell.kind.shape
                x, y = (centre / um).tolist()
                found.append(VirtualCell(name, shape, x, y, box, bool(shown >= 1), cell.identity))
        return found

    def grown(self, view: View) -> tuple[Grown, Affine]:
        """Return the cells to draw for a view, and the transform into the view.

        The transform is that of cv2.warpAffine.
        """
        spec, um = self._spec, self._spec.um_per_px
        side = math.ceil(math.hypot(spec.width, spec.height) + 2 * MARGIN_UM / um)
        column0, row0 = (math.floor(at / um - side / 2) for at in (view.x_um, view.y_um))
        cells = [
            Placed(cell.kind, math.floor(cell.x_um / um) - column0, math.floor(cell.y_um / um) - row0, True)
            for cell in self._near(view)
        ]
        turn = _turn(view)
        # A pixel's middle is at whole numbers for OpenCV, half a pixel off from the slide's measure.
        centre = np.array([view.x_um / um - column0, view.y_um / um - row0]) - 0.5
        shift = np.array([spec.width, spec.height]) / 2 - 0.5 - turn @ centre
        return Grown((side, side), cells), np.column_stack([turn, shift])

    def _near(self, view: View) -> list[Laid]:
        """Return every cell that may show in a view."""
        reach = math.hypot(self._spec.width, self._spec.height) / 2 * self._spec.um_per_px + MARGIN_UM
        columns, rows = (
            range(math.floor((at - reach) / PLOT_UM), math.floor((at + reach) / PLOT_UM) + 1)
            for at in (view.x_um, view.y_um)
        )
        cells = (cell for column in columns for row in rows for cell in self._plot(column, row))
        return [c for c in cells if abs(c.x_um - view.x_um) < reach and abs(c.y_um - view.y_um) < reach]

    def _lay(self, column: int, row: int) -> tuple[Laid, ...]:
        """Lay the cells of a square clear of those around.

        Squares are of four kinds, by whether column and row are odd, and one is laid after its neighbours of the kinds
        before: so a square needs no more than its neighbours, in whatever order the camera comes to them.
        """
        order = 2 * (column % 2) + row % 2
        around = [
            cell
            for i in (column - 1, column, column + 1)
            for j in (row - 1, row, row + 1)
            if 2 * (i % 2) + j % 2 < order
            for cell in self._plot(i, j)
        ]
        # The seed takes no negative numbers.
        rng = np.random.default_rng((self._spec.seed, 4, column & 0xFFFFFFFF, row & 0xFFFFFFFF))
        shapes = shapes_on(self._spec, PLOT_UM**2 * 1e-6, rng)
        discs = np.array([(c.x_um, c.y_um, c.kind.radius) for c in around] + [(0.0, 0.0, 0.0)] * len(shapes))
        laid: list[Laid] = []
        for shape in shapes:
            kind = self._bank[shape][int(rng.integers(len(self._bank[shape])))]
            reds = [i for i, one in enumerate(laid) if one.kind.shape in RED] if shape in RED else []
            pair = bool(reds) and rng.random() < self._spec.pair_share
            partner = len(around) + reds[int(rng.integers(len(reds)))] if pair else None
            spot = self._spot(kind, partner, discs[: len(around) + len(laid)], (column, row), rng)
            if spot is not None:
                discs[len(around) + len(laid)] = *spot, kind.radius
                laid.append(Laid(kind, *spot, (column, row, len(laid))))
        return tuple(laid)

    def _spot(
        self, kind: Kind, partner: int | None, discs: Affine, plot: tuple[int, int], rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """Find a place clear of all discs but the partner's, or None."""
        um = self._spec.um_per_px
        for _ in range(ATTEMPTS):
            if partner is None:
                x, y = (float((side + rng.uniform()) * PLOT_UM) for side in plot)
            else:
                angle, nearness = rng.uniform(0, 2 * math.pi), rng.uniform(0.85, 1.02)
                distance = (kind.radius + discs[partner, 2]) * nearness
                x, y = discs[partner, :2] + distance * np.array([math.cos(angle), math.sin(angle)])
            x, y = (math.floor(x / um) + 0.5) * um, (math.floor(y / um) + 0.5) * um
            if (math.floor(x / PLOT_UM), math.floor(y / PLOT_UM)) != plot:
                continue
            clear = np.hypot(discs[:, 0] - x, discs[:, 1] - y) > discs[:, 2] + (kind.radius + GAP_UM)
            if partner is not None:
                clear[partner] = True
            if clear.all():
                return x, y
        return None


def _turn(view: View) -> Affine:
    angle = math.radians(view.turned_deg)
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
