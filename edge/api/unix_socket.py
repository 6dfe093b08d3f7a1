"""The Unix socket by which programs on this device talk to the service: the file's rights say who may."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "sicklescope.sock"
"""In the state folder."""


@contextmanager
def short(folder: Path) -> Iterator[str]:
    """Give a path of the socket that is short however deep the folder lies: unix(7) takes 108 bytes, and no more."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def listening(folder: Path) -> socket.socket:
    """Return a socket that listens in `folder`, for this user and group; one that a dead program left is replaced."""
    (folder / NAME).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short(folder) as path:
            server.bind(path)
        (folder / NAME).chmod(0o660)
        server.listen()
    except OSError:
        server.close()
        raise
    return server
