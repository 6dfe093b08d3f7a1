"""Random choices that come out the same each time they are made: by a digest of the sample and the thing."""

from __future__ import annotations

from bisect import insort
from hashlib import blake2b

_BYTES = 8


def rank(sample_id: str, what: object) -> int:
    """Return the place of a thing in a random order of its sample's, 0 to 2^64 − 1."""
    return int.from_bytes(blake2b(f"{sample_id} {what}".encode(), digest_size=_BYTES).digest(), "big")


def share(part: float) -> int:
    """Return the rank below which this part of all things lies."""
    return int(part * (1 << 8 * _BYTES))


class Draw:
    """Keeps the `size` cells of the lowest rank: a simple random sample of all offered.

    It needs no number of how many will come. Cells that are taken out leave the sample random as long as fewer than
    are kept beyond need have gone.
    """

    def __init__(self, sample_id: str, size: int) -> None:
        self._sample_id, self._size = sample_id, size
        self._kept: list[tuple[int, int]] = []

    def offer(self, number: int) -> tuple[bool, int | None]:
        """Return whether a cell is drawn, and the number of the one that has to go for it."""
        entry = (rank(self._sample_id, number), number)
        if entry in self._kept:
            return True, None
        if len(self._kept) == self._size and entry > self._kept[-1]:
            return False, None
        insort(self._kept, entry)
        return True, self._kept.pop()[1] if len(self._kept) > self._size else None

    def remove(self, number: int) -> None:
        """Take a cell out, for it is no longer one of those that are drawn from."""
        entry = (rank(self._sample_id, number), number)
        if entry in self._kept:
            self._kept.remove(entry)
