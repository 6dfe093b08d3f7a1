"""Files that are never half-written: made aside, made durable, then renamed into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.errors import StorageError

ASIDE = ".partial-"
"""How the name of a folder of unfinished files begins."""


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written: {error.strerror or error}. Free space there, or choose another place"
        ) from error


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """Make `folder` where it is missing, and give a hidden folder in it to write to.

    `move` what is finished out of it.

    Whatever is still inside on leaving is removed, and so is `folder` when it was made here and is empty: an error or
    Ctrl-C leaves things as they were. Raises StorageError.
    """
    with storage_errors(folder):
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder))
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if made:
            with suppress(OSError):  # Not empty: the files are in place.
                folder.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove what programs that were killed left in a folder; nobody may be writing there."""
    for left in folder.glob(f"{ASIDE}*"):
        shutil.rmtree(left, ignore_errors=True)


def move(source: Path, target: Path) -> None:
    """Rename a finished file to its place, after its bytes are on the disk.

    Within one file system.

    A reader, or a start after a power cut, finds the old file or the new one, never a part. Raises StorageError.
    """
    with storage_errors(target):
        _sync(source)
        source.replace(target)
        _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
