"""Where the cells of a rendered smear lie: what makes a slide, and the known truth of each of its fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from edge.camera.virtual.dirt import Dirt
from edge.camera.virtual.smear import SHAPES, Outline
from edge.types import CANONICAL_UM_PER_PX

Stain = Literal["leishman", "field", "wright"]

BANK = {"disc": 96, "spindle": 48, "crescent": 48, "oval": 24, "echinocyte": 24, "teardrop": 24,
        "white_cell": 12, "platelet": 24}  # fmt: skip
"""How many different cells of each shape a slide has; each appears in four rotations."""

OTHERS = {"oval": 0.05, "echinocyte": 0.04, "teardrop": 0.03}
"""Share of the red cells that are neither discs nor sickles."""

CUT_SHARE = 0.2
"""A cell is wholly visible, or at least this share of it is missing and this share shown: none just grazes the edge."""
CLEAR_UM = 1.0
"""A wholly visible cell is at least this far from the edge."""
RED = ("disc", "spindle", "crescent", *OTHERS)
GAP_UM = 0.6
"""Between two cells that do not belong together."""
MARGIN_UM = 8.0
"""How far outside the picture cells are laid, so that some are cut by its border."""
ATTEMPTS = 40


@dataclass(frozen=True, slots=True)
class View:
    """One look at the smear.

    x_um, y_um: the slide's position under the picture's centre; turned_deg: by how much the slide appears turned, from
    x to y; light: factor on the exposure.
    """

    x_um: float
    y_um: float
    turned_deg: float = 0.0
    light: float = 1.0


@dataclass(frozen=True, slots=True)
class SlideSpec:
    """Everything that makes a rendered slide; equal specs give equal pixels.

    n_fields: length of the path. cells_per_mm2: red cells, 0 for an empty slide. pair_share: red cells laid so as to
    touch or overlap another. stain None: chosen by the seed. defocus_um: standard deviation of the focus's blur.
    exposure: factor on the light. motion_um: length of a smear along x. noise: standard deviation in grey levels.
    eyepiece: a bright disc on black, as in phone pictures. views: where the camera looks, on one smear that has no end,
    so that fields may overlap and be seen again; without them field after field of cells that no other field shows.
    dirt: what stays in the picture. artefacts_per_field: what else lies on the slide and is no cell, in the mean; only
    without views.
    """

    seed: int = 0
    width: int = 640
    height: int = 480
    um_per_px: float = CANONICAL_UM_PER_PX
    n_fields: int = 60
    sickle_fraction: float = 0.08
    cells_per_mm2: float = 5200.0
    white_cells_per_mm2: float = 15.0
    platelets_per_mm2: float = 150.0
    pair_share: float = 0.08
    stain: Stain | None = None
    defocus_um: float = 0.1
    exposure: float = 1.0
    motion_um: float = 0.0
    noise: float = 1.6
    eyepiece: bool = False
    views: tuple[View, ...] = ()
    dirt: tuple[Dirt, ...] = ()
    artefacts_per_field: float = 0.0

    def __post_init__(self) -> None:
        if self.artefacts_per_field and self.views:
            raise ValueError("artefacts_per_field is of fields that do not overlap; leave out views, or draw dirt")

    @property
    def eyepiece_radius_um(self) -> float:
        """Radius of the eyepiece's disc, whose centre is the picture's."""
        return 0.48 * min(self.width, self.height) * self.um_per_px


@dataclass(frozen=True, slots=True)
class VirtualCell:
    """One cell of a field as it truly is.

    class_name: one of CLASSES. shape: key of SHAPES. x, y: centre, and box: x0, y0, x1, y1, all in image pixels, whose
    first pixel spans 0 to 1. fully_visible: False where the border of the image or of the eyepiece cuts the cell.
    identity: the same wherever the same cell shows, and no other cell's.
    """

    class_name: str
    shape: str
    x: float
    y: float
    box: tuple[float, float, float, float]
    fully_visible: bool
    identity: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """One cell of a slide's bank.

    The number-th of its shape, turned by so many right angles as np.rot90 turns.

    outline: in µm about the centre, turned. reach: from the centre to the left, top, right and bottom. radius: to the
    farthest point.
    """

    shape: str
    number: int
    quarter_turns: int
    outline: Outline
    reach: tuple[float, float, float, float]
    radius: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A cell of the bank laid with its centre on the centre of a pixel."""

    kind: Kind
    column: int
    row: int
    fully_visible: bool

    def described(self, um_per_px: float, identity: tuple[int, ...]) -> VirtualCell:
        """Return what there is to know about the cell."""
        x, y = self.column + 0.5, self.row + 0.5
        left, top, right, bottom = (reach / um_per_px for reach in self.kind.reach)
        box = (x - left, y - top, x + right, y + bottom)
        return VirtualCell(SHAPES[self.kind.shape][0], self.kind.shape, x, y, box, self.fully_visible, identity)


def random_of(spec: SlideSpec, shape: str, number: int) -> Generator:
    """Return the randomness that belongs to one cell of a slide's bank."""
    return np.random.default_rng((spec.seed, 1, list(SHAPES).index(shape), number))


def bank_of(spec: SlideSpec) -> dict[str, list[Kind]]:
    """Return the different cells of a slide, by shape."""
    return {
        shape: [kind for number in range(count) for kind in _turned_kinds(spec, shape, number)]
        for shape, count in BANK.items()
    }


