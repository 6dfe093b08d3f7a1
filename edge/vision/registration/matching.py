"""How two fields lie to each other, by the pattern of their cells alone, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.vision.registration.distortion import Distortion, Places
from edge.vision.registration.point_pattern import PointPattern, Similarity, xy

Ints: TypeAlias = NDArray[np.intp]

NEAR_UM = (5.0, 3.0, 2.0)
"""How near two cells must lie to be taken for one, fit by fit."""

CHANCE_UM = (0.5, 1.0)
"""Cells that lie as near to each other after the fit speak for it, the nearer the more: where two pictures are as sharp
as they should be, the same cell lies within half a micrometre in both.
"""

SAME_UM = 3.0
"""Cells that lie as near to each other in a good fit are the same; two cells are hardly ever so near."""

PRIOR_UM2 = 200.0
"""Weight of "turned and zoomed as was thought" in a fit, as the squared lever arm of one cell."""

TURN_MAX = 0.13
"""A fit that departs this much from what was thought (7°, or 13 %) is no fit."""

DISTORTION_CELLS_MIN, DISTORTED_UM = 30, 0.5
"""Two fields that share so many cells, half of which lie farther apart than this, are looked at for a distortion."""

DISTORTED_NEAR_UM = (6.0, 5.0, 4.0, 3.0)
"""How near two cells must lie to be taken for one along a distortion, fit by fit."""

SEEN_UM = 1.5
"""A cell of which less than this is in both fields is not expected in both."""


@dataclass(frozen=True, slots=True)
class Match:
    """How a field lies to another.

    pairs: (M, 2), a cell of the first and the same cell in the second; expected: how many could be. evidence: the
    probability that as many coincide by chance is below 10 to the minus this (Chernoff bound). distortion: what the
    pairs show beyond the motion.
    """

    motion: Similarity
    pairs: Ints
    expected: int
    evidence: float
    distortion: Distortion | None = None

    def onto(self, z: Places) -> Places:
        """Carry places of the first over to the second."""
        w: Places = self.motion(z)
        return w if self.distortion is None else self.distortion(w)

    @property
    def share(self) -> float:
        """Part of the expected cells that are there."""
        return len(self.pairs) / max(1, self.expected)


NO_MATCH = Match(Similarity(1, 0), np.zeros((0, 2), np.intp), 0, 0.0)


def matched(a: PointPattern, b: PointPattern, motion: Similarity) -> Match:
    """Fit the motion that carries `a` over `b`, and say how well it fits.

    It starts from one that is right to some µm.
    """
    if not (len(a) and len(b)):
        return NO_MATCH
    thought = motion.turn
    for near in NEAR_UM:
        pairs = _paired(a, b, motion, near)
        if len(pairs.i) < 2:
            return NO_MATCH
        motion = _fitted(motion.inverse()(pairs.at_a), pairs.at_b, motion, thought)
        if abs(motion.turn - thought) > TURN_MAX:
            return NO_MATCH
    pairs = _paired(a, b, motion, SAME_UM)
    if not len(pairs.i):
        return NO_MATCH
    return Match(motion, pairs.both, pairs.fewer, _evidence(a, b, motion, pairs))


def distorted(a: PointPattern, b: PointPattern, match: Match) -> Match:
    """Pair the cells of two overlapping fields once more, along a distortion.

    Distortion laid some of them too far apart.

    The evidence stays that of the similarity, which has less to choose from.
    """
    i, j = match.pairs.T
    at_a, at_b = match.motion(a.middle[i]), b.middle[j]
    if len(i) < DISTORTION_CELLS_MIN or float(np.median(np.abs(at_a - at_b))) < DISTORTED_UM:
        return match
    distortion = Distortion.fitted(at_a, at_b)
    for near in DISTORTED_NEAR_UM:
        pairs = _paired(a, b, match.motion, near, distortion)
        distortion = Distortion.fitted(match.motion(a.middle[pairs.i]), pairs.at_b)
    pairs = _paired(a, b, match.motion, SAME_UM, distortion)
    if len(pairs.i) <= len(match.pairs):
        return match
    return replace(match, pairs=pairs.both, expected=pairs.fewer, distortion=distortion)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Cells i of one field and j of another that lie nearest to each other, and their places in the second.

    fewer, more: of the cells that both should show, how many the one and the other field has.
    """

    i: Ints
    j: Ints
    at_a: Places
    at_b: Places
    fewer: int
    more: int

    @property
    def both(self) -> Ints:
        """The pairs, (M, 2)."""
        return np.stack([self.i, self.j], 1)


