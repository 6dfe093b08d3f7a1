"""How two fields lie to each other, by the pattern of their cells alone: light, stain and dirt do not count.

Places are complex numbers, x + iy in µm, about the middle of a field. A `Motion` carries places to another field's:
w = turn · z + shift, where turn is near 1 (its argument the rotation, its modulus the zoom of a hand-held camera).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import CANONICAL_UM_PER_PX, Cells, Field, Floats, Mask

Places: TypeAlias = NDArray[np.complexfloating[Any, Any]]
Ints: TypeAlias = NDArray[np.intp]

GRID_UM = 2.0
"""Side of a pixel of the coarse map on which fields are first laid over each other."""

NEAR_UM = (5.0, 3.0, 2.0)
"""How near two cells must lie to be taken for one, fit by fit."""

CHANCE_UM = 2.0
"""Cells that lie as near to each other after the fit speak for it."""

SAME_UM = 3.0
"""Cells that lie as near to each other in a good fit are the same; two cells are hardly ever so near."""

PRIOR_UM2 = 200.0
"""Weight of "turned and zoomed as was thought" in a fit, as the squared lever arm of one cell."""

TURN_MAX = 0.13
"""A fit that departs this much from what was thought (7°, or 13 %) is no fit."""

SEEN_UM = 1.5
"""A cell of which less than this is in both fields is not expected in both."""

OVERLAP_MIN = 0.05
"""Part of the smaller field that must be shared for the search; red cells are as wide as a twentieth of a field."""


LIKE_MIN = 11.0
"""Significance of a likeness from which it is looked into. Of 40 pairs of fields that had nothing in common the best
shift reached 8.9 to 12.6; an overlap of 5 % gave 11.6 to 16.6, of 10 % 14 to 19, of 30 % 25 to 32.
"""


@dataclass(frozen=True, slots=True)
class Motion:
    """The similarity w = turn · z + shift."""

    turn: complex
    shift: complex

    def __call__(self, z: Any) -> Any:
        """Carry places over."""
        return self.turn * z + self.shift

    def inverse(self) -> Motion:
        """Return the way back."""
        return Motion(1 / self.turn, -self.shift / self.turn)

    def after(self, first: Motion) -> Motion:
        """Return `first`, then this."""
        return Motion(self.turn * first.turn, self(first.shift))


@dataclass(frozen=True, eq=False)
class View:
    """The cells of one field.

    low, high: corners of their boxes, µm; half: the field's far corner; seen: coarse mask of
    what an eyepiece leaves to be seen; whole: that is all.
    Equality is identity: two views of one place are two views.
    """

    low: Places
    high: Places
    half: complex
    seen: Mask
    whole: bool = True

    @classmethod
    def of(cls, field: Field, cells: Cells) -> View:
        """Take the boxes of a field's cells."""
        h, w = field.pixels.shape[:2]
        half = complex(w, h) / 2 * CANONICAL_UM_PER_PX
        corners = cells.boxes * CANONICAL_UM_PER_PX - np.array([half.real, half.imag] * 2, np.float32)
        low, high = np.ascontiguousarray(corners).view(np.complex64).T  # half the memory of complex128, for thousands
        shape = max(1, round(2 * half.imag / GRID_UM)), max(1, round(2 * half.real / GRID_UM))
        if field.visible is None:
            seen = _all_seen(shape)
        else:
            thin = cv2.resize(field.visible.view(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
            seen = thin.view(np.bool_)
        return cls(low.copy(), high.copy(), half, seen, field.visible is None)

    def __len__(self) -> int:
        return len(self.low)

    @property
    def middle(self) -> Places:
        """Centres of the cells."""
        return (self.low + self.high) / 2

    def turned(self, factor: complex) -> View:
        """Return the same cells with their places turned and zoomed, as if within the same field."""
        middle, reach = self.middle * factor, (self.high - self.low) / 2 * abs(factor)
        return View(middle - reach, middle + reach, self.half, self.seen, self.whole)

    def with_more(self, low: Places, high: Places) -> View:
        """Return the field with further cells."""
        return View(
            np.concatenate([self.low, low]), np.concatenate([self.high, high]), self.half, self.seen, self.whole
        )

    def shows(self, z: Places) -> Mask:
        """Return bool (N,): whether places lie in the field and are seen."""
        inside = (np.abs(z.real) < self.half.real) & (np.abs(z.imag) < self.half.imag)
        if not self.whole:
            h, w = self.seen.shape
            at = np.nonzero(inside)[0]
            row, column = (
                (part / GRID_UM).astype(int) for part in ((z[at] + self.half).imag, (z[at] + self.half).real)
            )
            inside[at] = self.seen[np.minimum(row, h - 1), np.minimum(column, w - 1)]
        return np.asarray(inside, np.bool_)

    def points(self) -> Places:
        """Return places spread evenly over what is seen, one for about each 10 µm square."""
        step = max(1, round(10 / GRID_UM))
        row, column = np.nonzero(self.seen[step // 2 :: step, step // 2 :: step])
        at = ((column + 1j * row) * step + (step // 2 + 0.5) * (1 + 1j)) * GRID_UM
        return np.asarray(at - self.half, np.complex128)

    def occupancy(self) -> Floats:
        """Return the coarse map, float32: what lies under cells, with its mean taken away and one as its deviation."""
        painted = np.zeros(self.seen.shape, np.uint8)
        scale = 16 / GRID_UM  # cv2 draws to a sixteenth of a pixel
        centre, side = (self.middle + self.half) * scale - 8 * (1 + 1j), (self.high - self.low) * scale / 2
        for at, reach in zip(centre.tolist(), side.tolist(), strict=True):
            box = round(at.real), round(at.imag)
            cv2.ellipse(painted, box, (round(reach.real), round(reach.imag)), 0, 0, 360, 255, -1, cv2.LINE_8, 4)
        drawn = cv2.GaussianBlur(painted, (0, 0), 0.7).astype(np.float32)
        inside = drawn[self.seen]
        if not inside.size or inside.std() == 0:
            return np.zeros_like(drawn)
        return np.asarray((drawn - inside.mean()) / inside.std() * self.seen, np.float32)


@lru_cache(8)
def _all_seen(shape: tuple[int, int]) -> Mask:
    """Return the mask of a field of which all is seen, the same one each time, so that it takes memory once."""
    seen = np.ones(shape, np.bool_)
    seen.setflags(write=False)
    return seen


@dataclass(frozen=True, slots=True)
class Match:
    """How a field lies to another.

    pairs: (M, 2), a cell of the first and the same cell in the second; expected: how many could be. evidence: the
    probability that as many coincide by chance is below 10 to the minus this (Chernoff bound).
    """

    motion: Motion
    pairs: Ints
    expected: int
    evidence: float

    @property
    def share(self) -> float:
        """Part of the expected cells that are there."""
        return len(self.pairs) / max(1, self.expected)


NO_MATCH = Match(Motion(1, 0), np.zeros((0, 2), np.intp), 0, 0.0)


def search(a: View, b: View, count: int) -> list[Motion]:
    """Return up to `count` shifts of a field over another at which they look alike, the likeliest first.

    The correlation of the coarse maps is divided by the root of the overlap's area, and so is its significance: a small
    overlap must be the more alike. Both come by Fourier transform, as in D. Padfield, IEEE Trans. Image Process. 21
    (2012) 2670.
    """
    rows, columns = (cv2.getOptimalDFTSize(m + n) for m, n in zip(a.seen.shape, b.seen.shape, strict=True))
    like = _correlated(_spectrum(a, rows, columns), _spectrum(b, rows, columns))
    shared = _overlap(a, b, rows, columns)
    enough = shared >= OVERLAP_MIN * min(np.count_nonzero(a.seen), np.count_nonzero(b.seen))
    score = np.where(enough, like / np.sqrt(np.maximum(shared, 1)), 0)
    found: list[Motion] = []
    while len(found) < count:
        row, column = (int(at) for at in np.unravel_index(int(score.argmax()), score.shape))
        if score[row, column] < LIKE_MIN:
            break
        score[np.ix_(np.arange(row - 3, row + 4) % rows, np.arange(column - 3, column + 4) % columns)] = 0
        down, right = row - rows * (row > rows // 2), column - columns * (column > columns // 2)
        found.append(Motion(1, complex(right, down) * GRID_UM + a.half - b.half))
    return found


@lru_cache(64)
def _spectrum(view: View, rows: int, columns: int) -> Floats:
    return _transformed(view.occupancy(), rows, columns)


def _overlap(a: View, b: View, rows: int, columns: int) -> Floats:
    """Return the overlap's area, in pixels of the coarse map, at every shift."""
    if a.whole and b.whole:
        return _overlap_of_whole(a.seen.shape, b.seen.shape, rows, columns)
    masks = [_transformed(view.seen.astype(np.float32), rows, columns) for view in (a, b)]
    return _correlated(*masks)


@lru_cache(8)
def _overlap_of_whole(a: tuple[int, ...], b: tuple[int, ...], rows: int, columns: int) -> Floats:
    return _correlated(*(_transformed(np.ones(shape, np.float32), rows, columns) for shape in (a, b)))


def _transformed(plane: Floats, rows: int, columns: int) -> Floats:
    h, w = plane.shape
    grown = cv2.copyMakeBorder(plane, 0, rows - h, 0, columns - w, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.dft(grown), np.float32)


def _correlated(a: Floats, b: Floats) -> Floats:
    """Return Σ a(z) b(z + d) for every shift d, negative ones at the far end, from two spectra."""
    spectrum = cv2.mulSpectrums(b, a, 0, conjB=True)
    return np.asarray(cv2.idft(spectrum, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT), np.float32)


def matched(a: View, b: View, motion: Motion) -> Match:
    """Fit the motion that carries `a` over `b`, from one that is right to some µm, and say how well it fits."""
    if not (len(a) and len(b)):
        return NO_MATCH
    thought = motion.turn
    for near in NEAR_UM:
        i, j, at_a, at_b, _ = _paired(a, b, motion, near)
        if len(i) < 2:
            return NO_MATCH
        motion = _fitted(motion.inverse()(at_a), at_b, thought)
        if abs(motion.turn - thought) > TURN_MAX:
            return NO_MATCH
    i, j, at_a, at_b, expected = _paired(a, b, motion, SAME_UM)
    if not len(i):
        return NO_MATCH
    near_enough = int(np.count_nonzero(np.abs(at_a - at_b) <= CHANCE_UM))
    return Match(motion, np.stack([i, j], 1), expected, _evidence(a, b, motion, near_enough, expected))


def _paired(a: View, b: View, motion: Motion, near: float) -> tuple[Ints, Ints, Places, Places, int]:
    """Return the cells that lie nearest to each other, their places in `b`, and how many pairs there could be."""
    in_a, at_a = _shared(a, b, motion)
    in_b, at_b = _shared(b, a, motion.inverse())
    at_b = motion(at_b)
    if not (len(in_a) and len(in_b)):
        none = np.zeros(0, np.intp)
        return none, none, at_a[:0], at_b[:0], 0
    apart = np.abs(at_a[:, None] - at_b[None])
    nearest = apart.argmin(1)
    mutual = apart.argmin(0)[nearest] == np.arange(len(in_a))
    i = np.nonzero(mutual & (apart[np.arange(len(in_a)), nearest] <= near))[0]
    j = nearest[i]
    return in_a[i], in_b[j], at_a[i], at_b[j], min(len(in_a), len(in_b))


def _shared(a: View, b: View, motion: Motion) -> tuple[Ints, Places]:
    """Return the cells of `a` that `b` should show, and their middles in `b`, cut as `b` would cut them."""
    size = (a.high - a.low) / 2 * abs(motion.turn)
    at = motion(a.middle)
    low, high = at - size, at + size
    low.real, low.imag = np.maximum(low.real, -b.half.real), np.maximum(low.imag, -b.half.imag)
    high.real, high.imag = np.minimum(high.real, b.half.real), np.minimum(high.imag, b.half.imag)
    left, middle = high - low, (low + high) / 2
    slight = np.minimum(SEEN_UM, 1.9 * np.minimum(size.real, size.imag))  # a platelet is no larger
    shown = np.nonzero((left.real > slight) & (left.imag > slight))[0]
    shown = shown[b.shows(middle[shown])]
    return shown, middle[shown]


def _fitted(z: Places, w: Places, thought: complex) -> Motion:
    """Least squares of w = turn · z + shift, drawn a little to the turn that was thought."""
    mean_z, mean_w = z.mean(), w.mean()
    dz, dw = z - mean_z, w - mean_w
    turn = complex((np.vdot(dz, dw) + PRIOR_UM2 * thought) / (np.vdot(dz, dz).real + PRIOR_UM2))
    return Motion(turn, complex(mean_w - turn * mean_z))


def _evidence(a: View, b: View, motion: Motion, found: int, expected: int) -> float:
    """Return −log10 of the probability that so many cells, strewn at random, lie so near to others."""
    area = max(1.0, float(b.shows(motion(a.points())).sum())) * 100.0
    chance = 1 - math.exp(-expected / area * math.pi * CHANCE_UM**2)
    share = found / expected
    if share <= chance:
        return 0.0
    gain = share * math.log(share / chance)
    if share < 1:
        gain += (1 - share) * math.log((1 - share) / (1 - chance))
    return expected * gain / math.log(10)
