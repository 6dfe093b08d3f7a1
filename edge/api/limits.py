"""How much of the device's API clients may use: connections, time, and requests a second."""

from __future__ import annotations

import asyncio
import socket
import time
import weakref
from contextlib import suppress
from typing import Any, cast

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX = 100
"""Open at once; for one more the oldest that asks for nothing is closed. A process may have 1,024 files open."""

IDLE_S = 10.0
"""A connection without a request in work is closed after this, whether it is silent or sends a byte now and then."""

REQUEST_S = 60.0
"""Longest time for one request with its answer: a command waits 30 s at most for the reading thread. An answer that
goes on, as the live picture does, may take longer while its client reads it.
"""

REQUESTS_PER_S = 60.0
"""What all clients together get; the next ones wait. A page takes some 10, and reading needs the processor."""

WAIT_MAX_S = 5.0
"""A request that would have to wait longer is answered with 503."""


HANDSHAKES_MAX = 50
"""Connections that have not finished TLS's handshake; for one more the oldest is closed."""

_handshaking: dict[int, weakref.ref[socket.socket]] = {}
"""By descriptor, the oldest first."""


class BoundedSocket(socket.socket):
    """A listening socket whose connections are few though they never speak."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection, at the cost of the oldest that has not become an HTTP one."""
        connection, address = super().accept()
        for descriptor, known in list(_handshaking.items()):
            waiting = known()
            if waiting is None or waiting.fileno() != descriptor:
                del _handshaking[descriptor]
            elif len(_handshaking) >= HANDSHAKES_MAX:
                del _handshaking[descriptor]
                with suppress(OSError):
                    waiting.shutdown(socket.SHUT_RDWR)  # its transport then closes it
        _handshaking[connection.fileno()] = weakref.ref(connection)
        return connection, address


class BoundedConnection(H11Protocol):
    """One HTTP connection that cannot be held open for nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, at the cost of the oldest idle one where there are too many."""
        super().connection_made(transport)
        _handshaking.pop(transport.get_extra_info("socket").fileno(), None)
        self._since_s = self.loop.time()
        self._working: object = None
        self._look = self.loop.call_later(IDLE_S, self._close_when_idle)
        if len(self.connections) > CONNECTIONS_MAX:
            others = cast("set[BoundedConnection]", self.connections) - {self}
            min(others, key=lambda other: (other.busy, other._since_s)).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that has ended."""
        self._look.cancel()
        super().connection_lost(exc)

    @property
    def busy(self) -> bool:
        """Whether a request is in work."""
        return self.cycle is not None and not self.cycle.response_complete

    def _close_when_idle(self) -> None:
        working = self.cycle if self.busy else None
        late = working is self._working and self.loop.time() - self._since_s > REQUEST_S
        if working is None or (late and not self._streams()):
            self.transport.abort()
            return
        if working is not self._working:
            self._working, self._since_s = working, self.loop.time()
        self._look = self.loop.call_later(IDLE_S, self._close_when_idle)

    def _streams(self) -> bool:
        """Return whether an answer is under way and its client has read all that was sent."""
        return self.cycle.response_started and not self.transport.get_write_buffer_size()


class Paced:
    """Lets requests through at a bounded rate.

    So busy clients do not take the processor from reading.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._next_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request when its turn comes."""
        now = time.monotonic()
        wait_s = max(0.0, self._next_s - now)
        if wait_s > WAIT_MAX_S:
            busy = {"error": "the device is busy with other requests; ask again", "kind": "CommandError"}
            await JSONResponse(busy, 503, {"Retry-After": "1"})(scope, receive, send)
            return
        self._next_s = now + wait_s + 1.0 / REQUESTS_PER_S
        if wait_s:
            await asyncio.sleep(wait_s)
        await self._app(scope, receive, send)
