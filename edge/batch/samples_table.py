"""samples.csv: one row for each folder of a scan that gives one result per folder."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from edge.batch.records import Summary
from edge.errors import InputError
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.spreadsheet import inert_text

SAMPLES = "samples.csv"
COLUMNS = (
    "folder", "status", "red_cells", "sickle", "fraction", "low", "high", "fields_read", "fields_rejected",
    "files_left_out", "complete", "flags",
)  # fmt: skip


def refuse_others_table(out_dir: Path) -> None:
    """Raise InputError where there is a samples.csv that no scan wrote."""
    path = out_dir / SAMPLES
    if not path.exists():
        return
    with path.open("rb") as file:
        if file.readline().strip() == ",".join(COLUMNS).encode():
            return
    raise InputError(f"{path} was written by no scan, and would be overwritten. Choose another --out, or move it away")


def write_table(out_dir: Path, samples: Iterable[tuple[Path, Summary]]) -> None:
    """Write the table of all folders that were read."""
    with aside(out_dir) as unfinished:
        with storage_errors(out_dir), (unfinished / SAMPLES).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            rows.writerows(_row(folder, summary) for folder, summary in samples)
        move(unfinished / SAMPLES, out_dir / SAMPLES)


def _row(folder: Path, summary: Summary) -> list[object]:
    verdict = summary.verdict
    return [
        inert_text(folder.as_posix()), verdict.status, verdict.red_cells, verdict.sickle, verdict.fraction, verdict.low,
        verdict.high, summary.fields_read, sum(summary.rejected.values()), len(summary.left_out_files),
        summary.complete, " ".join(verdict.flags),
    ]  # fmt: skip
