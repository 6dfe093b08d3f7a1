"""The MQTT broker inside `sicklescope demo`: this machine only, MQTT 3.1.1 only, and gone with the program."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import TypeAlias

from edge.errors import EdgeError

_Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Coroutine[None, None, None]]
_Connections: TypeAlias = dict["asyncio.Task[None]", asyncio.StreamWriter]

START_S = 10.0
"""How long starting and stopping may take before something is wrong."""


SETTLE_S = 0.05
"""A connection that is closed lets go of its socket some turns of the loop later."""


class EmbeddedBroker:
    """An amqtt broker on the loopback address, without users or passwords.

    In a thread and event loop of its own.

    Entering starts it and sets `port`; leaving stops it. Entering raises EdgeError when amqtt is not installed or the
    port is taken. Connect with `mqtt.protocol = "3.1.1"`.
    """

    host = "127.0.0.1"

    def __init__(self, port: int | None = None) -> None:
        """Take `port`, or any free one when None."""
        self.port = port or 0
        self._started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="mqtt-broker", daemon=True)

    def __enter__(self) -> EmbeddedBroker:
        try:
            from amqtt.errors import BrokerError
        except ImportError as error:
            raise EdgeError(
                f"the embedded broker needs amqtt: {error}. Install it by: pip install 'sicklescope[demo]'"
            ) from error
        # amqtt logs each failure with a traceback; what matters is raised.
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        self._thread.start()
        try:
            self.port, self._loop, self._stop = self._started.result(START_S)
        except (BrokerError, FutureTimeoutError) as error:
            raise EdgeError(
                f"the embedded broker cannot start on {self.host}:{self.port}: {error}. Choose another port"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)

    def _run(self) -> None:
        from amqtt.errors import BrokerError

        try:
            asyncio.run(self._serve())
        except BrokerError as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        from amqtt.broker import Broker

        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listener = {"type": "tcp", "bind": f"{self.host}:{self.port}"}
        broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
        connections: _Connections = {}
        broker.stream_connected = _closing(broker.stream_connected, connections)
        await broker.start()
        try:
            stop = asyncio.Event()
            # amqtt has no public way to ask which port the system gave; its version is pinned.
            port: int = broker._servers["default"].instance.sockets[0].getsockname()[1]
            self._started.set_result((port, asyncio.get_running_loop(), stop))
            await stop.wait()
        finally:
            # From Python 3.12 on a server only closes when its connections have.
            for writer in connections.values():
                writer.close()
            if connections:
                await asyncio.wait(list(connections), timeout=1.0)
            await broker.shutdown()
            await asyncio.sleep(SETTLE_S)


def _closing(serve: _Serve, connections: _Connections) -> _Serve:
    """Return `serve`, closing each connection when it is done; amqtt forgets those that end before they say CONNECT."""

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str) -> None:
        task = asyncio.ensure_future(serve(reader, writer, listener_name))
        connections[task] = writer
        try:
            await task
        finally:
            writer.close()
            del connections[task]

    return serve_and_close
