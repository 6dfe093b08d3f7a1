"""Pictures that are nearly the same, and must not lie on both sides of a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import imagehash
import numpy as np
from PIL import Image

from training.bench.datasets.labelled_cell import Sample
from training.bench.datasets.splits import Part
from training.data.datasets import DataError

HASH_SIDE = 16
LOOK_PX = 48
ALIKE = 0.91
"""Pictures of near hashes are one when their greys, brought to LOOK_PX, also correlate so well in some position.

Measured among pictures of near hashes: cells of different donors of `sickle_rbc_xu2017` reach 0.90, and altered copies
(as below) begin at 0.92; of `erythrocytes_idb1` at 0.96, of `wbc_four_types` and `uganda_scd` at 0.99.
"""
MIDDLE_ALIKE = 0.4
"""And so must their middles, without a fifth at each side: all fields through one eyepiece share its bright disc.

Measured on `uganda_scd`: fields of other groups whose hashes are near reach 0.26, repeated shots of one field begin at
0.54, altered copies of `erythrocytes_idb1` at 0.79.
"""
NEAR_BITS = 40
"""Two pictures are one when so many of the 256 bits of their perceptual hashes differ, or fewer.

Measured: JPEG at quality 50, blur, noise, another size or brightness changes up to 36 bits of a crop; pairs of
`erythrocytes_idb1` differ in 60 or more, those of fields in 88 or more. A shift by two pixels is not recognised in
crops. Turned by right angles or mirrored, a picture is the same.
"""


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Two pictures that are nearly the same.

    Also how many of the 256 bits of their hashes differ.
    """

    first: Path
    second: Path
    bits: int


def twins(paths: Iterable[Path]) -> list[NearDuplicates]:
    """Find near-duplicates among pictures, the nearest first.

    Raises DataError for one that cannot be read.
    """
    unique = sorted(set(paths))
    hashes = np.stack([_hashes(path) for path in unique]) if unique else np.zeros((0, 8, 1), np.uint8)
    found = []
    for i in range(len(unique) - 1):
        # The nearest of the eight ways to lay this one against each of the others as it is.
        near = cv2.batchDistance(hashes[i + 1 :, 0], hashes[i], cv2.CV_32S, normType=cv2.NORM_HAMMING, K=1)
        bits = near[0].ravel()
        found += [
            NearDuplicates(unique[i], unique[i + 1 + j], int(bits[j]))
            for j in np.flatnonzero(bits <= NEAR_BITS)
            if _alike(unique[i], unique[i + 1 + j])
        ]
    return sorted(found, key=lambda pair: pair.bits)


def check_leaks(name: str, samples: Sequence[Sample], parts: Iterable[Part]) -> None:
    """Raise DataError when near-duplicates lie on both sides of a fold.

    The error names both pictures.
    """
    pairs = twins(s.path for s in samples)
    for part in parts:
        judged = {samples[i].path for i in part.test}
        learnt = {samples[i].path for i in np.concatenate([part.train, part.check])}
        leaks = [t for t in pairs if (t.first in judged and t.second in learnt)
                 or (t.first in learnt and t.second in judged)]  # fmt: skip
        if leaks:
            first = leaks[0]
            raise DataError(
                f"fold {part.fold} of {name}: {len(leaks)} pairs of pictures are nearly the same on both sides, the "
                f"nearest {first.first} and {first.second} ({first.bits} of {HASH_SIDE**2} bits differ). Remove one "
                "of each two, or put both into one group"
            )


def _alike(one: Path, other: Path) -> bool:
    a, b = (_grey(path, (LOOK_PX, LOOK_PX)).astype(float) for path in (one, other))
    turned = [np.rot90(side, k) for side in (a, a[:, ::-1]) for k in range(4)]
    nearest = max(turned, key=lambda t: _correlation(t, b))
    rim = LOOK_PX // 5
    middle = np.s_[rim:-rim, rim:-rim]
    return _correlation(nearest, b) >= ALIKE and _correlation(nearest[middle], b[middle]) >= MIDDLE_ALIKE


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if not one.std() or not other.std():
        return float(one.std() == other.std())
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _grey(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            grey = picture.convert("L")
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    return np.asarray(grey if size is None else grey.resize(size, Image.Resampling.BOX))


@cache
def _hashes(path: Path) -> np.ndarray:
    """Return uint8 (8, 32): the packed hash of a picture in its eight positions."""
    grey = _grey(path)
    positions = [np.rot90(side, k) for side in (grey, grey[:, ::-1]) for k in range(4)]
    found = [imagehash.phash(Image.fromarray(np.ascontiguousarray(p)), HASH_SIDE).hash for p in positions]
    return np.stack([np.packbits(bits) for bits in found])
