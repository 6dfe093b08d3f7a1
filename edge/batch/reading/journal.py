"""The journal of a scan: what was read so far, in one hidden file, from which a killed scan goes on.

Each line has its own checksum, so that one which a power cut left half-written is found; it and all after it are cut
off. The results are always made from the journal, so those of a resumed scan have the same bytes as those of one that
was never interrupted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

from edge.batch.field_result import FieldResult, decoded
from edge.camera.listing.file_list import size_and_time
from edge.errors import BusyError, ConfigError
from edge.system.atomic_files import storage_errors
from edge.system.disk_table import DiskTables

JOURNAL = ".unfinished-scan"
"""Name of the journal in the folder of the results."""

_SUM_DIGITS = 16
_SETTINGS, _BEGIN, _FIELD, _FILE_DONE = b"S", b"B", b"F", b"D"


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that are read one after the other, each with what is known from those before it.

    Attributes:
        files: one file, or all pictures of one sample.
        key: names the unit in the journal: another where a file was changed since.
        each_cell_once: the fields may overlap, and each cell counts once.
        copies: its picture shows what another one does, so that its cells may not count.
    """

    files: tuple[Path, ...]
    key: bytes
    each_cell_once: bool
    copies: bool


def unit_of(files: Iterable[Path], *, each_cell_once: bool, copies: bool = False) -> Unit:
    """Return the unit of these files as they are now."""
    files = tuple(files)
    return Unit(files, unit_key((path, *size_and_time(path)) for path in files), each_cell_once, copies)


def unit_key(identities: Iterable[tuple[Path, int, int]]) -> bytes:
    """Return what names a unit of files, each given with its size and time of change."""
    named = [(os.fspath(path), size, changed_ns) for path, size, changed_ns in identities]
    return hashlib.sha256(repr(named).encode()).hexdigest()[:32].encode()


class FieldLog(Protocol):
    """Where what is read of units is noted."""

    def begin(self, unit: Unit) -> None:
        """Begin to note a unit's fields, in place of any that were noted before."""

    def add(self, unit: Unit, result: bytes) -> None:
        """Note a field of a unit, as `encoded` gives it."""

    def file_done(self, unit: Unit) -> None:
        """Note that the next file of a unit was read to its end."""


_TABLES = (
    "CREATE TABLE unit (key BLOB PRIMARY KEY, files_done INTEGER) WITHOUT ROWID",
    "CREATE TABLE field (key BLOB, place INTEGER, PRIMARY KEY (key, place)) WITHOUT ROWID",
)
"""How many files of a unit were read to their end, and where the lines of its fields begin."""


