"""At which shifts a field may lie over another: by the correlation of coarse maps of what lies under their cells."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edge.types import Floats, Mask
from edge.vision.registration.point_pattern import GRID_UM, PointPattern, Similarity

OVERLAP_MIN = 0.05
"""Part of the smaller field that must be shared for the search; red cells are as wide as a twentieth of a field."""

LIKE_MIN = 11.0
"""Significance of a likeness from which it is looked into. Of 40 pairs of fields that had nothing in common the best
shift reached 8.9 to 12.6; an overlap of 5 % gave 11.6 to 16.6, of 10 % 14 to 19, of 30 % 25 to 32.
"""


def search(a: PointPattern, b: PointPattern, count: int) -> list[Similarity]:
    """Return up to `count` shifts at which two fields look alike, the likeliest first.

    The correlation of the coarse maps is divided by the root of the overlap's area, and so is its significance: a small
    overlap must be the more alike. Both come by Fourier transform, as in D. Padfield, IEEE Trans. Image Process. 21
    (2012) 2670.
    """
    rows, columns = (cv2.getOptimalDFTSize(m + n) for m, n in zip(a.seen.shape, b.seen.shape, strict=True))
    score = _correlated(_spectrum(a, rows, columns), _spectrum(b, rows, columns))
    score *= _weight(_Seen(a.seen), _Seen(b.seen), rows, columns)
    found: list[Similarity] = []
    while len(found) < count:
        row, column = (int(at) for at in np.unravel_index(int(score.argmax()), score.shape))
        if score[row, column] < LIKE_MIN:
            break
        score[np.ix_(np.arange(row - 3, row + 4) % rows, np.arange(column - 3, column + 4) % columns)] = 0
        down, right = row - rows * (row > rows // 2), column - columns * (column > columns // 2)
        found.append(Similarity(1, complex(right, down) * GRID_UM + a.half - b.half))
    return found


def forget() -> None:
    """Let go of the spectra: the fields of a sample that is over are not met again."""
    _spectrum.cache_clear()


@lru_cache(64)
def _spectrum(view: PointPattern, rows: int, columns: int) -> Floats:
    return _transformed(view.occupancy(), rows, columns)


class _Seen:
    """What is seen of a field, as a key: equal where it is the same mask, for views that share one."""

    __slots__ = ("mask",)

    def __init__(self, mask: Mask) -> None:
        self.mask = mask

    def __hash__(self) -> int:
        return id(self.mask)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Seen) and self.mask is other.mask


@lru_cache(16)
def _weight(a: _Seen, b: _Seen, rows: int, columns: int) -> Floats:
    """Return one by the root of the overlap's area, in pixels of the map, at every shift; 0 where it is small."""
    shared = _correlated(*(_transformed(seen.mask.astype(np.float32), rows, columns) for seen in (a, b)))
    enough = shared >= OVERLAP_MIN * min(np.count_nonzero(a.mask), np.count_nonzero(b.mask))
    return np.asarray(np.where(enough, 1 / np.sqrt(np.maximum(shared, 1)), 0), np.float32)


def _transformed(plane: Floats, rows: int, columns: int) -> Floats:
    h, w = plane.shape
    grown = cv2.copyMakeBorder(plane, 0, rows - h, 0, columns - w, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.dft(grown), np.float32)


def _correlated(a: Floats, b: Floats) -> Floats:
    """Return Σ a(z) b(z + d) for every shift d, negative ones at the far end, from two spectra."""
    spectrum = cv2.mulSpectrums(b, a, 0, conjB=True)
    return np.asarray(cv2.idft(spectrum, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT), np.float32)
