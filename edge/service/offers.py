"""Takes offers of models that come over MQTT: fetches the bundle, has it checked, and says what came of it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from typing import Literal

from edge.bundle.fetch import fetch
from edge.bundle.offer import Offer, parse_offer
from edge.config.model import ModelsConfig
from edge.errors import EdgeError, InputError
from edge.runtime.bundle_store import BundleStore
from edge.system.atomic_files import storage_errors
from edge.system.backoff import Backoff

PAUSES_S = (60.0, 3600.0)
"""Between two attempts, first and longest: whoever may write to the broker cannot make the device work without end."""

Tell = Callable[[Literal["info", "warning"], str, str], None]
"""Takes level, code and text of an event."""


class Offers:
    """Works on the newest offer in a thread of its own, beside the reading of samples."""

    def __init__(self, config: ModelsConfig, store: BundleStore, tell: Tell) -> None:
        """Take offers for a store; tell: is given what came of them."""
        self.state = self._told = ""
        self._config, self._store, self._tell = config, store, tell
        self._backoff, self._next_s = Backoff(*PAUSES_S), 0.0
        self._offer: Offer | None = None
        self._news, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Offers:
        self._stopping = threading.Event()  # its own for each thread: one that tries a model may end later
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="offers", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(5)  # a model that is being tried is left to end by itself

    def receive(self, payload: bytes, _correlation: bytes | None) -> None:
        """Take an offer in; called by paho's thread, and returns at once."""
        try:
            self._offer = parse_offer(payload)
        except InputError as error:
            self._refused(error)
            return
        self._news.set()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._news.wait()
            self._news.clear()
            while (offer := self._offer) is not None and not stopping.wait(self._pause_s()):
                if self._done(offer) and self._offer is offer:
                    self._offer = None

    def _pause_s(self) -> float:
        return max(0.0, self._next_s - time.monotonic())

    def _done(self, offer: Offer) -> bool:
        """Work on an offer; return whether that is all that can be done."""
        try:
            record = self._store.record()
            if offer.serial <= record.highest:
                return True  # taken in, or refused, before
            self._next_s = time.monotonic() + self._backoff.next_s()
            self.state = "fetching"
            taken = self._take_in(offer)
        except EdgeError as error:
            self._refused(error)
            return False
        self.state = ""
        self._backoff.reset()
        self._tell("info", "models_waiting", taken)
        return True

    def _refused(self, error: EdgeError) -> None:
        self.state = f"refused: {error}"
        if self._told != self.state:  # once, though it is tried again and again
            self._told = self.state
            self._tell("warning", "models_refused", f"the models that were offered are not used: {error}")

    def _take_in(self, offer: Offer) -> str:
        folder = self._store.folder / "offered"
        target = folder / offer.file
        self._store.check_room(offer.bytes)
        try:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            fetch(offer, self._config.fetch_from or "", target, self._stopping.is_set)
            return f"models {self._store.take_in(target).in_words} wait for the end of the sample at hand"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
