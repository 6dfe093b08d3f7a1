"""TIFF files as fields of view, with tifffile: stacks are fields, channels one picture, focus planes the sharpest."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from edge.camera.decode.field import DecodedField, check_size, depth_bits, to_8_bit, unreadable
from edge.camera.decode.jpeg import whole_jpeg
from edge.camera.decode.picture import rgb_of
from edge.camera.decode.tiff_scale import stated_um_per_px
from edge.camera.image_header import HeaderError
from edge.types import Floats, Pixels

# What tifffile finds is said by the errors of this module, with the file's name.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

THUMB_PX, DETAIL_PX = 256, 8.0
"""Width at which pictures of one file are compared, and the size of what counts as their light and not as their detail.
"""
SAME_PLACE = 0.5
"""Correlation of the detail from which two pictures of one file show the same place; two fields have about 0."""

JPEG_COMPRESSIONS = (6, 7)
DAMAGED = (
    tifffile.TiffFileError,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
)
"""What tifffile and the codecs raise on bytes that are damaged or of an unknown kind."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, -1)[::-1],
    8: lambda a: np.rot90(a),
}
"""How a picture of each orientation (TIFF 6.0, tag 274) is turned upright."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """The pages that make one picture: one, or one for each channel; and what it is compared by."""

    pages: tuple[Any, ...]
    area: int = 0
    sharpness: float = 0.0
    detail: Floats | None = None


def read_tiff(path: Path, data: bytes, megapixels_max: float) -> Iterator[DecodedField]:
    """Give the fields of a TIFF file's bytes, each once.

    Raises RejectedInputError with the cause.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data), name=path.name) as file:
            for page in file.pages:
                check_size(path, page.imagewidth, page.imagelength, megapixels_max)
            um_per_px = stated_um_per_px(file)
            pictures = list(_pictures(file))
            fields = pictures if len(pictures) == 1 else _places([_examined(one, len(data)) for one in pictures])
            flags = ("file_planes",) if len(fields) < len(pictures) else ()
            for number, picture in enumerate(fields):
                name = str(path) if len(fields) == 1 else f"{path}#{number}"
                yield DecodedField(_decoded(picture, len(data)), name, um_per_px, flags)
    except DAMAGED as error:
        raise unreadable(path, f"it is a TIFF that is damaged or of a kind that is not read: {error}") from error


def _pictures(file: Any) -> Iterator[_Picture]:
    """Give the pictures of a file: pages that are channels of one picture together, previews and masks not at all."""
    pages = [page for page in file.pages if not page.subfiletype & 5]
    if not pages:
        raise ValueError("it has previews only")
    channels = _channels(file, pages)
    for at in range(0, len(pages), channels):
        yield _Picture(tuple(pages[at : at + channels]))


def _channels(file: Any, pages: list[Any]) -> int:
    """Return how many pages in a row make one picture."""
    if pages[0].samplesperpixel > 1:
        return 1
    series = file.series[0]
    axes = dict(zip(series.axes, series.shape, strict=True))
    inner = "".join(axis for axis in series.axes if axis not in "YXS")
    channels = axes.get("C", 1)
    # tifffile lists the planes of other files of the set as None or as pages of those files.
    if channels > 1 and any(page is None or page.parent is not file for page in series.pages):
        raise ValueError(f"its {channels} channels lie in several files; expected all of them in one")
    if len(pages) == 1:
        return 1
    if channels > 1 and len(series.pages) == len(pages):
        if not inner.endswith("C"):
            raise ValueError(f"its channels are not beside each other (axes {series.axes})")
        return int(channels)
    shapes = {page.shape for page in pages}
    names = [(page.tags.valueof(285) or page.description or "").strip().lower()[:1] for page in pages]
    return 3 if len(pages) == 3 and len(shapes) == 1 and names == ["r", "g", "b"] else 1


def _examined(picture: _Picture, size: int) -> _Picture:
    """Return the picture with what it is compared by; its pixels are let go."""
    grey = cv2.cvtColor(_decoded(picture, size), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), DETAIL_PX)
    detail /= np.linalg.norm(detail) + 1e-6
    return replace(
        picture,
        area=grey.size,
        sharpness=float(cv2.Laplacian(grey, cv2.CV_32F).var()),
        detail=np.asarray(detail, np.float32),
    )


