"""Whether a JPEG is whole: libjpeg decodes damaged data to grey or shifted blocks and only warns."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import simplejpeg

from edge.camera.decode.block_step import has_block_step
from edge.camera.image_header import SOF_MARKERS, SOS_MARKER, HeaderError

END = b"\xff\xd9"
_END_MARKER, _PROGRESSIVE = 0xD9, frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_IN_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_HARMLESS = ("JFIF", "Adobe")
"""What libjpeg warns of in the header alone: an unknown revision or colour code."""


@dataclass(frozen=True, slots=True)
class WholeJpeg:
    """A JPEG whose every row is there.

    Its bytes up to the end, and whether the end marker had to be added.
    """

    data: bytes
    end_added: bool


@dataclass
class _Frame:
    """What the headers say: the place of the frame's data, and of each component which coefficients came whole."""

    at: int
    process: int
    components: tuple[int, ...]
    whole: dict[int, set[int]]


def whole_jpeg(data: bytes) -> WholeJpeg:
    """Return the first picture of a JPEG file.

    Raises HeaderError, with the cause, where part of it is not there.
    """
    try:
        frame, end = _walk(data)
    except (struct.error, IndexError) as error:
        raise HeaderError("its header is cut short") from error
    picture = data.rstrip(b"\xff") + END if end is None else data[:end]
    missing = [one for one in frame.components if len(frame.whole.get(one, ())) < 64]
    if missing:
        raise HeaderError("it is cut short (a JPEG whose last scans are missing)")
    try:
        small = simplejpeg.decode_jpeg(
            _checkable(picture, frame), "RGB", min_height=1, min_width=1, min_factor=8, strict=True
        )
    except ValueError as error:
        # Rare samplings and CMYK are not taken by the checking library; their decoder decides.
        unchecked = "subsampling" in str(error) or "colorspace" in str(error).lower() or "CMYK" in str(error)
        if not unchecked and not any(word in str(error) for word in _HARMLESS):
            cause = "cut short (a JPEG without its end)" if end is None else "damaged inside"
            raise HeaderError(f"it is {cause}: {error}") from error
    else:
        if has_block_step(small, _block(picture, frame)):
            raise HeaderError(
                "it is damaged inside: from one place on all of it is brighter, darker or of another colour"
            )
    return WholeJpeg(picture, end is None)


def _walk(data: bytes) -> tuple[_Frame, int | None]:
    """Follow the segments to the end of the first picture; None where its end marker is missing."""
    at, frame = 2, None
    while True:
        if at >= len(data) and frame is not None and frame.whole:
            return frame, None
        if data[at] != 0xFF:
            raise HeaderError("its header is damaged")
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if marker == _END_MARKER:
            if frame is None or not frame.whole:
                raise HeaderError("it holds no picture")
            return frame, at
        if 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        body = data[at + 2 : at + length]
        if length < 2 or len(body) < length - 2:
            raise HeaderError("its header is cut short or damaged")
        if marker in SOF_MARKERS and frame is None:
            count = body[5]
            frame = _Frame(at, marker, tuple(body[6 + 3 * i] for i in range(count)), {})
        at += length
        if marker == SOS_MARKER:
            if frame is None:
                raise HeaderError("its header names no size")
            _note_scan(frame, body)
            found = _IN_SCAN.search(data, at)
            if found is None:
                return frame, None
            at = found.start()


def _note_scan(frame: _Frame, body: bytes) -> None:
    count = body[0]
    first, last, low = body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count] & 15
    if frame.process not in _PROGRESSIVE:
        first, last, low = 0, 63, 0
    for i in range(count):
        whole = frame.whole.setdefault(body[1 + 2 * i], set())
        if low == 0:
            whole.update(range(first, last + 1))


def _block(data: bytes, frame: _Frame) -> tuple[int, int]:
    """Return height and width, in eighths of the picture's pixels, of what is written together."""
    if len(frame.components) == 1:
        return 1, 1
    samplings = [data[frame.at + 9 + 3 * i] for i in range(len(frame.components))]
    return max(one & 15 for one in samplings), max(one >> 4 for one in samplings)


def _checkable(data: bytes, frame: _Frame) -> bytes:
    """Return the data with the sampling of a lone component as 1x1, which it is by T.81 A.2.2 whatever is written."""
    if len(frame.components) != 1:
        return data
    return data[: frame.at + 9] + b"\x11" + data[frame.at + 10 :]
