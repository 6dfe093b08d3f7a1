"""A sample as files that any table program reads: cells.csv and sample.json."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.sample.cell_rows import StoredCell
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.spreadsheet import inert_text
from edge.types import CLASSES

COLUMNS = (
    "number", "island", "x_um", "y_um", "field", "score", "class", *(f"p_{name}" for name in CLASSES),
    "reviewed", "reviewed_by", "reviewed_reason", "picture",
)  # fmt: skip


def export(folder: Path, sample: dict[str, Any], cells: Sequence[StoredCell], crops: dict[int, bytes]) -> None:
    """Write a sample into a folder, each file whole or not at all, sample.json last.

    Args:
        folder: where the files go.
        sample: what sample.json is to hold.
        cells: rows of cells.csv.
        crops: JPEG by cell number, written into pictures/.

    Raises:
        StorageError: The files cannot be written.
    """
    with aside(folder) as unfinished, storage_errors(folder):
        pictures = folder / "pictures"
        pictures.mkdir(exist_ok=True)
        for number, jpeg in crops.items():
            (unfinished / "crop").write_bytes(jpeg)
            move(unfinished / "crop", pictures / f"{number}.jpg")
        with (unfinished / "cells.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_row(cell, cell.number in crops) for cell in cells)
        (unfinished / "sample.json").write_text(json.dumps(sample, indent=2, ensure_ascii=False) + "\n", "utf-8")
        move(unfinished / "cells.csv", folder / "cells.csv")
        move(unfinished / "sample.json", folder / "sample.json")


def _row(cell: StoredCell, pictured: bool) -> list[object]:
    return [
        cell.number, cell.island, cell.x_um, cell.y_um, cell.field, cell.score, cell.class_name, *cell.prob,
        inert_text(cell.reviewed), inert_text(cell.reviewed_by), inert_text(cell.reviewed_reason),
        f"pictures/{cell.number}.jpg" if pictured else "",
    ]  # fmt: skip
