"""How long an MP4 or QuickTime film is shown after its edit list: a phone's trimmed film keeps all its frames."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FOLDERS = frozenset({b"moov", b"trak", b"edts", b"mdia"})


def presented_s(path: Path) -> float | None:
    """Return the shown seconds of the first film track that has an edit list.

    None without one, or on any oddity.
    """
    try:
        with path.open("rb") as file:
            file.seek(4)
            if file.read(4) != b"ftyp":
                return None
            return _presented(file, path.stat().st_size)
    except (OSError, struct.error, IndexError, ZeroDivisionError):
        return None


def _presented(file: BinaryIO, end: int) -> float | None:
    per_s, edits = 0, 0
    for kind, at in _boxes(file, 0, end):
        file.seek(at)
        if kind == b"mvhd":
            version = file.read(4)[0]
            file.seek(16 if version else 8, 1)
            (per_s,) = struct.unpack(">I", file.read(4))
        elif kind == b"elst":
            edits = _edited(file)
        elif kind == b"hdlr" and edits:
            file.seek(8, 1)
            if file.read(4) == b"vide":
                return edits / per_s
            edits = 0
    return None


def _edited(file: BinaryIO) -> int:
    """Return the length of all edits but empty ones, in the film's time scale."""
    version, count = struct.unpack(">B3xI", file.read(8))
    entry = ">QqI" if version else ">IiI"
    edits = [struct.unpack(entry, file.read(struct.calcsize(entry))) for _ in range(count)]
    return sum(length for length, media_time, _ in edits if media_time >= 0)


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Give kind and content of the boxes in a part of the file, those within others too."""
    while at + 8 <= end:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            head = 16
        elif size == 0:
            size = end - at
        if size < head:
            return
        yield kind, at + head
        if kind in _FOLDERS:
            yield from _boxes(file, at + head, min(end, at + size))
        at += size
