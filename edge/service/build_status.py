"""Tells the broker while engines are built: the service cannot read samples yet, and is not silent for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType

from edge.config.model import Config
from edge.errors import EdgeError, EngineError, EngineRefusedError
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.storage.outbox import Outbox

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
"""Between two status messages; the builder's steps come faster."""

TOLD_S = 2.0
"""How long a failure waits for a connection to be told on; it is in the log in any case."""


class Building:
    """The time in which networks are loaded. Connects only when there is something to tell: most starts build nothing.

    What it is called with becomes the reason of the retained status `building`, and is told to `starting`. An engine
    that fails or is refused becomes the status `fault` and an event. Otherwise the status stays until the service's own
    connection replaces it.
    """

    def __init__(self, config: Config, composer: Composer, outbox: Outbox, starting: Callable[[str], None]) -> None:
        self._config, self._composer, self._outbox = config.mqtt, composer, outbox
        self._starting = starting
        self._publisher: Publisher | None = None
        self._last_s = float("-inf")

    def __enter__(self) -> Building:
        return self

    def __call__(self, text: str) -> None:
        """Tell how far the building is."""
        now = time.monotonic()
        if now - self._last_s >= INTERVAL_S:
            self._last_s = now
            log.warning("%s", text)
            self._starting(text)
            self._opened().status("building", text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, EngineError):
            self._tell(error)
        if self._publisher is not None:
            self._publisher.__exit__(kind, error, trace)

    def _tell(self, error: EdgeError) -> None:
        publisher = self._opened()
        publisher.status("fault", str(error))
        code = "engine_refused" if isinstance(error, EngineRefusedError) else "engine"
        publisher.event(self._composer.event("error", code, str(error)))
        deadline = time.monotonic() + TOLD_S
        while self._config.enabled and not publisher.state().connected and time.monotonic() < deadline:
            time.sleep(0.02)

    def _opened(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(self._config, self._composer, self._outbox, birth=lambda: None)
            self._publisher.status("building")  # before it connects: it is not online
            self._publisher.__enter__()
        return self._publisher
