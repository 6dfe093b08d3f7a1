"""The one reader of files: by its content a file is a picture, a stack of pictures or a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.camera.decode.field import DecodedField, check_size, unreadable
from edge.camera.decode.picture import read_picture
from edge.camera.decode.tiff import read_tiff
from edge.camera.image_header import TIFF_MAGIC, HeaderError, image_size, is_heif


def read_pictures(path: Path, megapixels_max: float) -> Iterator[DecodedField]:
    """Give the fields of a picture file, one after the other.

    Args:
        path: the file; what it is follows from its content, not from its suffix.
        megapixels_max: a larger picture is refused from its header, before anything is decoded.

    Raises:
        RejectedInputError: `too_large`, or `unreadable` with the cause in words.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if not head:
                raise unreadable(path, "it is empty (0 bytes)")
            if not is_heif(head) and not head.startswith(TIFF_MAGIC):
                check_size(path, *image_size(file), megapixels_max)
            file.seek(0)
            data = file.read()
    except HeaderError as error:
        raise unreadable(path, f"{error}") from error
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    if head.startswith(TIFF_MAGIC):
        yield from read_tiff(path, data, megapixels_max)
    else:
        yield read_picture(path, data, megapixels_max)
