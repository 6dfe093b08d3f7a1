"""The page of a device that cannot read samples: it stands, says why, and samples can be reviewed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from edge.api.device import Device, Level
from edge.config.model import Config
from edge.errors import ConfigError, EdgeError, StorageError
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.sample.command_queue import CommandQueue
from edge.sample.handlers import NoScanner, perform
from edge.sample.lifecycle import Lifecycle
from edge.storage.database import Database

log = logging.getLogger(__name__)


@contextmanager
def fault_page(
    config: Config, database: Database, publisher: Publisher, fault: EdgeError
) -> Iterator[Callable[[], None]]:
    """Serve the page, where that can be; give what does the commands that came in."""
    from edge.page.serve import served

    composer, commands = Composer(config.device), CommandQueue()
    lifecycle = Lifecycle(config, database, composer)
    scanner = NoScanner(lifecycle)

    def state() -> dict[str, Any]:
        link = publisher.state()
        return {
            "state": "fault", "sample": None, "id": None, "connected": link.connected, "connection": link.reason,
            "results_waiting": link.pending, "results_refused": link.refused, "results_unheard": link.unheard,
            "camera_problem": "", "storage_problem": "", "counts": None, "verdict": None,
        }  # fmt: skip

    def tell(level: Level, code: str, text: str) -> None:
        publisher.event(composer.event(level, code, text))

    device = Device(config, lifecycle, commands, state, lambda: None, str(fault), tell)
    with ExitStack() as stack:
        try:
            stack.enter_context(served(device))
        except (ConfigError, StorageError) as error:
            log.error("the page cannot be served: %s", error)
        stack.callback(commands.close)
        yield lambda: commands.work_off(lambda command: perform(command, lifecycle, scanner))
