"""The files of a scan: written aside field by field, put in their place together when all are whole."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np

from edge.batch.annotate import Gallery
from edge.batch.field_result import FieldResult
from edge.batch.parquet import CELLS_PARQUET, FIELDS_PARQUET, ParquetFiles
from edge.batch.records import CSV_COLUMNS, FieldRecord, ScaleRecord, Summary, csv_rows, field_record
from edge.batch.report import report_of_scan
from edge.camera.stored_file import is_url
from edge.errors import InputError, StorageError
from edge.language.languages import Language
from edge.report.page import render
from edge.report.slide_map import Coverage
from edge.screening.accumulator import Accumulator
from edge.system.atomic_files import ASIDE, move, storage_errors
from edge.types import Scale

FIELDS, CELLS, REPORT, SUMMARY, ANNOTATED = "fields.jsonl", "cells.csv", "report.html", "summary.json", "annotated"

_PARQUET = (FIELDS_PARQUET, CELLS_PARQUET)
_FILES = (FIELDS, CELLS, *_PARQUET, REPORT, SUMMARY)
"""In the order in which they take their place: the summary, which a program waits for, is last."""

_DRAWN = re.compile(r"\d{5,}_.*\.jpg")


class ResultFiles:
    """Counts the readings of a scan and writes them to the folder of unfinished files.

    A context manager.

    Each method raises StorageError, naming `out_dir`, when the disk will not take what is written.
    """

    def __init__(
        self, unfinished: Path, out_dir: Path, accumulator: Accumulator, *, annotate: bool, parquet: bool
    ) -> None:
        self.accumulator = accumulator
        self._parquet = ParquetFiles(unfinished) if parquet else None
        self.fields = 0
        self._unfinished, self._out_dir, self._annotate = unfinished, out_dir, annotate
        self._gallery, self._coverage = Gallery(), Coverage()
        self._scales: list[Scale] = []
        self._open = ExitStack()

    def __enter__(self) -> ResultFiles:
        with storage_errors(self._out_dir):
            self._lines = self._create(FIELDS)
            cells = self._create(CELLS)
            if self._annotate:
                (self._unfinished / ANNOTATED).mkdir()
        self._csv = csv.writer(cells, lineterminator="\n")
        self._csv.writerow(CSV_COLUMNS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with storage_errors(self._out_dir):
            self._open.close()

    def _create(self, name: str) -> TextIO:
        # newline="": lines end as they are written, on every system, and csv asks for it.
        return self._open.enter_context((self._unfinished / name).open("w", encoding="utf-8", newline=""))

    def add(self, result: FieldResult) -> None:
        """Count and write what was read of one field."""
        reading = result.reading
        record = field_record(reading, result.cause)
        self.accumulator.add(reading)
        self._coverage.add(reading)
        self.fields += 1
        with storage_errors(self._out_dir):
            self._lines.write(record.model_dump_json(by_alias=True) + "\n")
            self._csv.writerows(csv_rows(record))
            if self._parquet is not None:
                self._parquet.add(record)
        if reading.rejected is None and reading.scale is not None:
            self._scales.append(reading.scale)
        if reading.copy_of is None:
            for cell in result.gallery:
                self._gallery.add(cell)
        if result.drawn is not None:
            name = re.sub(r"[^\w.-]+", "_", Path(reading.name).name)[:80]
            with storage_errors(self._out_dir):
                (self._unfinished / ANNOTATED / f"{self.fields:05d}_{name}.jpg").write_bytes(result.drawn)

    def scale(self) -> ScaleRecord | None:
        """Return the scales of the fields that were read, or None when there is none."""
        if not self._scales:
            return None
        sizes = [scale.um_per_px for scale in self._scales]
        return ScaleRecord(
            sources=sorted({scale.source for scale in self._scales}),
            median=float(np.median(sizes)),
            lowest=min(sizes),
            highest=max(sizes),
            spread=float(np.median([scale.spread for scale in self._scales])),
        )

    def publish(self, summary: Summary, say: Language) -> None:
        """Write the summary and the report, and put every file in its place.

        Call it after leaving the context. say: the language of the report.
        """
        with storage_errors(self._out_dir):
            (self._unfinished / SUMMARY).write_text(summary.model_dump_json(by_alias=True, indent=2) + "\n", "utf-8")
            fields, slide = read_fields(self._unfinished / FIELDS), self._coverage.map()
            page = render(report_of_scan(summary, self._gallery.cells(), fields, slide, say))
            (self._unfinished / REPORT).write_text(page, "utf-8")
            if self._parquet is not None:
                self._parquet.finish(summary)
            self._publish_drawn()
        for name in _FILES:
            if name in _PARQUET and self._parquet is None:
                (self._out_dir / name).unlink(missing_ok=True)  # An earlier scan's would be taken for this one's.
            else:
                move(self._unfinished / name, self._out_dir / name)

    def _publish_drawn(self) -> None:
        """Put the drawn fields in place of an earlier scan's, which would be taken for this one's."""
        folder = self._out_dir / ANNOTATED
        if folder.is_dir():
            for old in folder.iterdir():
                if _DRAWN.fullmatch(old.name):
                    old.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
        if self._annotate:
            folder.mkdir(exist_ok=True)
            for drawn in (self._unfinished / ANNOTATED).iterdir():
                drawn.replace(folder / drawn.name)


def refuse_others_files(out_dir: Path) -> None:
    """Raise InputError when a scan's files would take the place of files that no scan wrote."""
    if is_url(out_dir):
        raise InputError(
            f"{out_dir} is in an object store; results are written to a folder of this computer. Give one as --out, "
            "and copy it to the store afterwards"
        )
    if out_dir.exists() and not out_dir.is_dir():
        raise StorageError(f"{out_dir} is a file; expected a folder for the results. Choose another --out")
    present = [name for name in (*_FILES, ANNOTATED) if (out_dir / name).exists()]
    if present and not _is_of_a_scan(out_dir):
        raise InputError(
            f"{out_dir} holds {', '.join(present)}, which no scan wrote, and which would be overwritten. "
            "Choose another --out, or move them away"
        )


def drawn_by_a_scan(folder: Path) -> bool:
    """Return whether a scan drew the pictures of a folder, or left them when it was killed."""
    return any(part.startswith(ASIDE) for part in folder.parts) or (
        folder.name == ANNOTATED and _is_of_a_scan(folder.parent)
    )


def is_a_result(path: Path) -> bool:
    """Return whether a file is one of the results of a scan.

    Such a file is no input that was left out.
    """
    return path.name in _FILES and _is_of_a_scan(path.parent)


def _is_of_a_scan(folder: Path) -> bool:
    """Whether the folder's summary.json is one that a scan wrote."""
    try:
        found = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return False
    # Not the whole model: a scan of another version wrote a scan's files too.
    return isinstance(found, dict) and {"sicklescope", "research_use", "verdict"} <= set(found)


def rejected_fields(out_dir: Path) -> Iterator[tuple[str, str, str]]:
    """Give name, reason and cause of each rejected field of a scan."""
    with (out_dir / FIELDS).open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["rejected"] is not None:
                yield record["image"], record["rejected"]["reason"], record["rejected"]["cause"]


def read_fields(path: Path) -> Iterator[FieldRecord]:
    """Give the fields of a fields.jsonl."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield FieldRecord.model_validate(json.loads(line))