class Journal:
    """The readings of an unfinished scan.

    A context manager that holds the file, so that no other scan writes there.

    Leaving removes the file, unless `keep` was called. Each method raises StorageError when the disk will not take it.
    """

    def __init__(self, out_dir: Path, settings: dict[str, Any], resume: bool) -> None:
        """Take what the readings depend on; resume: go on from a journal that is there, where it has the same.

        Entering raises BusyError when another scan writes there, ConfigError when a journal has other settings.
        """
        self.resumed = False
        self._out_dir, self._path = out_dir, out_dir / JOURNAL
        self._settings, self._resume = json.loads(json.dumps(settings)), resume
        self._noted = DiskTables(*_TABLES)
        self._kept = False

    def __enter__(self) -> Journal:
        with storage_errors(self._out_dir):
            self._made = not self._out_dir.exists()
            self._out_dir.mkdir(parents=True, exist_ok=True)
            self._file = self._locked()
        try:
            self._begin()
        except BaseException:
            if self.resumed:
                self.keep()  # Of another scan.
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            with suppress(OSError):
                self._path.unlink()
            if self._made:
                with suppress(OSError):  # Not empty: the results are in place.
                    self._out_dir.rmdir()
        with suppress(OSError):  # A full disk was told before.
            self._file.close()

    def keep(self) -> None:
        """Leave the file where it is: the scan can go on from it."""
        self._kept = True

    def _locked(self) -> BinaryIO:
        while True:
            file = self._path.open("a+b", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.close()
                raise BusyError(
                    f"another scan is writing to {self._out_dir}. Wait for its end, or choose another --out"
                ) from error
            with suppress(OSError):
                if os.fstat(file.fileno()).st_ino == self._path.stat().st_ino:
                    return file
            file.close()  # The other scan ended, and removed its journal, between the two calls.

    def _begin(self) -> None:
        found = next(self._lines(), None) if self._resume else None
        if found is None:
            with storage_errors(self._out_dir):
                self._file.truncate(0)
            self._write(_SETTINGS, json.dumps(self._settings).encode())
            return
        self.resumed = True
        theirs = json.loads(found[1].partition(b" ")[2])
        other = [name for name in self._settings if theirs.get(name) != self._settings[name]]
        if other:
            raise ConfigError(
                f"{self._out_dir} holds an unfinished scan that was made with another {', '.join(other)}. Go on with "
                "the same options, configuration and version, or scan without --resume to begin anew"
            )
        end = 0
        for at, line in self._lines():
            self._note(at, *line.split(b" ", 2)[:2])
            end = at + _SUM_DIGITS + 1 + len(line) + 1
        with storage_errors(self._out_dir):
            self._file.truncate(end)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Give place and content of the lines up to the first that is not whole."""
        with storage_errors(self._path), self._path.open("rb") as file:
            at = 0
            for line in file:
                content = line[_SUM_DIGITS + 1 : -1]
                if not line.endswith(b"\n") or line[:_SUM_DIGITS] != _sum(content):
                    return
                yield at, content
                at += len(line)

    def _note(self, at: int, kind: bytes, key: bytes) -> None:
        if kind == _BEGIN:
            self._noted.do("DELETE FROM field WHERE key = ?", key)
            self._noted.do("INSERT OR REPLACE INTO unit VALUES (?, 0)", key)
        elif kind == _FIELD:
            self._noted.do("INSERT INTO field VALUES (?, ?)", key, at)
        elif kind == _FILE_DONE:
            self._noted.do("UPDATE unit SET files_done = files_done + 1 WHERE key = ?", key)

    def _write(self, kind: bytes, key: bytes, data: bytes = b"") -> None:
        content = kind + b" " + key + b" " + data
        with storage_errors(self._out_dir):
            at = self._file.seek(0, os.SEEK_END)
            line = _sum(content) + b" " + content + b"\n"
            while line:
                line = line[self._file.write(line) :]
        self._note(at, kind, key)

    def begin(self, unit: Unit) -> None:
        """Begin to note a unit's fields, in place of any that were noted before."""
        self._write(_BEGIN, unit.key)

    def add(self, unit: Unit, result: bytes) -> None:
        """Note a field of a unit, as `encoded` gives it."""
        self._write(_FIELD, unit.key, result)

    def file_done(self, unit: Unit) -> None:
        """Note that the next file of a unit was read to its end."""
        self._write(_FILE_DONE, unit.key)

    def files_done(self, unit: Unit) -> int:
        """Return how many files of a unit were read to their end."""
        return self._noted.value("SELECT files_done FROM unit WHERE key = ?", unit.key) or 0

    def missing(self, units: Iterable[Unit]) -> Iterator[Unit]:
        """Give those of the units that were not read to their end when their turn comes."""
        return (unit for unit in units if self.files_done(unit) < len(unit.files))

    def fields(self, unit: Unit) -> Iterator[FieldResult]:
        """Give the fields of a unit that were noted."""
        with storage_errors(self._path), self._path.open("rb") as file:
            for (at,) in self._noted.rows("SELECT place FROM field WHERE key = ? ORDER BY place", unit.key):
                file.seek(at)
                yield decoded(file.readline().split(b" ", 3)[3])


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:_SUM_DIGITS].encode()
