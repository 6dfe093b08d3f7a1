"""A file that says which sample may go on by itself after a failure.

Removing it needs no space on the disk and no lock of the database: what a person ended never goes on by itself, even
when its end could not be stored.
"""

from __future__ import annotations

import logging
from pathlib import Path

from edge.system.atomic_files import aside, move, storage_errors

log = logging.getLogger(__name__)

NAME = "scanning"
"""In the state folder; it holds the session's token."""


class ScanMarker:
    """The marker of the sample that is being scanned."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def set(self, token: str) -> None:
        """Mark the session with this token as one that may go on.

        Raises:
            StorageError: The marker cannot be written.
        """
        with aside(self._path.parent) as unfinished:
            with storage_errors(self._path):
                (unfinished / NAME).write_text(token, "ascii")
            move(unfinished / NAME, self._path)

    def clear(self) -> None:
        """Let no sample go on by itself."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s cannot be removed: %s", self._path, error)

    def allows(self, token: str) -> bool:
        """Return whether the session may go on.

        One that version 0.6 began has no token and no marker.
        """
        try:
            return not token or self._path.read_text("ascii") == token
        except (OSError, ValueError):
            return False
