"""Messages that may be what the broker ends the connection for, and messages that it refused for the moment."""

from __future__ import annotations

import time

from edge.system.backoff import Backoff

ENOUGH = 2
"""Connections that a message may end while it is alone on its way; then it is set aside."""

RETRY_S = (5.0, 600.0)
"""The first wait before a message that was refused for the moment is tried again, and the longest."""


class Suspects:
    """Messages that were unacknowledged when the connection ended: each is tried alone."""

    def __init__(self) -> None:
        self._endings: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._endings)

    def ended(self, row_ids: list[str]) -> str | None:
        """Note the messages on their way as a connection ended.

        Return the one that is to be set aside.
        """
        if len(row_ids) != 1:
            for row_id in row_ids:
                self._endings.setdefault(row_id, 0)
            return None
        (alone,) = row_ids
        self._endings[alone] = self._endings.get(alone, 0) + 1
        if self._endings[alone] < ENOUGH:
            return None
        del self._endings[alone]
        return alone

    def clear(self, row_id: str) -> None:
        """Take a message as harmless: it was answered."""
        self._endings.pop(row_id, None)

    def clear_all(self) -> None:
        """Take all as harmless: the broker itself was away."""
        self._endings.clear()

    def keep_only(self, row_ids: set[str]) -> None:
        """Forget those that no longer wait."""
        for row_id in self._endings.keys() - row_ids:
            del self._endings[row_id]


class Postponed:
    """Messages that were refused for the moment, each with its own back-off."""

    def __init__(self) -> None:
        self._waits: dict[str, Backoff] = {}
        self._due_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, row_id: str) -> bool:
        """Postpone a message; return whether it is the first time."""
        first = row_id not in self._waits
        self._due_s[row_id] = time.monotonic() + self._waits.setdefault(row_id, Backoff(*RETRY_S)).next_s()
        return first

    def clear(self, row_id: str) -> None:
        """Forget a message that was answered for good."""
        self._waits.pop(row_id, None)
        self._due_s.pop(row_id, None)

    def wait_s(self, row_id: str) -> float:
        """Return how long the message has to wait yet, in seconds; 0 when it may go."""
        return max(0.0, self._due_s.get(row_id, 0.0) - time.monotonic())
