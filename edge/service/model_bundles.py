"""The bundles of models of a service: loaded or given up, offered, and used between two samples."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

from edge.config.model import Config
from edge.errors import EngineError, ModelError
from edge.publish.connection import Listen
from edge.publish.message_base import ROOT
from edge.runtime.bundle_store import BundleStore
from edge.sample.codes import CONTROL
from edge.service.offers import Offers
from edge.service.sample_loop import SampleLoop

log = logging.getLogger(__name__)

POLL_S = 2.0
"""How often it is seen whether a pair waits: a command may have taken one in."""

News = tuple[Literal["info", "warning"], str, str]
"""Level, code and text of an event."""

Loaded = TypeVar("Loaded")


class ModelBundles:
    """What a service does with bundles; all but the offers in the thread that reads."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._store = BundleStore(config.device.state_dir, config.models)
        self._offers = Offers(config.models, self._store, self._tell)
        self._news: deque[News] = deque()
        self._looked_s = float("-inf")
        self._waits_since: tuple[str, object] | None = None

    def offered(self) -> AbstractContextManager[object]:
        """Work on offers while this is entered, where models.fetch_from is set."""
        return nullcontext() if self._config.models.fetch_from is None else self._offers

    def listen(self) -> list[Listen]:
        """Return the topic of offers, where any are taken."""
        device = self._config.device
        topic = f"{ROOT}/{device.site}/{device.device}/offer"
        taken = self._config.models.fetch_from is not None
        return [Listen(topic, self._offers.receive, "offer", retained=True)] if taken else []

    def news(self) -> Iterator[News]:
        """Give what happened since the last call."""
        while self._news:
            yield self._news.popleft()

    def state(self) -> tuple[int | None, str]:
        """Return the serial in use, and how far another one is, as in `Telemetry`."""
        try:
            record = self._store.record()
        except ModelError as error:
            return None, f"refused: {error}"
        in_use = record.in_use
        return in_use.serial if in_use else None, "waiting" if record.waiting else self._offers.state

    def loaded(self, load: Callable[[], Loaded]) -> Loaded:
        """Load the networks; a new pair that cannot be loaded is given up for the one before.

        Raises:
            ModelError, EngineError: Also the pair before, or the only one, cannot be loaded.
        """
        gone = self._store.begin()
        if gone is not None:
            self._gave_up(gone.in_words, "loading it ended the program, or the power went, several times")
        try:
            networks = load()
        except (ModelError, EngineError) as error:
            gone = self._store.give_up()
            if gone is None:
                raise
            self._gave_up(gone.in_words, str(error))
            networks = load()
        new = self._store.confirm()
        if new is not None:
            self._tell("info", "models_in_use", f"models {new.in_words} are in use")
        return networks

    def due(self, loop: SampleLoop) -> bool:
        """Whether to begin anew with the pair that waits; asked while no sample is read."""
        now = time.monotonic()
        if now - self._looked_s < POLL_S:
            return False
        self._looked_s = now
        try:
            waiting = self._store.record().waiting
        except ModelError as error:
            log.warning("%s", error)
            return False
        if not waiting or self._config.models.switch == "between_samples":
            return bool(waiting)
        if self._waits_since is None or self._waits_since[0] != waiting:
            self._waits_since = waiting, loop.ended
        return loop.ended is not self._waits_since[1] and _passed(loop)

    def switch(self) -> None:
        """Use what waits, from the next loading on."""
        self._store.switch()

    def _gave_up(self, what: str, why: str) -> None:
        self._tell("warning", "models_given_up", f"models {what} were given up for those before: {why}")

    def _tell(self, level: Literal["info", "warning"], code: str, text: str) -> None:
        log.warning("%s", text)
        self._news.append((level, code, text))


def _passed(loop: SampleLoop) -> bool:
    """Whether the last sample that ended was a control slide in order."""
    if loop.ended is None:
        return False
    session = loop.ended[0]
    return session.stored.code.startswith(f"{CONTROL}-") and not loop.control_failure(session)