def _paired(
    a: PointPattern, b: PointPattern, motion: Similarity, near: float, distortion: Distortion | None = None
) -> _Pairs:
    """Pair the cells of two fields that lie within so many µm of each other, and have no nearer one."""
    in_a, at_a = _shared(a, b, motion)
    if distortion is not None:
        at_a = distortion(at_a)
    in_b, at_b = _shared(b, a, motion.inverse())
    at_b = motion(at_b)
    fewer, more = sorted((len(in_a), len(in_b)))
    if not fewer:
        none = np.zeros(0, np.intp)
        return _Pairs(none, none, at_a[:0], at_b[:0], 0, more)
    apart = np.abs(at_a[:, None] - at_b)
    nearest, all_a = apart.argmin(1), np.arange(len(in_a))
    mutual = apart.argmin(0)[nearest] == all_a
    i = np.nonzero(mutual & (apart[all_a, nearest] <= near))[0]
    j = nearest[i]
    return _Pairs(in_a[i], in_b[j], at_a[i], at_b[j], fewer, more)


def _shared(a: PointPattern, b: PointPattern, motion: Similarity) -> tuple[Ints, Places]:
    """Return the cells of `a` that `b` should show, and their middles in `b`, cut as `b` would cut them."""
    size, edge = a.reach_turned(motion.turn), np.array([b.half.real, b.half.imag], np.float32)
    centre = motion(a.middle)
    at = xy(centre)
    low, high = np.maximum(at - size, -edge), np.minimum(at + size, edge)
    slight = np.minimum(SEEN_UM, 1.9 * size.min(1))  # a platelet is no larger
    shown = np.nonzero((high - low).min(1) > slight)[0]
    middle = ((low[shown] + high[shown]) / 2).view(centre.dtype)[:, 0]
    if b.whole:
        return shown, middle
    seen = b.shows(middle)
    return shown[seen], middle[seen]


def _fitted(z: Places, w: Places, motion: Similarity, thought: complex) -> Similarity:
    """Least squares of a similarity that faces as `motion`, drawn a little to the turn that was thought."""
    z = motion.facing(z)
    mean_z, mean_w = z.sum() / len(z), w.sum() / len(w)
    dz, dw = z - mean_z, w - mean_w
    turn = complex((np.vdot(dz, dw) + PRIOR_UM2 * thought) / (np.vdot(dz, dz).real + PRIOR_UM2))
    return Similarity(turn, complex(mean_w - turn * mean_z), motion.mirrored)


def _evidence(a: PointPattern, b: PointPattern, motion: Similarity, pairs: _Pairs) -> float:
    """Return −log10 of the probability that so many cells, strewn at random, lie so near to others.

    The better of two radii is taken, and the choice is paid for (Bonferroni).
    """
    area = max(1.0, float(b.shows(motion(a.points())).sum())) * 100.0
    apart = np.abs(pairs.at_a - pairs.at_b)
    best = max(
        unlikely(int((apart <= near).sum()), pairs.fewer, pairs.more / area * math.pi * near**2) for near in CHANCE_UM
    )
    return max(0.0, best - math.log10(len(CHANCE_UM)))


def unlikely(found: int, expected: int, about: float) -> float:
    """Return −log10 of the Chernoff bound for so many cells found of those expected.

    about: cells in the circle in which one is found. One cell counts for nothing: the fit lays it where it should be.
    """
    chance = 1 - math.exp(-about)
    found, expected = found - 1, expected - 1
    if found <= chance * expected:
        return 0.0
    share = found / expected
    gain = share * math.log(share / chance)
    if share < 1:
        gain += (1 - share) * math.log((1 - share) / (1 - chance))
    return expected * gain / math.log(10)
