"""The status of the device at the broker while TensorRT engines are built."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from edge.config.model import Config
from edge.errors import EngineError, EngineRefusedError
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.storage.outbox import Outbox

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
"""Between two status messages; the builder's steps come faster."""

FAULT_S = 2.0
"""How long a failure waits for a connection to be sent on; it is in the log in any case."""


@contextmanager
def build_status(
    config: Config, composer: Composer, outbox: Outbox, starting: Callable[[str], None]
) -> Iterator[Callable[[str], None]]:
    """Give what takes the steps of loading the networks, in words, to the broker and `starting`.

    A connection is made only when there is something to say: most starts build nothing. An engine that fails or is
    refused becomes the status `fault` and an event. Otherwise the status stays `building` until the service's own
    connection replaces it.
    """
    with ExitStack() as stack:
        status = _BuildStatus(stack, config, composer, outbox, starting)
        try:
            yield status.step
        except EngineError as error:
            status.fault(error)
            raise


class _BuildStatus:
    def __init__(
        self, stack: ExitStack, config: Config, composer: Composer, outbox: Outbox, starting: Callable[[str], None]
    ) -> None:
        self._stack, self._starting = stack, starting
        self._config, self._composer, self._outbox = config.mqtt, composer, outbox
        self._publisher: Publisher | None = None
        self._last_s = float("-inf")

    def step(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last_s >= INTERVAL_S:
            self._last_s = now
            log.warning("%s", text)
            self._starting(text)
            self._connected().status("building", text)

    def fault(self, error: EngineError) -> None:
        publisher = self._connected()
        publisher.status("fault", str(error))
        code = "engine_refused" if isinstance(error, EngineRefusedError) else "engine"
        publisher.event(self._composer.event("error", code, str(error)))
        deadline = time.monotonic() + FAULT_S
        while self._config.enabled and not publisher.state().connected and time.monotonic() < deadline:
            time.sleep(0.02)

    def _connected(self) -> Publisher:
        if self._publisher is None:
            publisher = Publisher(self._config, self._composer, self._outbox, birth=lambda: None)
            publisher.status("building")  # before it connects: it is not online
            self._publisher = self._stack.enter_context(publisher)
        return self._publisher
