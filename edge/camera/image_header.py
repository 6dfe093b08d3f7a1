"""The size of an image from its header alone, so that a huge one is refused before anything is allocated for it.

OpenCV has no call that reads a header without decoding, and its own limit cannot be set per call.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
TIFF_BYTE_ORDER = {b"II*\0": "<", b"MM\0*": ">"}

SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG start of frame (ITU-T T.81, table B.1): C4, C8 and CC in that range are other things."""
SOS_MARKER = 0xDA


class HeaderError(ValueError):
    """The bytes are no JPEG, PNG, BMP, TIFF or WebP header; the message says what is wrong."""


def image_size(file: BinaryIO) -> tuple[int, int]:
    """Return width and height in pixels as stored (before any EXIF rotation). Moves the file's position.

    Raises HeaderError when the format is unknown or the header is cut short, OSError when the file cannot be read.
    """
    file.seek(0)
    head = file.read(32)
    try:
        if head.startswith(JPEG_MAGIC):
            return _jpeg(file)[:2]
        if head.startswith(PNG_MAGIC):
            return struct.unpack(">II", head[16:24])
        if head.startswith(b"BM"):
            return _bmp(head)
        if head[:4] in TIFF_BYTE_ORDER:
            return _tiff(file, TIFF_BYTE_ORDER[head[:4]])
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return _webp(head)
    except (struct.error, IndexError) as error:
        raise HeaderError("its header is cut short") from error
    raise HeaderError("it is not a JPEG, PNG, BMP, TIFF or WebP image")


def jpeg_is_complete(file: BinaryIO) -> bool:
    """Whether a JPEG file has its end-of-image marker; True for any other format.

    OpenCV 4 leaves the missing part of a truncated file black or unset and calls it a success (5 refuses it). The
    marker is looked for after the start of the scan: a thumbnail in the EXIF has one of its own, and phones append
    data after the end. Raises HeaderError and OSError as `image_size`.
    """
    file.seek(0)
    if file.read(3) != JPEG_MAGIC:
        return True
    try:
        scan = _jpeg(file)[2]
    except (struct.error, IndexError) as error:
        raise HeaderError("its header is cut short") from error
    file.seek(scan)
    return b"\xff\xd9" in file.read()


def _jpeg(file: BinaryIO) -> tuple[int, int, int]:
    """Walk the segments to the first scan: width, height, position of the scan."""
    size: tuple[int, int] | None = None
    file.seek(2)
    while True:
        if file.read(1) != b"\xff":
            raise HeaderError("its header is cut short or damaged")
        marker = 0xFF
        while marker == 0xFF:  # any number of fill bytes may precede a marker
            marker = file.read(1)[0]
        (length,) = struct.unpack(">H", file.read(2))
        if length < 2:
            raise HeaderError("its header is damaged")
        if marker in SOF_MARKERS:
            height, width = struct.unpack(">xHH", file.read(5))
            size = width, height
            length -= 5
        elif marker == SOS_MARKER:
            if size is None:
                raise HeaderError("its header names no size")
            return *size, file.tell()
        file.seek(length - 2, 1)


def _bmp(head: bytes) -> tuple[int, int]:
    if struct.unpack("<I", head[14:18])[0] == 12:  # OS/2 core header
        return struct.unpack("<HH", head[18:22])
    width, height = struct.unpack("<ii", head[18:26])
    return abs(width), abs(height)  # a negative height only means that the first row is on top


def _tiff(file: BinaryIO, order: str) -> tuple[int, int]:
    file.seek(4)
    file.seek(struct.unpack(order + "I", file.read(4))[0])
    (entries,) = struct.unpack(order + "H", file.read(2))
    found: dict[int, int] = {}
    for _ in range(entries):
        tag, kind, _count, value = struct.unpack(order + "HHI4s", file.read(12))
        if tag in (256, 257):  # ImageWidth, ImageLength: SHORT (3) or LONG (4)
            found[tag] = struct.unpack(order + ("H2x" if kind == 3 else "I"), value)[0]
    if len(found) < 2:
        raise HeaderError("its header names no size")
    return found[256], found[257]


def _webp(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":  # extended: canvas size minus one, 24 bits each
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":  # lossless: 14 bits each, minus one
        (bits,) = struct.unpack("<I", head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF
