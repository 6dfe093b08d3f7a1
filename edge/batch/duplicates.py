"""Pictures that are copies of others: of the same bytes, or re-encoded, resized, turned or mirrored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.base import RejectedInputError
from edge.camera.decode.library_messages import library_messages
from edge.camera.image_files import is_video, read_image
from edge.camera.image_header import JPEG_MAGIC, TIFF_MAGIC, HeaderError, image_size
from edge.camera.input_files import LeftOut, Leftover
from edge.camera.listing.file_list import natural_order
from edge.system.digest import sha256_file
from edge.system.progress_bars import ReportProgress, quiet
from edge.types import FieldReading, Floats
from edge.vision.field_mask import visible_part

SAME_PICTURE = 0.95
"""Correlation of two fingerprints from which on they show the same cells at the same places.

Copies of real pictures, re-encoded, turned or made as small as 160 pixels, reach 0.96 to 1.00 (docs/measurements/
quality.md). Of 2,926 real pictures no two of different fields reach 0.86, and two shots of one field reach 0.95 only
where nothing moved between them.
"""

MAX_COMPARED = 10_000
"""Pictures that are compared by what they show, 2.3 kB of memory each; of those beyond, only by their bytes."""

_SIDE = 48
_SMALLEST_READ_PX = 200
_FAINTEST_GREY = 0.3

Fingerprint = NDArray[np.int8]


def same_bytes(files: Iterable[Path]) -> list[LeftOut]:
    """Return the files whose bytes are those of another that is read.

    Which of them is read hangs on names alone.
    """
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in files:
        try:
            by_size[path.stat().st_size].append(path)
        except OSError:
            continue  # Its own line says why it cannot be read.
    by_digest: dict[str, list[Path]] = defaultdict(list)
    for size, alike in by_size.items():
        if size and len(alike) > 1:
            for path in alike:
                try:
                    by_digest[sha256_file(path)].append(path)
                except OSError:
                    continue
    return [
        LeftOut(path, Leftover.DUPLICATE, first)
        for first, *others in (sorted(alike, key=_plainest) for alike in by_digest.values())
        for path in others
    ]


def same_picture(files: Sequence[Path], megapixels_max: float, report: ReportProgress = quiet) -> dict[Path, Path]:
    """Return the pictures that show what a larger one does, each with that one.

    Copies that a program re-encoded, resized or turned, and second shots between which nothing moved. The order of the
    files does not matter. Videos are not compared.
    """
    prints: dict[Path, tuple[int, float, Fingerprint]] = {}
    for number, path in enumerate(sorted(files, key=natural_order)):
        report("comparing pictures", number, len(files))
        if len(prints) < MAX_COMPARED and not is_video(path) and (found := fingerprint(path, megapixels_max)):
            prints[path] = found
    kept_paths: list[Path] = []
    kept = np.empty((len(prints), _SIDE * _SIDE), np.int8)
    copies: dict[Path, Path] = {}
    for path in sorted(prints, key=lambda path: (-prints[path][0], -prints[path][1], _plainest(path))):
        views = np.stack([_unit(view) for view in _orientations(prints[path][2])])
        like = _most_alike(views, kept[: len(kept_paths)])
        if like is None:
            kept[len(kept_paths)] = prints[path][2].ravel()
            kept_paths.append(path)
        else:
            copies[path] = kept_paths[like]
    return copies


class CountedOnce:
    """Marks the readings of pictures that show what one shows that was counted before."""

    def __init__(self, copies: Mapping[Path, Path]) -> None:
        """Take pictures, each with the one that it shows, as from `same_picture`."""
        self._first = {first: first for first in copies.values()} | dict(copies)
        self._counted: dict[Path, str] = {}

    def __call__(self, path: Path, reading: FieldReading) -> FieldReading:
        """Return the reading of a file, as that of a copy where another of its kind was read."""
        first = self._first.get(path)
        if first is None or reading.rejected is not None:
            return reading
        before = self._counted.setdefault(first, reading.name)
        if before == reading.name:
            return reading
        return replace(reading, copy_of=before, flags=tuple(sorted({*reading.flags, "copies"})))


def _most_alike(views: Floats, kept: NDArray[np.int8]) -> int | None:
    """Return the place of the first kept fingerprint that any of the views is of, None where there is none."""
    for start in range(0, len(kept), 1024):
        block = kept[start : start + 1024].astype(np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        alike = np.flatnonzero((block @ views.T).max(axis=1) >= SAME_PICTURE)
        if len(alike):
            return start + int(alike[0])
    return None


def fingerprint(path: Path, megapixels_max: float) -> tuple[int, float, Fingerprint] | None:
    """Return how many pixels a picture has, its contrast in grey levels, and its pattern.

    The pattern, int8 (48, 48), is that of single cells: what varies slowly, as the light does, is taken out, what
    stands out most is bounded, and what lies outside the disc of an eyepiece is 0. None for a picture that cannot be
    read, has several pages or shows nothing.
    """
    try:
        with library_messages():  # The reader meets the same file later, and its line says what is wrong with it.
            found = _grey(path, megapixels_max)
    except (HeaderError, OSError, RejectedInputError, cv2.error):
        return None
    if found is None:
        return None
    pixels, grey = found
    seen = _seen(grey)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    light = cv2.GaussianBlur(small * seen, (0, 0), 2.5) / np.maximum(cv2.GaussianBlur(seen, (0, 0), 2.5), 1e-3)
    detail = (small - light) * seen
    usual = 1.4826 * float(np.median(np.abs(detail[seen > 0]))) if seen.any() else 0.0
    if usual < _FAINTEST_GREY:
        return None
    return pixels, usual, np.rint(np.clip(detail / usual, -2.5, 2.5) * 50).astype(np.int8)


def _grey(path: Path, megapixels_max: float) -> tuple[int, NDArray[np.uint8]] | None:
    """Return how many pixels a picture has, and its grey values, of a large JPEG fewer."""
    with path.open("rb") as file:
        head = file.read(4)
        is_jpeg = head.startswith(JPEG_MAGIC)
        width, height = image_size(file) if is_jpeg else (0, 0)
    if width * height > megapixels_max * 1e6 or (head in TIFF_MAGIC and cv2.imcount(str(path)) > 1):
        return None
    grey = _jpeg_grey(path, min(width, height)) if is_jpeg else None
    if grey is None:
        grey = np.asarray(cv2.cvtColor(read_image(path, megapixels_max), cv2.COLOR_RGB2GRAY), np.uint8)
    return width * height or grey.size, grey


def _seen(grey: NDArray[np.uint8]) -> Floats:
    """Return float32 (48, 48), 1 where the slide is seen: the ring of an eyepiece is the same in every picture."""
    visible = visible_part(np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8))
    if visible is None:
        return np.ones((_SIDE, _SIDE), np.float32)
    share = cv2.resize(visible.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    inner = cv2.erode((share > 0.99).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    return inner.astype(np.float32)


def _jpeg_grey(path: Path, shorter_side: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG as small as its own coding allows without loss to the fingerprint: many times quicker."""
    flag = next(
        (flag for by, flag in ((8, cv2.IMREAD_REDUCED_GRAYSCALE_8), (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
                               (2, cv2.IMREAD_REDUCED_GRAYSCALE_2)) if shorter_side // by >= _SMALLEST_READ_PX),
        cv2.IMREAD_GRAYSCALE,
    )  # fmt: skip
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flag)
    return None if decoded is None else np.asarray(decoded, np.uint8)


def _orientations(pattern: Fingerprint) -> list[Fingerprint]:
    return [np.rot90(view, turns) for view in (pattern, pattern[:, ::-1]) for turns in range(4)]


def _unit(pattern: Fingerprint) -> Floats:
    values = pattern.astype(np.float32).ravel()
    return np.asarray(values / np.linalg.norm(values), np.float32)


def _plainest(path: Path) -> tuple[int, int, bytes]:
    """Sort key by which a picture comes before its copies: `IMG.jpg` before `IMG (1).jpg` and `copies/IMG.jpg`."""
    return len(path.parts), len(path.name), natural_order(path)
