"""The results of earlier scans, found again: folders with fields.jsonl and summary.json, or fields.parquet alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge.batch.parquet import FIELDS_PARQUET, read_parquet
from edge.batch.records import FieldRecord, Summary
from edge.batch.result_files import FIELDS, SUMMARY, read_fields
from edge.errors import InputError


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan wrote.

    Attributes:
        place: where it lies below the folder that was given.
        summary: of the scan.
        file: its fields.
    """

    place: Path
    summary: Summary
    file: Path

    def fields(self) -> Iterable[FieldRecord]:
        """Return its fields, from Parquet without their cells."""
        return read_parquet(self.file)[1] if self.file.suffix == ".parquet" else read_fields(self.file)


def find_results(given: Path) -> list[ScanResult]:
    """Return the results that lie at or below a path, in the order of their names.

    Raises:
        InputError: There are none, or a file of theirs is damaged or missing, or is of another scan than its summary.
    """
    if given.is_file():
        return [_of_parquet(Path(given.name), given)]
    results = list(_below(given))
    if not results:
        raise InputError(
            f"{given} holds no results of a scan; expected {SUMMARY} with {FIELDS}, or {FIELDS_PARQUET}. Give the "
            "folder that a scan was given as --out"
        )
    return results


def _below(given: Path) -> Iterator[ScanResult]:
    for where, folders, names in os.walk(given):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folder = Path(where)
        if SUMMARY in names and (found := _of_folder(folder.relative_to(given), folder)):
            yield found
        elif FIELDS_PARQUET in names and SUMMARY not in names:
            yield _of_parquet(folder.relative_to(given), folder / FIELDS_PARQUET)


def _of_folder(place: Path, folder: Path) -> ScanResult | None:
    """Return what a scan wrote into a folder; None where its summary.json is another program's."""
    text = (folder / SUMMARY).read_text("utf-8", "replace")
    try:
        summary = Summary.model_validate_json(text)
    except ValidationError as error:
        if "sicklescope" not in text:
            return None
        raise InputError(
            f"{folder / SUMMARY} cannot be used: {error.errors()[0]['msg']}. Scan again with this version"
        ) from error
    if not (folder / FIELDS).is_file():
        raise InputError(f"{folder} holds {SUMMARY} without {FIELDS}. Copy both, or scan again")
    with (folder / FIELDS).open("rb") as file:
        return _checked(ScanResult(place, summary, folder / FIELDS), sum(1 for _ in file))


def _of_parquet(place: Path, path: Path) -> ScanResult:
    summary, fields = read_parquet(path)
    return _checked(ScanResult(place, summary, path), len(fields))


def _checked(result: ScanResult, fields: int) -> ScanResult:
    expected = result.summary.fields_read + sum(result.summary.rejected.values())
    if fields != expected:
        raise InputError(
            f"{result.file} has {fields} fields and its summary tells of {expected}: they are of two scans, or one is "
            "cut short. Copy the results again, or scan again"
        )
    return result
