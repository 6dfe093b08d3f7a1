"""JPEG pictures out of a stream of bytes that says neither how long each is nor, for certain, where it begins."""

from __future__ import annotations

import re

from edge.errors import CameraError

PICTURE_MAX_BYTES = 32_000_000
"""A picture that is longer is none; a JPEG of 64 megapixels is shorter."""

BEGIN = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff+([\xc0-\xfe])")
_MARKER_IN_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""Within a scan FF 00 is a datum, and D0 to D7 only mark the way (ITU-T T.81, B.1.1). Below C0 none is in use."""
_ALONE = range(0xD0, 0xD8)
_BEGIN, _END, _SCAN = 0xD8, 0xD9, 0xDA


class JpegStream:
    """Takes bytes as they come and gives the whole pictures among them.

    What lies between them is passed over.

    A picture is followed from segment to segment, for the two bytes of its end may occur in its tables. One that is
    cut
    short or damaged is passed over, and counted in `damaged`. No more is kept than one picture.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._bytes = bytearray()
        self._restart()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pictures that are whole with these bytes.

        CameraError when one is longer than any is.
        """
        self._bytes += data
        found = []
        while (picture := self._next()) is not None:
            found.append(picture)
        if len(self._bytes) > PICTURE_MAX_BYTES:
            raise CameraError(
                f"the stream has a picture of more than {PICTURE_MAX_BYTES / 1e6:.0f} MB; expected JPEG pictures"
            )
        return found

    def _next(self) -> bytes | None:
        while True:
            begin = self._bytes.find(BEGIN)
            if begin != 0:
                del self._bytes[: begin if begin > 0 else -2]
                self._restart()
            if begin < 0:
                return None
            try:
                end = self._end()
            except ValueError:
                self.damaged += 1
                del self._bytes[:2]
                continue
            if end is None:
                return None
            picture = bytes(self._bytes[:end])
            del self._bytes[:end]
            return picture

    def _restart(self) -> None:
        self._at, self._in_scan = 2, False

    def _end(self) -> int | None:
        """Return where the picture ends that begins the buffer, None when that has not come; ValueError: damaged."""
        while True:
            marker = (_MARKER_IN_SCAN.search if self._in_scan else _MARKER.match)(self._bytes, self._at)
            if marker is None:
                if not self._in_scan and self._bytes[self._at :].strip(b"\xff"):
                    raise ValueError("no marker where one must be")
                return None
            code, at = marker[1][0], marker.end()
            if code == _END:
                return at
            if code == _BEGIN or code < 0xC0:
                raise ValueError("another picture begins within, or what is none")
            if code not in _ALONE:
                if len(self._bytes) < at + 2:
                    return None
                length = int.from_bytes(self._bytes[at : at + 2], "big")
                if length < 2:
                    raise ValueError("a segment shorter than its own length")
                at += length
                if len(self._bytes) < at:
                    return None
            self._at, self._in_scan = at, code == _SCAN
