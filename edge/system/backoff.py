"""Waiting longer from try to try."""

from __future__ import annotations


class Backoff:
    """The waits between tries: each twice the one before it, up to a limit."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self.reset()

    def reset(self) -> None:
        """Begin again with the first wait."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """Return how long to wait before the next try, in seconds."""
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, self._longest_s)
        return wait_s
