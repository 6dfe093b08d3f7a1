"""Serves the API in a thread, on the device's socket and, where configured, to browsers."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from edge.api.limits import BoundedConnection, BoundedSocket, Paced
from edge.api.unix_socket import NAME, listening
from edge.errors import ConfigError, StorageError
from edge.system.atomic_files import storage_errors

START_S = 10.0
STOP_S = 3.0

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Listener:
    """Where browsers are served.

    Attributes:
        app: what answers them.
        host: address to listen on.
        port: likewise.
        certificate: file of the certificate, with which TLS is spoken; None for none.
        key: file of its key.
    """

    app: ASGIApp
    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None


@contextmanager
def serving(app: ASGIApp, folder: Path, listener: Listener | None) -> Iterator[None]:
    """Serve until the block is left.

    Args:
        app: the API, for programs on this device.
        folder: the state folder, where the socket goes.
        listener: for browsers, or None.

    Raises:
        ConfigError: The port is taken, or the certificate cannot be used.
        StorageError: The socket cannot be made.
    """
    servers, sockets = [_server(TrustedHostMiddleware(app, allowed_hosts=["localhost"]))], []
    if listener is not None:
        servers.insert(0, _browser_server(listener))
        sockets.append(_bound(listener))
    try:
        with storage_errors(folder / NAME):
            sockets.append(listening(folder))  # last: who finds it finds the other too
    except StorageError:
        for one in sockets:
            one.close()
        raise
    thread = threading.Thread(target=_run, args=(servers, sockets), name="web", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_S
        while not all(one.started for one in servers) and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        yield
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(STOP_S)
        for one in sockets:
            one.close()
        (folder / NAME).unlink(missing_ok=True)


def _bound(listener: Listener) -> socket.socket:
    try:
        return BoundedSocket(fileno=socket.create_server((listener.host, listener.port)).detach())
    except OSError as error:
        raise ConfigError(f"web.port {listener.port} of {listener.host} cannot be listened to: {error.strerror}. "
                          "Set another") from error  # fmt: skip


def _browser_server(listener: Listener) -> uvicorn.Server:
    server = _server(listener.app, listener.certificate, listener.key)
    try:
        server.config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"TLS cannot be spoken with web.certificate {listener.certificate} and web.key {listener.key}: {error}. "
            "Give the right files; the installer makes a pair (docs/page.md)"
        ) from error
    return server


def _server(app: ASGIApp, certificate: Path | None = None, key: Path | None = None) -> uvicorn.Server:
    # Its own logging would name samples and pictures; a keep-alive of another program must not hold up a stop.
    return uvicorn.Server(
        uvicorn.Config(
            Paced(app),
            http=BoundedConnection,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
            server_header=False,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )


def _run(servers: list[uvicorn.Server], sockets: list[socket.socket]) -> None:
    """Serve each socket with its server in one event loop: connections to one do not use up those of the other."""

    async def serve() -> None:
        await asyncio.gather(*(server.serve([one]) for server, one in zip(servers, sockets, strict=True)))

    asyncio.run(serve())
