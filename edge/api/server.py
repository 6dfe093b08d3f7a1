"""Serves the API in a thread, on the device's socket and, where configured, a loopback port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from edge.api.limits import BoundedConnection, Paced
from edge.api.unix_socket import NAME, listening
from edge.errors import ConfigError
from edge.system.atomic_files import storage_errors

START_S = 10.0
STOP_S = 3.0


@contextmanager
def serving(app: Starlette, folder: Path, port: int | None) -> Iterator[None]:
    """Serve until the block is left.

    Args:
        app: the API.
        folder: the state folder, where the socket goes.
        port: of the loopback, or None.

    Raises:
        ConfigError: The port is taken.
        StorageError: The socket cannot be made.
    """
    with storage_errors(folder / NAME):
        sockets = [listening(folder)]
    if port is not None:
        try:
            sockets.append(socket.create_server(("127.0.0.1", port)))
        except OSError as error:
            sockets[0].close()
            raise ConfigError(f"web.port {port} cannot be listened to: {error.strerror}. Set another") from error
    # Its own logging would name samples and pictures; a keep-alive of another program must not hold up a stop.
    config = uvicorn.Config(
        Paced(app),
        http=BoundedConnection,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=(sockets,), name="web", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_S
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_S)
        for one in sockets:
            one.close()
        (folder / NAME).unlink(missing_ok=True)
