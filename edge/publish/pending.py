"""Messages that callers hand over for the sender: in memory, bounded, never waiting for disk or network."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from edge.publish.messages import Event, Reply, Telemetry
from edge.publish.result_messages import Progress

State = Literal["online", "fault", "building"]

NEWS = 100
"""Events and telemetry that are held; then the oldest go. What waits for long waits in the outbox, not here."""

REPLIES = 20
"""Answers that are held; then the oldest go."""


class Pending:
    """What waits in memory to be sent. Any thread may call it.

    Attributes:
        dropped: messages that were never sent, nor stored to be sent later.
        status: what the device last said of itself, and why.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.status: tuple[State, str] = ("online", "")
        self._lock = threading.Lock()
        self._announce = self._index_due = False
        self._progress: Progress | None = None
        self._news: deque[Event | Telemetry] = deque()
        self._replies: deque[Reply] = deque(maxlen=REPLIES)

    def put_status(self, state: State, reason: str) -> None:
        """Change the status, and have it announced."""
        with self._lock:
            self.status = (state, reason)
            self._announce = True

    def announce(self) -> None:
        """Have status and birth sent (again)."""
        with self._lock:
            self._announce = True

    def ask_index(self) -> None:
        """Have the index of results sent, where it has changed."""
        with self._lock:
            self._index_due = True

    def take_index(self) -> bool:
        """Return, once, whether the index of results may have changed."""
        with self._lock:
            asked, self._index_due = self._index_due, False
            return asked

    def put_progress(self, message: Progress) -> None:
        """Replace the running counts that have not been sent."""
        with self._lock:
            self.dropped += self._progress is not None
            self._progress = message

    def put_news(self, message: Event | Telemetry) -> None:
        """Hold an event or telemetry; the oldest goes when there are too many."""
        with self._lock:
            self._news.append(message)
            if len(self._news) > NEWS:
                self._news.popleft()
                self.dropped += 1

    def put_reply(self, message: Reply) -> None:
        """Hold the answer to a command; it is not stored, for nobody waits for it long."""
        with self._lock:
            self._replies.append(message)

    def take_replies(self) -> list[Reply]:
        """Return the answers, once."""
        with self._lock:
            replies = list(self._replies)
            self._replies.clear()
            return replies

    def take_announcement(self) -> tuple[State, str] | None:
        """Return the status, once, when it is to be announced."""
        with self._lock:
            asked, self._announce = self._announce, False
            return self.status if asked else None

    def take_progress(self) -> Progress | None:
        """Return the running counts, once."""
        with self._lock:
            message, self._progress = self._progress, None
            return message

    def take_news(self, limit: int) -> list[Event | Telemetry]:
        """Return the oldest events and telemetry, `limit` at most, once."""
        with self._lock:
            return [self._news.popleft() for _ in range(min(limit, len(self._news)))]

    def give_back(self, news: list[Event | Telemetry]) -> None:
        """Hold again what was taken and could not be sent or stored."""
        with self._lock:
            self._news.extendleft(reversed(news))

    def drop(self, messages: int) -> None:
        """Count messages that are given up."""
        with self._lock:
            self.dropped += messages