def shapes_on(spec: SlideSpec, mm2: float, rng: Generator) -> list[str]:
    """Draw the shapes of the cells on so much slide, in the order in which they are laid."""
    shares = {"spindle": spec.sickle_fraction / 2, "crescent": spec.sickle_fraction / 2}
    shares |= {shape: share * (1 - spec.sickle_fraction) for shape, share in OTHERS.items()}
    shares["disc"] = 1 - sum(shares.values())
    red = rng.choice(list(shares), int(rng.poisson(spec.cells_per_mm2 * mm2)), p=list(shares.values()))
    white = ["white_cell"] * int(rng.poisson(spec.white_cells_per_mm2 * mm2))
    platelets = ["platelet"] * int(rng.poisson(spec.platelets_per_mm2 * mm2))
    return [*white, *red.tolist(), *platelets]


class Layout:
    """The cells of every field of a slide. A field depends on the seed and its index only.

    Fields are far enough apart that no cell is in two of them.
    """

    def __init__(self, spec: SlideSpec) -> None:
        self._spec = spec
        self._size = spec.width * spec.um_per_px, spec.height * spec.um_per_px
        self._bank = bank_of(spec)

    def field(self, index: int) -> list[Placed]:
        """Return every cell of a field that shows, wholly or cut."""
        rng = np.random.default_rng((self._spec.seed, 2, index))
        mm2 = (self._size[0] + 2 * MARGIN_UM) * (self._size[1] + 2 * MARGIN_UM) * 1e-6
        shapes = shapes_on(self._spec, mm2, rng)
        laid: list[Placed] = []
        discs = np.zeros((len(shapes), 3))  # of those laid: x, y, radius in µm
        for shape in shapes:
            kind = self._bank[shape][int(rng.integers(len(self._bank[shape])))]
            reds = [i for i, one in enumerate(laid) if one.kind.shape in RED] if shape in RED else []
            partner = reds[int(rng.integers(len(reds)))] if reds and rng.random() < self._spec.pair_share else None
            placed = self._place(kind, partner, discs[: len(laid)], rng)
            if placed is not None:
                discs[len(laid)] = *self._centre(placed.column, placed.row), kind.radius
                laid.append(placed)
        return laid

    def _place(self, kind: Kind, partner: int | None, discs: Outline, rng: Generator) -> Placed | None:
        """Find a place clear of all discs but the partner's; None for one outside the picture, or when it is full."""
        for _ in range(ATTEMPTS):
            if partner is None:
                x, y = (rng.uniform(-MARGIN_UM, side + MARGIN_UM) for side in self._size)
            else:
                angle, nearness = rng.uniform(0, 2 * math.pi), rng.uniform(0.85, 1.02)
                distance = (kind.radius + discs[partner, 2]) * nearness
                x = discs[partner, 0] + distance * math.cos(angle)
                y = discs[partner, 1] + distance * math.sin(angle)
            column, row = math.floor(x / self._spec.um_per_px), math.floor(y / self._spec.um_per_px)
            x, y = self._centre(column, row)
            shown = self._shown(x, y, kind)
            if shown == 0:
                return None
            if shown < 1 and not CUT_SHARE <= shown <= 1 - CUT_SHARE:
                continue
            clear = np.hypot(discs[:, 0] - x, discs[:, 1] - y) > discs[:, 2] + (kind.radius + GAP_UM)
            if partner is not None:
                clear[partner] = True
            if clear.all():
                return Placed(kind, column, row, shown == 1)
        return None

    def _centre(self, column: int, row: int) -> tuple[float, float]:
        return (column + 0.5) * self._spec.um_per_px, (row + 0.5) * self._spec.um_per_px

    def _shown(self, x: float, y: float, kind: Kind) -> float:
        """Share of the cell's extent inside the edge, at its worst side; 1 only where it is clear of the edge."""
        left, top, right, bottom = kind.reach
        spans = [(x - left, x + right, self._size[0]), (y - top, y + bottom, self._size[1])]
        shown = min(_share(low, high, 0, side) for low, high, side in spans)
        if self._spec.eyepiece:
            centre = np.array([x - self._size[0] / 2, y - self._size[1] / 2])
            reach = _distance(kind.outline + centre)
            radius = self._spec.eyepiece_radius_um
            shown = min(shown, _share(float(reach.min()), float(reach.max()), -math.inf, radius))
        return shown


def _turned_kinds(spec: SlideSpec, shape: str, number: int) -> list[Kind]:
    """Make one cell of the bank in its four rotations."""
    outline = SHAPES[shape][1](random_of(spec, shape, number))
    radius = float(_distance(outline).max())
    kinds = []
    for turns in range(4):
        left, top = (-outline.min(axis=0)).tolist()
        right, bottom = outline.max(axis=0).tolist()
        kinds.append(Kind(shape, number, turns, outline, (left, top, right, bottom), radius))
        outline = outline[:, ::-1] * (1, -1)  # as np.rot90 turns an array whose rows are y
    return kinds


def _share(low: float, high: float, start: float, end: float) -> float:
    """Share of low–high that lies in start–end; a little less than 1 where it is too near to be called clear."""
    share = max(0.0, min(high, end) - max(low, start)) / (high - low)
    return share if low - CLEAR_UM >= start and high + CLEAR_UM <= end else min(share, 1 - 1e-9)


def _distance(points: Outline) -> Outline:
    return np.hypot(points[:, 0], points[:, 1])
