"""Files in the order in which they are read, in a list on the disk: a million of them take no memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.camera.stored_file import StoredFile
from edge.system.disk_table import DiskTables

_TABLES = (
    "CREATE TABLE found (path BLOB, resolved BLOB, folder BLOB, size INTEGER, changed_ns INTEGER, place BLOB)",
    "CREATE TABLE file (number INTEGER PRIMARY KEY, path BLOB, folder BLOB, size INTEGER, changed_ns INTEGER, "
    "first BLOB, rank INTEGER, part INTEGER DEFAULT 0)",
    "CREATE INDEX file_path ON file (path)",
    "CREATE INDEX file_folder ON file (folder)",
    "CREATE INDEX file_part ON file (part, number)",
)

_ORDER = """INSERT INTO file (path, folder, size, changed_ns, first, rank)
    SELECT path, folder, size, changed_ns, first_value(path) OVER same, row_number() OVER same FROM found
    WINDOW same AS (PARTITION BY resolved ORDER BY place, path) ORDER BY place, path"""


class FileList:
    """Files, each once, by the number of the path that named them and then in natural order.

    Size and time of the last change are those when the file was found. Methods raise StorageError when the disk will
    not take the list.
    """

    def __init__(self, tables: DiskTables | None = None, part: int = 0) -> None:
        """Begin a list; tables, part: of another one, of which this is a part."""
        self._tables, self._part = tables or DiskTables(*_TABLES), part
        self.added = 0

    def add(self, given: int, path: Path) -> None:
        """Add a file that the path of that number names; `settle` follows when all are there."""
        size, changed_ns = size_and_time(path)
        place = given.to_bytes(4, "big") + natural_order(path)
        names = [os.fsencode(name) for name in (path, path.resolve(), path.parent)]
        self._tables.do("INSERT INTO found VALUES (?, ?, ?, ?, ?, ?)", *names, size, changed_ns, place)
        self.added += 1

    def settle(self) -> Iterator[tuple[Path, Path]]:
        """Bring the files into their order; drop each other name of one, and give both."""
        self._tables.do(_ORDER)
        self._tables.do("DROP TABLE found")
        for path, first in self._tables.rows("SELECT path, first FROM file WHERE rank > 1 AND path != first"):
            yield _path(path), _path(first)
        self._tables.do("DELETE FROM file WHERE rank > 1")

    def remove(self, unwanted: Callable[[Path], bool]) -> list[Path]:
        """Remove files; return them."""
        gone = [path for path in self if unwanted(path)]
        for path in gone:
            self._tables.do("DELETE FROM file WHERE path = ?", os.fsencode(path))
        return gone

    def parted(self, part_of: Callable[[Path], Path]) -> dict[Path, FileList]:
        """Return the files in parts by what `part_of` gives for their folders, in their order."""
        parts: dict[Path, FileList] = {}
        for (folder,) in list(self._tables.rows("SELECT folder FROM file GROUP BY folder ORDER BY min(number)")):
            part = parts.setdefault(part_of(_path(folder)), FileList(self._tables, len(parts) + 1))
            self._tables.do("UPDATE file SET part = ? WHERE folder = ?", part._part, folder)
        return parts

    def identified(self) -> Iterator[tuple[Path, int, int]]:
        """Give each file with size and time of the last change, both 0 where they are not to be had."""
        for path, size, changed_ns in self._tables.rows(
            "SELECT path, size, changed_ns FROM file WHERE part = ? ORDER BY number", self._part
        ):
            yield _path(path, (size, changed_ns)), size, changed_ns

    def __iter__(self) -> Iterator[Path]:
        return (path for path, _, _ in self.identified())

    def __len__(self) -> int:
        return int(self._tables.value("SELECT count(*) FROM file WHERE part = ?", self._part))

    def __contains__(self, path: object) -> bool:
        found = "SELECT 1 FROM file WHERE path = ? AND part = ?"
        return isinstance(path, Path) and self._tables.value(found, os.fsencode(path), self._part) is not None


def size_and_time(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of the last change in ns; 0 where the file cannot be asked.

    Its own line then says why it cannot be read.
    """
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _path(name: bytes, known: tuple[int, int] | None = None) -> Path:
    text = os.fsdecode(name)
    if "://" not in text:
        return Path(text)
    path = StoredFile(text)
    path.known = None if known == (0, 0) else known
    return path


def natural_order(path: Path) -> bytes:
    """Return a sort key by which numbers within names are numbers: field2 before field10."""
    return b"".join(b"".join(_run(run) for run in re.split(r"(\d+)", part) if run) + b"\0" for part in path.parts)


def _run(run: str) -> bytes:
    """Return digits, or what lies between them, as bytes that sort as they do, digits first."""
    if run.isdecimal():
        digits = str(int(run)).encode()
        return b"\1" + len(digits).to_bytes(2, "big") + digits
    return b"\2" + run.lower().encode("utf-8", "surrogatepass") + b"\0"
