"""Files to read: which there are among what was named, and one picture of them as RGB."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge.camera.decode.field import unreadable
from edge.camera.decode.reader import read_pictures
from edge.errors import InputError
from edge.types import Pixels

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".btf", ".webp", ".jp2", ".j2k",
    ".avif", ".heic", ".heif", ".hif",
})
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mjpeg", ".mjpg", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".asf", ".3gp", ".flv", ".vob", ".ogv", ".dv",
})
# fmt: on
"""Which files of a folder are taken, in lower case. A file named by itself is taken whatever its suffix."""


def read_image(path: Path, megapixels_max: float) -> Pixels:
    """Read a file of one picture as read-only uint8 RGB (H, W, 3), upright.

    Raises:
        RejectedInputError: It cannot be read, or holds several fields.
    """
    first, *more = read_pictures(path, megapixels_max)
    if more:
        raise unreadable(path, f"it holds {1 + len(more)} fields; expected one picture. Give them one by one")
    return first.pixels


def find_inputs(paths: Iterable[Path | str]) -> list[Path]:
    """Return the images and videos that the paths name, each once.

    Files as given, folders (recursive) and globs.

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
