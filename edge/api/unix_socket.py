"""The Unix socket of the service, for programs on this device; its rights say who may."""

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
    """Give a short path of the socket however deep the folder lies: unix(7) takes 108 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def listening(folder: Path) -> socket.socket:
    """Return a socket listening in a folder, for this user and group; a dead one is replaced."""
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
