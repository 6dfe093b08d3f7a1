"""One service to a state folder: two would scan the same sample."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import BusyError
from edge.system.atomic_files import storage_errors
from edge.system.owner import refuse_other_user


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder until the program leaves or dies; raises BusyError when another holds it."""
    refuse_other_user(folder)
    path = folder / "service.lock"
    with storage_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"another sicklescope runs with {folder}. Talk to it with `sicklescope sample`, stop it, or set "
                "device.state_dir to another folder"
            ) from error
        yield
