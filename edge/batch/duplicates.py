"""Pictures that are copies of others: of the same bytes, or re-encoded, resized, turned or mirrored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.base import RejectedInputError
from edge.camera.image_files import is_video, read_image
from edge.camera.image_header import JPEG_MAGIC, HeaderError, image_size
from edge.camera.input_files import LeftOut, Leftover, natural_order
from edge.system.digest import sha256_file
from edge.types import Floats

SAME_PICTURE = 0.98
"""Correlation of two fingerprints from which on they are of one picture.

Re-encoded and resized copies of the pictures of five real sets reach 0.973 to 1.000. Two shots of one field reach 0.975
where the ring of an eyepiece is in both, else 0.93.
"""

MAX_COMPARED = 10_000
"""Pictures that are compared by what they show, 2.3 kB of memory each; of those beyond, only by their bytes."""

TIFF_MAGICS = frozenset({b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
"""First bytes of TIFF and BigTIFF, the kinds that may hold several pictures."""

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


def same_picture(files: Sequence[Path], megapixels_max: float) -> list[LeftOut]:
    """Return the pictures that show what a larger one does.

    Copies that a program re-encoded, resized or turned.

    The order of the files does not matter. Videos are not compared.
    """
    prints: dict[Path, tuple[int, float, Fingerprint]] = {}
    for path in files:
        if len(prints) < MAX_COMPARED and not is_video(path) and (found := fingerprint(path, megapixels_max)):
            prints[path] = found
    kept_paths: list[Path] = []
    kept = np.empty((len(prints), _SIDE * _SIDE), np.int8)
    left_out: list[LeftOut] = []
    for path in sorted(prints, key=lambda path: (-prints[path][0], -prints[path][1], _plainest(path))):
        views = np.stack([_unit(view) for view in _orientations(prints[path][2])])
        like = _most_alike(views, kept[: len(kept_paths)])
        if like is None:
            kept[len(kept_paths)] = prints[path][2].ravel()
            kept_paths.append(path)
        else:
            left_out.append(LeftOut(path, Leftover.DUPLICATE, kept_paths[like]))
    return left_out


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

    The pattern, int8 (48, 48), is that of single cells: what varies slowly, as the light does, is taken out, and what
    stands out most, as the ring of an eyepiece does, is bounded. None for a picture that cannot be read, has several
    pages or shows nothing.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            is_jpeg = head.startswith(JPEG_MAGIC)
            width, height = image_size(file) if is_jpeg else (0, 0)
        if width * height > megapixels_max * 1e6 or (head in TIFF_MAGICS and cv2.imcount(str(path)) > 1):
            return None
        grey = _jpeg_grey(path, min(width, height)) if is_jpeg else None
        if grey is None:
            grey = np.asarray(cv2.cvtColor(read_image(path, megapixels_max), cv2.COLOR_RGB2GRAY), np.uint8)
    except (HeaderError, OSError, RejectedInputError, cv2.error):
        return None  # Its own line says why it cannot be read.
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), 2.5)
    usual = 1.4826 * float(np.median(np.abs(detail)))
    if usual < _FAINTEST_GREY:
        return None
    return width * height or grey.size, usual, np.rint(np.clip(detail / usual, -2.5, 2.5) * 50).astype(np.int8)


def _jpeg_grey(path: Path, shorter_side: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG as small as its own coding allows without loss to the fingerprint: many times quicker."""
    flag = next(
        (flag for by, flag in ((8, cv2.IMREAD_REDUCED_GRAYSCALE_8), (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
                               (2, cv2.IMREAD_REDUCED_GRAYSCALE_2)) if shorter_side // by >= _SMALLEST_READ_PX),
        cv2.IMREAD_GRAYSCALE,
    )  # fmt: skip
    decoded = cv2.imdecode(np.fromfile(path, np.uint8), flag)
    return None if decoded is None else np.asarray(decoded, np.uint8)


def _orientations(pattern: Fingerprint) -> list[Fingerprint]:
    return [np.rot90(view, turns) for view in (pattern, pattern[:, ::-1]) for turns in range(4)]


def _unit(pattern: Fingerprint) -> Floats:
    values = pattern.astype(np.float32).ravel()
    return np.asarray(values / np.linalg.norm(values), np.float32)


def _plainest(path: Path) -> tuple[int, int, list[tuple[tuple[int, int, str], ...]]]:
    """Sort key by which a picture comes before its copies: `IMG.jpg` before `IMG (1).jpg` and `copies/IMG.jpg`."""
    return len(path.parts), len(path.name), natural_order(path)
