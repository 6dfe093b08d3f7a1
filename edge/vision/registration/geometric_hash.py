"""Finds, among thousands of fields, those that show the same cells, however they are turned or mirrored.

A cell and four of its five nearest neighbours make a pattern: the neighbours' distances in rising order, and their
directions against the nearest one's, rounded. That does not change when a picture is turned, and a mirrored pattern is
brought to the same form. So do star trackers and geometric hashing (H. J. Wolfson, I. Rigoutsos, IEEE Comput. Sci. Eng.
4 (1997) 10). Memory and time do not grow with the sample: where the table is full, the newest takes the oldest's place.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.types import Mask
from edge.vision.registration.distortion import Places
from edge.vision.registration.point_pattern import PointPattern, Similarity

BIN_UM, BIN_DEG = 2.5, 20.0
"""Distances and directions are rounded to these: several times the error of a cell's place."""

NEIGHBOURS, CHOSEN = 5, 4

BUCKETS, WAYS = 1 << 16, 8
"""Places in the table: enough for the patterns of some 1,000 fields of 100 cells."""

SPREAD_UM, SPREAD_DEG = 16.0, 15.0
"""Patterns that agree on shift and turn to within these vote for them together."""

VOTES_MIN = 3

UPRIGHT = 0.02
"""A turn of less than this (1°) is taken for none, as fits are drawn to it: a few patterns do not say it better."""

_FACTORS = np.array([73856093, 19349663, 83492791, 49979687, 67867967, 86028121, 15485863], np.int64)
_CHOICES = np.array(list(combinations(range(NEIGHBOURS), CHOSEN)))


class GeometricHash:
    """The table. Fields are known by a number that the caller gives."""

    def __init__(self) -> None:
        self._field = np.full((BUCKETS, WAYS), -1, np.int32)
        self._at = np.zeros((BUCKETS, WAYS), np.complex64)
        self._direction = np.zeros((BUCKETS, WAYS), np.complex64)
        self._mirrored = np.zeros((BUCKETS, WAYS), np.bool_)
        self._next = np.zeros(BUCKETS, np.int8)

    def add(self, view: PointPattern, field: int) -> None:
        """Keep the patterns of a field."""
        found = _patterns(view)
        way = self._next[found.bucket]
        self._field[found.bucket, way] = field
        self._at[found.bucket, way] = found.at
        self._direction[found.bucket, way] = found.direction
        self._mirrored[found.bucket, way] = found.mirrored
        self._next[found.bucket] = (way + 1) % WAYS

    def like(self, view: PointPattern, count: int) -> list[tuple[int, Similarity]]:
        """Return up to `count` fields that may show the same cells, the likeliest first.

        With each, how the view lies on it.
        """
        return self._like(_patterns(view), count)

    def like_zoomed(
        self, view: PointPattern, count: int, zooms: Sequence[float]
    ) -> Iterator[tuple[float, int, Similarity]]:
        """Give, for each zoom of the view, up to `count` fields that it is then like.

        With each, the zoom, and how the zoomed view lies on it.
        """
        shapes = _shapes(view)
        for zoom in zooms:
            for number, motion in self._like(_rounded(shapes, zoom), count):
                yield zoom, number, motion

    def _like(self, found: _Patterns, count: int) -> list[tuple[int, Similarity]]:
        row, way = np.nonzero(self._field[found.bucket] >= 0)
        bucket = found.bucket[row]
        field, mirrored = self._field[bucket, way], self._mirrored[bucket, way] != found.mirrored[row]
        facing = np.where(mirrored, found.direction[row].conj(), found.direction[row])
        turn = self._direction[bucket, way] / facing
        at = np.where(mirrored, found.at[row].conj(), found.at[row])
        shift = self._at[bucket, way] - turn * at
        group = _grouped(field, mirrored, turn, shift)
        _, inverse, votes = np.unique(group, return_inverse=True, return_counts=True)
        likely = []
        for one in np.argsort(-votes, kind="stable")[:count]:
            if votes[one] < VOTES_MIN:
                break
            mine = inverse == one
            angle = cmath.phase(complex(turn[mine].sum()))
            mean = cmath.rect(1.0, angle) if abs(angle) > UPRIGHT else 1 + 0j
            onto = complex((self._at[bucket, way][mine] - mean * at[mine]).mean())
            likely.append((int(field[mine][0]), Similarity(mean, onto, bool(mirrored[mine][0]))))
        return likely


def _grouped(field: NDArray[np.int32], mirrored: Mask, turn: Places, shift: Places) -> NDArray[np.int64]:
    """Return the same number where field, mirroring, turn and shift are the same but for rounding."""
    angle = np.rint(np.angle(turn, deg=True) / SPREAD_DEG).astype(np.int64) % round(360 / SPREAD_DEG)
    column, row = (np.rint(part / SPREAD_UM).astype(np.int64) for part in (shift.real, shift.imag))
    cell = ((column + 0x7FF) << 12) + row + 0x7FF
    return np.asarray((((field.astype(np.int64) * 2 + mirrored) * 32 + angle) << 24) + cell, np.int64)


class _Patterns(NamedTuple):
    """The patterns (M,) of a field: bucket, place of the middle cell, direction of its nearest neighbour, mirroring."""

    bucket: NDArray[np.int64]
    at: Places
    direction: Places
    mirrored: Mask


class _Shapes(NamedTuple):
    """The patterns of a field before they are rounded: distances (M, 4) in µm, angles (M, 3) in degrees."""

    distance: NDArray[np.floating[Any]]
    angle: NDArray[np.floating[Any]]
    at: Places
    direction: Places
    mirrored: Mask


def _patterns(view: PointPattern) -> _Patterns:
    return _rounded(_shapes(view), 1.0)


def _shapes(view: PointPattern) -> _Shapes:
    middle = view.middle
    if len(middle) <= NEIGHBOURS:
        none = np.zeros(0, np.complex64)
        return _Shapes(np.zeros((0, CHOSEN)), np.zeros((0, CHOSEN - 1)), none, none, np.zeros(0, np.bool_))
    apart = np.abs(middle[:, None] - middle[None])
    np.fill_diagonal(apart, np.inf)
    near = np.argpartition(apart, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    near = np.take_along_axis(near, np.take_along_axis(apart, near, 1).argsort(1), 1)
    arrows = (middle[near] - middle[:, None])[:, _CHOICES].reshape(-1, CHOSEN)
    nearest, *others = np.angle(arrows).T
    angles = np.degrees(np.stack(others, 1) - nearest[:, None]) % 360
    mirrored = angles[:, 0] > 180
    angles[mirrored] = 360 - angles[mirrored]
    direction = np.exp(1j * nearest).astype(np.complex64)
    return _Shapes(np.abs(arrows), angles, np.repeat(middle, len(_CHOICES)), direction, mirrored)


def _rounded(shapes: _Shapes, zoom: float) -> _Patterns:
    """Return the patterns of a field that is zoomed, by which the table is asked."""
    rounded = np.concatenate(
        [np.floor(shapes.distance * zoom / BIN_UM), np.floor(shapes.angle / BIN_DEG)], axis=1
    ).astype(np.int64)  # fmt: skip
    key = (rounded * _FACTORS).sum(1)
    bucket = (key ^ (key >> 17)) % BUCKETS
    return _Patterns(bucket, shapes.at * np.float32(zoom), shapes.direction, shapes.mirrored)
