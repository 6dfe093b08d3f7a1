"""The size of an image from its header alone, so that a huge one is refused before anything is allocated for it.

OpenCV has no call that reads a header without decoding, and its own limit cannot be set per call.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Both byte orders of TIFF and of BigTIFF."""

JP2_MAGIC = b"\0\0\0\x0cjP  \r\n\x87\n"
J2K_MAGIC = b"\xff\x4f\xff\x51"
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

EXPECTED = "JPEG, PNG, BMP, TIFF, WebP, JPEG 2000, AVIF or HEIC"
OTHERS = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"\x76\x2f\x31\x01": "an OpenEXR picture",
    b"#?RADIANCE": "a Radiance HDR picture",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"II\xbc\x01": "a JPEG XR picture",
    b"<": "a text or web page",
    b"PK\x03\x04": "a ZIP archive",
}
"""Beginnings of files that a person may take for a picture."""

SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG start of frame (ITU-T T.81, table B.1): C4, C8 and CC in that range are other things."""
SOS_MARKER = 0xDA


class HeaderError(ValueError):
    """The bytes are no header of a picture that is read, or the picture is not whole; says why."""


def image_size(file: BinaryIO) -> tuple[int, int]:
    """Return width and height in pixels as stored (before any EXIF rotation).

    Moves the file's position.

    Raises HeaderError when the format is unknown or the header is cut short, OSError when the file cannot be read.
    """
    file.seek(0)
    head = file.read(32)
    try:
        if head.startswith(JPEG_MAGIC):
            return _jpeg(file)
        if head.startswith(PNG_MAGIC):
            return struct.unpack(">II", head[16:24])
        if head.startswith(b"BM"):
            return _bmp(head)
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return _webp(head)
        if head.startswith((JP2_MAGIC, J2K_MAGIC)):
            return _jpeg_2000(head + file.read(4096))
        if is_avif(head):
            return _avif(head + file.read(1 << 16))
    except HeaderError:
        raise
    except (struct.error, IndexError, ValueError) as error:
        raise HeaderError("its header is cut short") from error
    known = next((name for magic, name in OTHERS.items() if head.startswith(magic)), None)
    if known:
        raise HeaderError(f"it is {known}, which is not read; expected {EXPECTED}")
    raise HeaderError(f"it is not a {EXPECTED} image")


def is_avif(head: bytes) -> bool:
    """Whether a file's first bytes are those of an AVIF picture."""
    return head[4:8] == b"ftyp" and head[8:12] == b"avif"


def is_heif(head: bytes) -> bool:
    """Whether a file's first bytes are those of a HEIC picture."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


def _jpeg(file: BinaryIO) -> tuple[int, int]:
    """Walk the segments to the frame header."""
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
            return width, height
        if marker == SOS_MARKER:
            raise HeaderError("its header names no size")
        file.seek(length - 2, 1)


def _bmp(head: bytes) -> tuple[int, int]:
    if struct.unpack("<I", head[14:18])[0] == 12:  # OS/2 core header
        return struct.unpack("<HH", head[18:22])
    width, height = struct.unpack("<ii", head[18:26])
    return abs(width), abs(height)  # a negative height only means that the first row is on top


def _webp(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":  # extended: canvas size minus one, 24 bits each
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":  # lossless: 14 bits each, minus one
        (bits,) = struct.unpack("<I", head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_2000(head: bytes) -> tuple[int, int]:
    if head.startswith(J2K_MAGIC):  # SIZ of ISO/IEC 15444-1: size of the reference grid, then the image's offset on it
        width, height, left, top = struct.unpack_from(">IIII", head, 8)
        return width - left, height - top
    box = head.index(b"ihdr")
    height, width = struct.unpack_from(">II", head, box + 4)
    return width, height


def _avif(head: bytes) -> tuple[int, int]:
    """Return the largest size among the items: the picture's, where there is a thumbnail beside it."""
    sizes = [struct.unpack_from(">II", head, found.end() + 4) for found in re.finditer(b"ispe", head)]
    if not sizes:
        raise HeaderError("its header names no size")
    return max(sizes)
