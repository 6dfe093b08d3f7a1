"""What the readers share: which pictures lie in a folder, and what is said when they do not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from training.data.datasets import DataError

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
SHOWN = 5
"""So many names are shown of what was found, or is missing."""


def pictures(folder: Path, deep: bool = False) -> list[Path]:
    """Return the pictures in a folder, or below it too, in the order of their names.

    Not those of a hidden folder.
    """
    found = folder.rglob("*") if deep else folder.glob("*")
    return sorted(p for p in found if p.suffix.lower() in PICTURES and not _hidden(p.relative_to(folder)))


def folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, in the order of their names."""
    return sorted(p for p in folder.glob("*") if p.is_dir() and not _hidden(Path(p.name)))


def class_folders(folder: Path, expected: str) -> list[Path]:
    """Return the folders in `folder` that hold pictures; raises DataError when there are none."""
    found = [p for p in folders(folder) if pictures(p, deep=True)]
    if not found:
        raise wrong(folder, expected)
    return found


def home(folder: Path, *names: str) -> Path:
    """Follow the folders of those names down from `folder` as far as they are there."""
    for name in names:
        if (folder / name).is_dir():
            folder = folder / name
    return folder


def wrong(folder: Path, expected: str) -> DataError:
    """Make the error of a folder that is not the set it should be."""
    if not folder.is_dir():
        return DataError(f"{folder} is no folder; looked there for {expected}")
    found = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    rest = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return DataError(f"{folder}: looked for {expected}; found {', '.join(found[:SHOWN]) or 'nothing'}{rest}")


def all_present(paths: Iterable[Path], named_by: Path) -> None:
    """Raise DataError when pictures that a label file names are not there."""
    missing = [p for p in paths if not p.is_file()]
    if missing:
        names = ", ".join(str(p) for p in missing[:SHOWN])
        raise DataError(f"{named_by} names {len(missing)} pictures that are not there: {names}")


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)
