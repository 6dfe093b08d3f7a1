"""Finds, among thousands of fields, those that show the same group of cells: a table of small constellations.

Each cell and three of its four nearest neighbours make a pattern of three arrows, rounded to some µm, as star trackers
and geometric hashing (H. J. Wolfson, I. Rigoutsos, IEEE Comput. Sci. Eng. 4 (1997) 10) do. Memory and time do not grow
with the sample: where the table is full, the newest takes the place of the oldest.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edge.vision.registration.distortion import Places
from edge.vision.registration.point_pattern import Motion, View

BIN_UM = 2.5
"""Arrows are rounded to this: several times the error of a cell's place, and a twentieth of a turn's effect at 2°."""

NEIGHBOURS = 4

BUCKETS, WAYS = 1 << 16, 8
"""Places in the table: enough for the patterns of some 1,300 fields of 100 cells."""

SPREAD_UM = 8.0
"""Patterns that agree on a shift to within this vote for it together."""

VOTES_MIN = 3

_FACTORS = np.array([73856093, 19349663, 83492791, 49979687, 67867967, 86028121], np.int64)
_TRIPLES = np.array(list(combinations(range(NEIGHBOURS), 3)))


class StarMap:
    """The table. Fields are known by a number that the caller gives."""

    def __init__(self) -> None:
        self._field = np.full((BUCKETS, WAYS), -1, np.int32)
        self._at = np.full((BUCKETS, WAYS), 0, np.complex64)
        self._next = np.zeros(BUCKETS, np.int8)

    def add(self, view: View, field: int) -> None:
        """Keep the patterns of a field."""
        bucket, at = _patterns(view)
        way = self._next[bucket]
        self._field[bucket, way] = field
        self._at[bucket, way] = at
        self._next[bucket] = (way + 1) % WAYS

    def like(self, view: View, count: int) -> list[tuple[int, Motion]]:
        """Return up to `count` fields that may show the same cells, the likeliest first, and the shift onto each."""
        bucket, at = _patterns(view)
        field, shift = self._field[bucket].ravel(), (self._at[bucket] - at[:, None]).ravel()
        shift, field = shift[field >= 0], field[field >= 0]
        column, row = (np.rint(part / SPREAD_UM).astype(np.int64) for part in (shift.real, shift.imag))
        group = (field.astype(np.int64) << 32) + ((column + 0x7FFF) << 16) + (row + 0x7FFF)
        _, inverse, votes = np.unique(group, return_inverse=True, return_counts=True)
        best = np.argsort(-votes, kind="stable")[:count]
        found = []
        for one in best[votes[best] >= VOTES_MIN]:
            mine = inverse == one
            found.append((int(field[mine][0]), Motion(1, complex(shift[mine].mean()))))
        return found


def _patterns(view: View) -> tuple[NDArray[np.int64], Places]:
    """Return the bucket (M,) of each pattern, and the place (M,) of the cell in its middle."""
    middle = view.middle
    if len(middle) <= NEIGHBOURS:
        return np.zeros(0, np.int64), np.zeros(0, np.complex128)
    apart = np.abs(middle[:, None] - middle[None])
    np.fill_diagonal(apart, np.inf)
    near = np.argpartition(apart, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    arrows = np.sort(middle[near] - middle[:, None], axis=1)  # by x: the order does not hang on who is nearest
    triple = arrows[:, _TRIPLES].reshape(-1, 3)
    rounded = np.floor(np.concatenate([triple.real, triple.imag], axis=1) / BIN_UM).astype(np.int64)
    key = (rounded * _FACTORS).sum(1)
    return (key ^ (key >> 17)) % BUCKETS, np.repeat(middle, len(_TRIPLES))
