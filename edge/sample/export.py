"""A sample as files: cells.csv and sample.json for any table program; which files were written, and their removal."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge.sample.cell_rows import StoredCell
from edge.storage.database import Database
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.digest import sha256_file
from edge.system.spreadsheet import inert_text
from edge.types import CLASSES

COLUMNS = (
    "number", "island", "x_um", "y_um", "field", "score", "class", *(f"p_{name}" for name in CLASSES),
    "reviewed", "reviewed_by", "reviewed_reason", "picture",
)  # fmt: skip


def export(folder: Path, sample: dict[str, Any], cells: Sequence[StoredCell], crops: dict[int, bytes]) -> list[Path]:
    """Write a sample into a folder, and return the files.

    Each is written whole or not at all, sample.json last.

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
    return [*(pictures / f"{number}.jpg" for number in crops), folder / "cells.csv", folder / "sample.json"]


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, for its owner alone.

    Raises:
        StorageError: It cannot be written.
    """
    with aside(path.parent) as unfinished:
        with storage_errors(path):
            (unfinished / path.name).write_bytes(text.encode())  # as it is: carriage returns end segments of HL7
            (unfinished / path.name).chmod(0o600)
        move(unfinished / path.name, path)


def remember(database: Database, sample_id: str, paths: Iterable[Path]) -> None:
    """Store which files were written of a sample, for its erasure."""
    with database.transaction() as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO exports (sample_id, path, sha256) VALUES (?, ?, ?)",
            [(sample_id, str(path.resolve()), sha256_file(path)) for path in paths],
        )


def written(database: Database, sample_id: str) -> dict[Path, str]:
    """Return the files that were written of a sample, with the digest of each."""
    found = database.read("SELECT path, sha256 FROM exports WHERE sample_id = ?", sample_id)
    return {Path(path): sha256 for path, sha256 in found}


def remove_written(files: Mapping[Path, str]) -> list[Path]:
    """Remove files that are still what was written, and an export's folders that are empty then.

    Returns:
        Those that are left: changed since, or not to be removed by this user. A file that is gone is none.
    """
    left = []
    for path, sha256 in files.items():
        try:
            if sha256_file(path) == sha256:
                path.unlink()
            else:
                left.append(path)
        except FileNotFoundError:
            continue
        except OSError:
            left.append(path)
    own = {path.parent for path in files if path.name == "sample.json" or path.parent.name == "pictures"}
    for folder in sorted(own, key=lambda one: -len(one.parts)):
        with suppress(OSError):  # not empty, or not ours
            folder.rmdir()
    return left


def _row(cell: StoredCell, pictured: bool) -> list[object]:
    return [
        cell.number, cell.island, cell.x_um, cell.y_um, cell.field, cell.score, cell.class_name, *cell.prob,
        inert_text(cell.reviewed), inert_text(cell.reviewed_by), inert_text(cell.reviewed_reason),
        f"pictures/{cell.number}.jpg" if pictured else "",
    ]  # fmt: skip
