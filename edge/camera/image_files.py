"""Which suffixes are those of pictures and videos, and one picture as RGB."""

from __future__ import annotations

from pathlib import Path

from edge.camera.decode.field import unreadable
from edge.camera.decode.reader import read_pictures
from edge.types import Pixels

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".btf", ".webp", ".jp2", ".j2k",
    ".avif", ".heic", ".heif", ".hif", ".mpo",
})
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mjpeg", ".mjpg", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".asf", ".3gp", ".flv", ".vob", ".ogv", ".dv", ".qt", ".3gpp", ".f4v",
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


def is_video(path: Path) -> bool:
    """Whether the path's suffix is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES
