"""Cells as the networks take them: square pictures of one side, with what is known of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from edge.system.digest import sha256_file
from edge.types import Pixels
from training.bench.datasets import registry
from training.bench.datasets.labelled_cell import CellSet, Sample
from training.data.datasets import DataError, read_pixels

ROUND = 1.25
"""Side of the square that is cut round a box, in longer sides of the box."""

COPIES = 5
"""Turned copies of each cell that the published division of `sickle_rbc_xu2017` spreads over all folds."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A set with its labels as numbers: y int (N,) into `source.classes`.

    Digests name what each cell shows.
    """

    source: CellSet
    y: np.ndarray
    groups: np.ndarray
    digests: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Return one digest of all pictures, labels, groups and folds."""
        rows = (f"{d} {s.label} {s.group} {s.fold}" for d, s in zip(self.digests, self.source.samples, strict=True))
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def load(name: str) -> Cells:
    """Read a set by its name from SICKLESCOPE_DATA, or a folder of one's own; raises DataError."""
    return of(registry.find(name))


def of(source: CellSet) -> Cells:
    """Return a set with its labels as numbers.

    Raises DataError when it holds nothing to tell apart.
    """
    present = sorted({s.label for s in source.samples})
    if len(present) < 2:
        raise DataError(f"{source.name} holds {len(source.samples)} cells of {present or 'no class'}; "
                        "two classes or more are needed")  # fmt: skip
    if len({s.group for s in source.samples}) < 2:
        raise DataError(f"all {len(source.samples)} cells of {source.name} are of one group "
                        f"({source.samples[0].group}); a split by group needs two or more: "
                        "put the pictures of each slide into a sub-folder")  # fmt: skip
    source = replace(source, classes=tuple(c for c in source.classes if c in present))
    y = np.array([source.classes.index(s.label) for s in source.samples])
    groups = np.array([s.group for s in source.samples])
    return Cells(source, y, groups, tuple(_digest(s) for s in source.samples))


@lru_cache(maxsize=4096)
def _bytes_digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _digest(sample: Sample) -> str:
    return hashlib.sha256(f"{_bytes_digest(sample.path)} {sample.box}".encode()).hexdigest()[:16]


def pictures(samples: Sequence[Sample], side: int) -> Pixels:
    """Return the cells as uint8 (N, side, side, 3) RGB, their shape kept.

    What is missing to a square is mirrored.

    Raises DataError for a picture that cannot be read.
    """
    out = np.empty((len(samples), side, side, 3), np.uint8)
    path, field = None, np.empty(0, np.uint8)
    for i, sample in enumerate(samples):
        if sample.path != path:
            path, field = sample.path, read_pixels(sample.path)
        square = _square(field, sample.box)
        shrink = cv2.INTER_AREA if square.shape[0] > side else cv2.INTER_CUBIC
        out[i] = cv2.resize(square, (side, side), interpolation=shrink)
    return out


def _square(field: Pixels, box: tuple[int, int, int, int] | None) -> Pixels:
    h, w = field.shape[:2]
    x0, y0, x1, y1 = box or (0, 0, w, h)
    half = max(x1 - x0, y1 - y0) * (ROUND if box else 1.0) / 2
    x, y, n = round((x0 + x1) / 2 - half), round((y0 + y1) / 2 - half), max(1, round(2 * half))
    left, top, right, bottom = max(0, -x), max(0, -y), max(0, x + n - w), max(0, y + n - h)
    cut = field[y + top : y + n - bottom, x + left : x + n - right]
    return np.asarray(cv2.copyMakeBorder(cut, top, bottom, left, right, cv2.BORDER_REFLECT), np.uint8)


def turned_copies(pixels: Pixels) -> Pixels:
    """Return COPIES pictures of each cell, turned by equal steps, (N × COPIES, …).

    Those of a cell lie together.
    """
    side = pixels.shape[1]
    out = np.empty((len(pixels), COPIES, *pixels.shape[1:]), np.uint8)
    for j in range(COPIES):
        matrix = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), 360 * j / COPIES, 1.0)
        for i, picture in enumerate(pixels):
            out[i, j] = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    return out.reshape(-1, *pixels.shape[1:])
