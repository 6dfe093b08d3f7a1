"""Messages between the broker's threads and the one that writes them."""

from __future__ import annotations

import threading
from collections import OrderedDict

from fleet.subscription import Taken


class Inbox:
    """Messages in the order in which they came; any thread may call it.

    A message that the broker sends again on a new connection, while the first is still here, takes its place. It is
    written once, and acknowledged where that counts: Mosquitto 2.0.11 sends far more than it was asked to, and all of
    it again each time (docs/brokers.md).
    """

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[str, bytes], Taken] = OrderedDict()
        self._news = threading.Condition()

    def put(self, taken: Taken) -> None:
        """Add a message, or put it in the place of the same one."""
        with self._news:
            self._taken[taken.arrival.topic, taken.arrival.payload] = taken
            self._news.notify()

    def take(self, timeout_s: float) -> Taken | None:
        """Return the oldest message and forget it; None where none comes in time."""
        with self._news:
            if not self._news.wait_for(lambda: self._taken, timeout_s):
                return None
            return self._taken.popitem(last=False)[1]

    def __len__(self) -> int:
        return len(self._taken)
