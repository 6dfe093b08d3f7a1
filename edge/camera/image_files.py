"""Image files: which there are, and one read as RGB. What cannot be read says so, and never takes the memory first."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.base import RejectedInputError
from edge.camera.image_header import HeaderError, image_size, jpeg_is_complete
from edge.errors import InputError
from edge.types import Pixels, Reason, Rejection

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mjpeg", ".mpg", ".mpeg"})
"""Which files of a folder are taken, in lower case. A file named by itself is taken whatever its suffix."""


def read_image(path: Path, megapixels_max: float) -> Pixels:
    """Read an image as read-only uint8 RGB (H, W, 3), turned upright by its EXIF orientation.

    Grey becomes RGB. 16 bits become 8 by the depth that the data use (`to_8_bit`). An alpha channel is dropped, not
    blended: it is an editor's leftover, the colour beneath is what the camera saw, and blending would draw new edges
    through cells. The first page of a TIFF is read.

    Raises RejectedInputError, `too_large` from the header before anything is decoded, `unreadable` for all else.
    """
    try:
        with path.open("rb") as file:
            data = _checked(file, path, megapixels_max)
    except HeaderError as error:
        raise _unreadable(path, f"{error}") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        # Not IMREAD_UNCHANGED, with which OpenCV ignores the EXIF orientation.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        decoded: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _unreadable(path, f"it cannot be decoded: {error.err}") from error
    if decoded is None:
        raise _unreadable(path, "it is damaged, cut short, or of a kind that OpenCV does not decode")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise _unreadable(path, f"its pixels are {decoded.dtype}; expected 8 or 16 bits unsigned")
    pixels = np.asarray(cv2.cvtColor(to_8_bit(decoded), cv2.COLOR_BGR2RGB), np.uint8)
    pixels.setflags(write=False)
    return pixels


def to_8_bit(pixels: NDArray[Any]) -> Pixels:
    """Bring uint8 or uint16 pixels to 8 bits by the depth that they use: the least of 8, 10, 12, 14 and 16 bits.

    A camera of 12 bits writes 0–4095 into a 16-bit file; divided by 256 as OpenCV does, it would be all but black.
    """
    if pixels.dtype == np.uint8:
        return pixels
    largest = int(pixels.max())
    depth = next(bits for bits in (8, 10, 12, 14, 16) if largest < 1 << bits)
    return (pixels >> (depth - 8)).astype(np.uint8)


def find_inputs(paths: Iterable[Path | str]) -> list[Path]:
    """Return the images and videos that the paths name, each once: files as given, folders (recursive) and globs.

    A folder's or glob's files come in natural order (field2 before field10), hidden ones are left out (such as
    the `._x.jpg` that macOS leaves on memory sticks). Raises InputError for a path that is not there, and for a
    folder or glob without an image or video.
    """
    found: dict[Path, Path] = {}
    for given in paths:
        for path in _expand(Path(given).expanduser()):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def is_video(path: Path) -> bool:
    """Whether the path's suffix is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _checked(file: BinaryIO, path: Path, megapixels_max: float) -> bytes:
    """Return the file's bytes after its header has passed."""
    if not os.fstat(file.fileno()).st_size:
        raise _unreadable(path, "it is empty (0 bytes)")
    width, height = image_size(file)
    megapixels = width * height / 1e6
    if megapixels > megapixels_max:
        raise RejectedInputError(
            f"{path} has {width}x{height} = {megapixels:.1f} megapixels; the limit is {megapixels_max:g}. "
            "Give a smaller image or raise quality.megapixels_max",
            str(path),
            Rejection(Reason.TOO_LARGE, megapixels, megapixels_max),
        )
    if not jpeg_is_complete(file):
        raise _unreadable(path, "it is cut short (a JPEG without its end)")
    file.seek(0)
    return file.read()


def _unreadable(path: Path, why: str) -> RejectedInputError:
    return RejectedInputError(f"{path} cannot be read: {why}", str(path), Rejection(Reason.UNREADABLE, 0.0, 1.0))


def _expand(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        found = list(_files_below(path))
        where = f"folder {path}"
    elif glob.has_magic(str(path)):
        # Not Path.glob, which takes no absolute pattern.
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        # A pattern may match folders too, as a shell's would: their files are taken.
        found = [file for match in matches for file in (_files_below(match) if match.is_dir() else [match])]
        where = f"pattern {path}"
    else:
        raise InputError(f"{path} not found. Give an image, a video, a folder or a pattern such as 'slides/*.jpg'")
    found = [file for file in found if _is_taken(file)]
    if not found:
        raise InputError(
            f"{where} has no image or video; expected files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))}"
        )
    return sorted(found, key=_natural)


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _is_taken(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not path.name.startswith(".")


def _natural(path: Path) -> list[tuple[tuple[int, int, str], ...]]:
    """Sort key by which numbers within names are numbers: field2 before field10."""
    return [
        tuple((0, int(run), "") if run.isdecimal() else (1, 0, run.lower()) for run in re.split(r"(\d+)", part) if run)
        for part in path.parts
    ]