def _places(pictures: list[_Picture]) -> list[_Picture]:
    """Return one picture of each place, in the file's order: the largest, and of those the sharpest."""
    places: list[list[_Picture]] = []
    for picture in pictures:
        for place in places:
            if float((place[0].detail * picture.detail).sum()) > SAME_PLACE:  # type: ignore[operator]
                place.append(picture)
                break
        else:
            places.append([picture])
    return [max(place, key=lambda one: (one.area, one.sharpness)) for place in places]


def _decoded(picture: _Picture, size: int) -> Pixels:
    planes = [_page(page, size) for page in picture.pages]
    pixels = planes[0] if len(planes) == 1 else np.stack(planes, axis=2)
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):
        raise ValueError(f"it has {pixels.shape[2]} channels; expected grey or red, green and blue")
    turn = TURNS.get(int(picture.pages[0].tags.valueof(274) or 1), TURNS[1])
    pixels = to_8_bit(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    return rgb_of(turn(pixels))


def _page(page: Any, size: int) -> NDArray[Any]:
    """Return a page as uint8 or uint16, grey (H, W) or (H, W, channels), black as 0, without alpha."""
    _check_whole(page, size)
    bits = int(page.bitspersample)
    if page.dtype is None or page.dtype.kind not in "ub" or bits > 16:
        raise ValueError(f"its pixels are {page.dtype}; expected 8 or 16 bits unsigned")
    pixels = np.asarray(page.asarray())
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"its pages have the axes {page.axes}; expected a flat picture")
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, 2)
    kind = int(page.photometric)
    if kind == PALETTE:
        return np.asarray(np.moveaxis(np.asarray(page.colormap), 0, -1)[pixels] >> 8, np.uint8)
    pixels = _without_extra(pixels, len(page.extrasamples))
    if pixels.dtype == bool or bits < 8:
        pixels = np.asarray(pixels.astype(np.uint16) * 255 // ((1 << bits) - 1), np.uint8)
    full = 255 if pixels.dtype == np.uint8 else (1 << bits) - 1
    if kind == WHITE_IS_ZERO:
        if pixels.dtype == np.uint16:  # of 12 bits, say: 65,535 − 0…4,095 would be all but white
            full = (1 << depth_bits(pixels)) - 1
        return np.asarray(full - np.minimum(pixels, full), pixels.dtype)
    if kind == SEPARATED and pixels.ndim == 3 and pixels.shape[2] == 4:
        ink = 1 - pixels.astype(np.float32) / full
        return np.asarray(np.rint(ink[..., :3] * ink[..., 3:] * 255), np.uint8)
    if kind not in (BLACK_IS_ZERO, RGB, YCBCR) or (kind == YCBCR and page.compression not in JPEG_COMPRESSIONS):
        raise ValueError(f"its colours are {page.photometric!r}, which is not read")
    return pixels


def _without_extra(pixels: NDArray[Any], extra: int) -> NDArray[Any]:
    """Drop alpha and other samples beyond the colours; the colour beneath is what the camera saw."""
    if not extra or pixels.ndim < 3:
        return pixels
    if extra > 1:
        raise ValueError(f"it has {pixels.shape[2]} channels; expected grey or red, green and blue")
    left = pixels[..., : pixels.shape[2] - extra]
    return left[..., 0] if left.shape[2] == 1 else left


def _check_whole(page: Any, size: int) -> None:
    """Raise ValueError where a strip or tile is not wholly in the file, or a JPEG within is damaged."""
    spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if any(count <= 0 or offset <= 0 or offset + count > size for offset, count in spans):
        raise ValueError("it is cut short, or parts of it were never written")
    if page.compression == 1:
        needed = (page.imagewidth * page.samplesperpixel * page.bitspersample + 7) // 8 * page.imagelength
        if page.planarconfig == 2:
            needed = (page.imagewidth * page.bitspersample + 7) // 8 * page.imagelength * page.samplesperpixel
        if sum(count for _, count in spans) < needed:
            raise ValueError("it is cut short: it has fewer bytes than pixels")
    if page.compression == 7:
        tables = (page.jpegtables or b"\xff\xd8\xff\xd9")[:-2]
        for offset, count in spans:
            page.parent.filehandle.seek(offset)
            segment = page.parent.filehandle.read(count)
            try:
                whole_jpeg(tables + segment[2:])
            except HeaderError as error:
                raise ValueError(f"a JPEG within it cannot be read: {error}") from error
