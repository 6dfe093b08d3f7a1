"""Between the camera's thread and the reader's: one slot, so that a slow reader gets the newest frame, not a queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from edge.camera.base import Camera, RejectedInputError
from edge.types import Frame

Item = Frame | RejectedInputError
"""What a camera gives: a frame, or word that one of its files cannot be read."""


class Mailbox:
    """One slot. With `waits` the sender waits until the slot is free; without, the newest wins and `dropped` counts.

    The sender works within `with mailbox:`; an error that ends it is kept, and raised by `take` in the reader's thread
    after what was sent before it.
    """

    def __init__(self, waits: bool) -> None:
        self.sent = 0
        self.dropped = 0
        self._waits = waits
        self._item: Item | None = None
        self._ended = False
        self._error: BaseException | None = None
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
        """Return the newest item, or None when none came in time or `ended`; raises what ended the sender."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._ended, timeout_s)
            item, self._item = self._item, None
            self._changed.notify_all()
            if item is None and self._error is not None:
                raise self._error
            return item

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
def capturing(camera: Camera, join_s: float) -> Iterator[Mailbox]:
    """Read an open camera on a thread of its own; on leaving, wait at most `join_s` for its last read to return."""
    mailbox = Mailbox(waits=not camera.live)
    thread = threading.Thread(target=_capture, args=(camera, mailbox), name="capture", daemon=True)
    thread.start()
    try:
        yield mailbox
    finally:
        mailbox.end()
        thread.join(join_s)


def _capture(camera: Camera, mailbox: Mailbox) -> None:
    with mailbox:
        while True:
            try:
                item: Item | None = camera.read()
            except RejectedInputError as error:
                item = error
            if item is None or not mailbox.put(item):
                return
