"""One picture as RGB: JPEG, PNG, BMP, WebP, JPEG 2000 and AVIF by OpenCV, HEIC by pi-heif where it is installed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.decode.field import DecodedField, check_size, to_8_bit, unreadable
from edge.camera.decode.jpeg import whole_jpeg
from edge.camera.decode.library_messages import library_messages
from edge.camera.decode.multi_picture import views
from edge.camera.image_header import JPEG_MAGIC, PNG_MAGIC, HeaderError, image_size, is_heif
from edge.types import Pixels


def read_picture(path: Path, data: bytes, megapixels_max: float) -> DecodedField:
    """Decode the bytes of a picture file; raises RejectedInputError with the cause.

    An alpha channel is dropped, not blended: it is an editor's leftover, the colour beneath is what the camera saw, and
    blending would draw new edges through cells.
    """
    flags: tuple[str, ...] = ()
    try:
        if is_heif(data[:64]):
            return _heif(path, data, megapixels_max)
        check_size(path, *image_size(io.BytesIO(data)), megapixels_max)
        if data.startswith(JPEG_MAGIC):
            whole = whole_jpeg(data)
            flags = ("file_end_missing",) * whole.end_added + ("file_planes",) * (views(data) > 1)
            data = whole.data
    except HeaderError as error:
        raise unreadable(path, f"{error}") from error
    if is_animated(data):
        raise unreadable(path, "it is an animation; give its pictures one by one, or a video")
    return DecodedField(_opencv(path, data), str(path), flags=flags)


def is_animated(data: bytes) -> bool:
    """Whether a PNG or WebP announces more than one picture in its header."""
    if data.startswith(PNG_MAGIC):
        return b"acTL" in data[: max(0, data.find(b"IDAT"))]
    return data[8:16] == b"WEBPVP8X" and bool(data[20] & 2)


def _opencv(path: Path, data: bytes) -> Pixels:
    try:
        # Not IMREAD_UNCHANGED, with which OpenCV ignores the EXIF orientation.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        with library_messages() as said:
            decoded: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise unreadable(path, f"it cannot be decoded: {error.err}") from error
    if decoded is None:
        raise unreadable(path, f"it is damaged, cut short, or of a kind that OpenCV does not decode{said.last()}")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise unreadable(path, f"its pixels are {decoded.dtype}; expected 8 or 16 bits unsigned")
    return rgb_of(cv2.cvtColor(to_8_bit(decoded), cv2.COLOR_BGR2RGB))


def rgb_of(pixels: NDArray[Any]) -> Pixels:
    """Return grey (H, W) or RGB (H, W, 3) as contiguous read-only uint8 RGB."""
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    rgb = np.ascontiguousarray(rgb, np.uint8)
    rgb.setflags(write=False)
    return rgb


def _heif(path: Path, data: bytes, megapixels_max: float) -> DecodedField:
    try:
        import pi_heif
    except ImportError as error:
        raise unreadable(
            path, "it is a HEIC picture of a phone, which needs pi-heif: pip install 'sicklescope[heif]', or send JPEG"
        ) from error
    try:
        # libheif turns the picture upright itself; what it cannot read it raises as ValueError or EOFError.
        file = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        picture = file[file.primary_index]
        width, height = picture.size
        check_size(path, width, height, megapixels_max)
        pixels = np.array(picture)  # A copy: the library frees its own with the picture, whoever holds an array of it.
    except (ValueError, EOFError, RuntimeError, SyntaxError, OSError) as error:
        raise unreadable(
            path, f"it is a damaged HEIC picture, or of a kind that libheif does not read: {error}"
        ) from error
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    return DecodedField(rgb_of(pixels.squeeze()), str(path), flags=("file_planes",) * (len(file) > 1))
