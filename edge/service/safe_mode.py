"""Safe mode: a service that a fault ended stays up, tells the broker why, and tries again.

For a device that nobody watches. In the foreground a person wants the error and the exit code at once: `Service.run`.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.config.loader import load, load_connection
from edge.config.model import Config
from edge.errors import BusyError, ConfigError, EdgeError, SampleError, StorageError
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.service.fault_page import fault_page
from edge.service.reporter import fault_code
from edge.service.service import Service
from edge.storage.database import Database, database_path
from edge.storage.outbox import Outbox
from edge.system.backoff import Backoff
from edge.system.systemd import Heartbeat

log = logging.getLogger(__name__)

FIRST_WAIT_S = 2.0
"""Before the second try; doubled from try to try."""

LONGEST_WAIT_S = 60.0
"""A camera that is plugged in again is found within this."""

WELL_S = 600.0
"""After a run that went well for so long the waits begin anew."""

POLL_S = 0.2
"""How often a wait looks whether it is to end."""


class SafeMode:
    """Runs the service until it is asked to stop, or a run ends as it should (a replay's end).

    The configuration is read anew for each try, so that a mended file is found without a restart.
    """

    def __init__(self, path: Path | None, sample: str | None, frames: int | None, heartbeat: Heartbeat) -> None:
        self._path, self._sample, self._frames, self._heartbeat = path, sample, frames, heartbeat
        self._service: Service | None = None
        self._stopping = threading.Event()
        self._announced = ""

    def stop(self) -> None:
        """Ask for the end; a signal handler may call it."""
        self._stopping.set()
        if self._service is not None:
            self._service.stop()

    def run(self) -> None:
        """Run and, after each fault, say so and try again.

        Raises:
            SampleError: The code cannot be used; trying again would never help.
        """
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        while not self._stopping.is_set():
            began_s = time.monotonic()
            fault = self._try()
            if fault is None:
                break
            if time.monotonic() - began_s >= WELL_S:
                backoff.reset()
            wait_s = backoff.next_s()
            log.error("%s. Trying again in %.0f s", fault, wait_s)
            self._wait_announcing(fault, wait_s)
        self._heartbeat.stopping()

    def _try(self) -> EdgeError | None:
        """Run once; return what ended it, or None when it ended as it should."""
        try:
            config = load(self._path).config
            self._service = Service(config, self._sample, self._frames, heartbeat=self._heartbeat)
            if self._stopping.is_set():  # asked while there was no service yet
                self._service.stop()
            outcome = self._service.run()
        except SampleError:  # a code that was used today stays used: trying again would never help
            raise
        except EdgeError as error:
            return error
        finally:
            self._service = None
        if outcome is None:
            return None
        log.info("sample %s: %s; the result is %s", outcome.sample, outcome.verdict.text, outcome.fate)
        return outcome.fault

    def _wait_announcing(self, fault: EdgeError, wait_s: float) -> None:
        """Wait, while the broker shows the fault and systemd hears that somebody waits."""
        deadline_s = time.monotonic() + wait_s
        if isinstance(fault, BusyError):
            self._wait(fault, deadline_s)  # the other one is at the broker, under the same name
            return
        try:
            with _connected(self._path, fault, str(fault) != self._announced) as (publisher, work):
                self._wait(fault, deadline_s, work)
                if publisher.state().connected:
                    self._announced = str(fault)
        except (ConfigError, StorageError) as error:
            log.error("the broker cannot be told: %s", error)
            self._wait(fault, deadline_s)

    def _wait(self, fault: EdgeError, deadline_s: float, work: Callable[[], None] = lambda: None) -> None:
        while not self._stopping.wait(POLL_S) and time.monotonic() < deadline_s:
            work()
            self._heartbeat.starting(f"fault: {fault}")


@contextmanager
def _connected(path: Path | None, fault: EdgeError, is_news: bool) -> Iterator[tuple[Publisher, Callable[[], None]]]:
    """Be at the broker with the status `fault`, and serve the page that says so.

    Give the connection, and what does the commands that came in.

    Raises:
        ConfigError: Not even the broker can be read from the configuration.
    """
    config = load_connection(path)
    composer = Composer(config.device)
    with _database(config) as database:
        publisher = Publisher(config.mqtt, composer, Outbox(database), birth=lambda: None)
        publisher.status("fault", str(fault))  # before it connects: it is not online
        if is_news:
            publisher.event(composer.event("error", fault_code(fault), str(fault)))
        with publisher, fault_page(config, database, publisher, fault) as work:
            yield publisher, work


@contextmanager
def _database(config: Config) -> Iterator[Database]:
    """Give the device's database, that what waits is sent; an empty one where it cannot be opened."""
    with tempfile.TemporaryDirectory(prefix="sicklescope-") as folder:
        try:
            database = Database(database_path(config))
        except StorageError:
            database = Database(Path(folder, "empty.sqlite3"))
        with database:
            yield database
