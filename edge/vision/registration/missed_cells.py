"""Cells that a frame should show and does not: what hardly any look at a place finds is no cell to count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.types import Mask, Numbers
from edge.vision.registration.distortion import Places
from edge.vision.registration.point_pattern import PointPattern, Similarity

AROUND_UM = 25.0
"""How far the cells lie that say whether a frame can be compared with a field in some place."""

CONFIRMED, CONFIRMED_MIN = 0.5, 3
"""Part of those cells that must be in both, and how many; nothing is missed in a distorted or blurred picture."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How a frame lies on a known field, to which motion carries; ids (M,).

    The numbers of the field's cells now.
    """

    view: PointPattern
    motion: Similarity
    ids: Numbers


def missed_in(view: PointPattern, ids: Numbers, overlaps: list[Overlap]) -> Numbers:
    """Return the numbers of cells that linked fields have and a frame does not show.

    The frame has cells `ids` (N,) and should show them.
    """
    found = [np.zeros(0, np.int64)]
    for one in overlaps:
        at = one.motion.inverse()(one.view.middle)
        whole = _shown_whole(one.view, view, at)
        hit = np.isin(one.ids, ids)
        found.append(one.ids[_missed(at, whole, hit)])
    return np.unique(np.concatenate(found))


def missed_before(view: PointPattern, ids: Numbers, new: Mask, overlaps: list[Overlap]) -> Numbers:
    """Return of a frame's new cells, bool (N,), how many linked fields should have shown each.

    (K,) for K new ones.
    """
    times = np.zeros(len(ids), np.int64)
    for one in overlaps:
        at = one.motion(view.middle)
        whole = _shown_whole(view, one.view, at)
        times[_missed(at, whole, np.isin(ids, one.ids)) & new] += 1
    return times[new]


def _shown_whole(mine: PointPattern, other: PointPattern, at: Places) -> Mask:
    """Return which cells of a field lie wholly in another, where their middles lie at `at` (N,)."""
    reach = (mine.high - mine.low) / 2
    return np.asarray(other.shows(at - reach) & other.shows(at + reach) & other.shows(at), np.bool_)


def _missed(at: Places, whole: Mask, hit: Mask) -> Mask:
    """Return which cells (N,) that are shown whole have no match, among neighbours that have."""
    missed = whole & ~hit
    where, others = np.nonzero(missed)[0], np.nonzero(whole)[0]
    near = np.abs(at[where][:, None] - at[others]) < AROUND_UM
    hits = (near & hit[others]).sum(1)
    missed[where] = (hits >= CONFIRMED_MIN) & (hits >= CONFIRMED * (near.sum(1) - 1))
    return missed
