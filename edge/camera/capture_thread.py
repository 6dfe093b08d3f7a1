"""Between the camera's thread and the reader's: one slot, so that a slow reader gets the newest frame, not a queue.

The camera's thread opens, reads and closes the camera, and tries a live one again that was lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from edge.camera.base import Camera, RejectedInputError
from edge.errors import CameraError
from edge.system.backoff import Backoff
from edge.types import Frame

Item = Frame | RejectedInputError
"""What a camera gives: a frame, or word that one of its files cannot be read."""

RETRY_FIRST_S, RETRY_MAX_S = 0.5, 8.0
"""Between two attempts to open a lost camera: doubled each time, as each costs the start of a process."""

STEADY_S = 30.0
"""A camera that is lost again sooner than this is tried no more often than the last time."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A live camera was lost, or is back; text: why, or after how long."""

    code: Literal["camera_lost", "camera_back"]
    text: str


class Mailbox:
    """One slot. With `waits` the sender waits until the slot is free.

    Without, the newest wins and `dropped` counts.

    The sender works within `with mailbox:`; an error that ends it is kept, and raised by `take` in the reader's
    thread
    after what was sent before it.
    """

    def __init__(self, waits: bool) -> None:
        self.sent = 0
        self.dropped = 0
        self._waits = waits
        self._item: Item | None = None
        self._opened = self._ended = False
        self._error: BaseException | None = None
        self._notices: deque[Notice] = deque()
        self._changed = threading.Condition()

    def __enter__(self) -> Mailbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        with self._changed:
            self._error = error
        self.end()
        return True  # the reader raises it

    def open(self) -> None:
        """Say that the camera is open."""
        with self._changed:
            self._opened = True
            self._changed.notify_all()

    def wait_open(self) -> None:
        """Wait until the camera is open; raises what prevented it."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._ended)
            if not self._opened and self._error is not None:
                raise self._error

    def put(self, item: Item) -> bool:
        """Send; return whether anybody still reads."""
        with self._changed:
            while self._waits and self._item is not None and not self._ended:
                self._changed.wait()
            if self._ended:
                return False
            self.dropped += self._item is not None
            self.sent += 1
            self._item = item
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> Item | None:
        """Return the newest item, or None when none came in time or `ended`.

        Raises what ended the sender.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._ended, timeout_s)
            item, self._item = self._item, None
            self._changed.notify_all()
            if item is None and self._error is not None:
                raise self._error
            return item

    def wait(self, timeout_s: float) -> None:
        """Let time pass without taking anything, but not beyond the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, timeout_s)

    def tell(self, notice: Notice) -> None:
        """Leave a notice for the reader."""
        self._notices.append(notice)

    def notices(self) -> list[Notice]:
        """Return the notices since the last call."""
        return [self._notices.popleft() for _ in range(len(self._notices))]

    def abandoned(self, timeout_s: float) -> bool:
        """Wait so long; return at once, and True, when nobody reads any more."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout_s)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the sender has ended, and all it sent was taken."""
        with self._changed:
            return self._ended and self._item is None and self._error is None

    def end(self) -> None:
        """Say that no more will be sent, or that nobody reads any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextmanager
def capturing(camera: Camera, *, reconnect_s: float, join_s: float) -> Iterator[Mailbox]:
    """Open a camera and read it, on a thread of its own.

    Raises what prevents it from being opened.

    A live camera that fails later is tried again for `reconnect_s`; then its error is raised by `take`. On leaving,
    wait at most `join_s` for the last read to return and the camera to close.
    """
    mailbox = Mailbox(waits=not camera.live)
    thread = threading.Thread(target=_Capture(camera, mailbox, reconnect_s).run, name="capture", daemon=True)
    thread.start()
    try:
        mailbox.wait_open()
        yield mailbox
    except KeyboardInterrupt:  # asked for the second time: stop at once; a camera's own process dies with this one
        join_s = 0.0
        raise
    finally:
        mailbox.end()
        thread.join(join_s)


class _Capture:
    """Reads a camera into a mailbox."""

    def __init__(self, camera: Camera, mailbox: Mailbox, reconnect_s: float) -> None:
        self._camera, self._mailbox, self._reconnect_s = camera, mailbox, reconnect_s
        self._back_s = float("-inf")
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_MAX_S)

    def run(self) -> None:
        """Read until the end of the camera or the reader."""
        with self._mailbox, self._camera:
            self._mailbox.open()
            while True:
                try:
                    item: Item | None = self._camera.read()
                except RejectedInputError as error:
                    item = error
                except CameraError as error:
                    if not self._camera.live:
                        raise
                    item = self._again(error)
                if item is None or not self._mailbox.put(item):
                    return

    def _again(self, error: CameraError) -> Frame | None:
        """Try a lost camera until it gives a frame; None when nobody waits for one any more."""
        self._mailbox.tell(Notice("camera_lost", str(error)))
        lost_s = time.monotonic()
        if lost_s - self._back_s > STEADY_S:
            self._backoff.reset()
        while (left_s := lost_s + self._reconnect_s - time.monotonic()) > 0:
            if self._mailbox.abandoned(min(self._backoff.next_s(), left_s)):
                return None
            try:
                frame = self._camera.read()
            except CameraError as newest:
                error = newest
            else:
                self._back_s = time.monotonic()
                text = f"{self._camera.name} is back after {self._back_s - lost_s:.1f} s"
                self._mailbox.tell(Notice("camera_back", text))
                return frame
        raise error
