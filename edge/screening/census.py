"""The cells of one sample, each once: what the looks at it said, and the class that follows from their mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.types import CELLS_KEPT, CLASSES, Change, Exclusion, Floats, Labels, Mask, Numbers, Placement

LOOKS = 4
"""A cell that was classified so often is known: further looks at it are much like those before, and cost the most
time.
"""

BORDER, UNKNOWN = -2, -3
"""States beside those of `types.CLASSES` and ABSTAINED: seen only cut by the edge, and no cell (or no longer one)."""

_NAMES = (Exclusion.BORDER.value, Exclusion.ABSTAINED.value, *CLASSES)
"""By state, from BORDER on."""


class Census:
    """Keeps for each cell the sum of its probabilities, how many there are, and its state: 29 bytes.

    name: gives labels int8 (N,) for mean probabilities float32 (N, 6).
    """

    def __init__(self, name: Callable[[Floats], Labels]) -> None:
        self._name = name
        # np.full, unlike np.zeros, takes the memory at once: a sample must not run out of it in its middle.
        self._sum = np.full((CELLS_KEPT, len(CLASSES)), 0, np.float32)
        self._looks = np.full(CELLS_KEPT, 0, np.int32)
        self._state = np.full(CELLS_KEPT, UNKNOWN, np.int8)
        self._islands = 0

    def known(self, placement: Placement) -> Mask:
        """Return bool (N,): the cells of a frame that need no further look."""
        looks: Mask = self._looks[placement.ids % CELLS_KEPT] >= LOOKS
        return looks & (placement.ids >= 0)

    def take(self, placement: Placement, looked: Mask, prob: Floats) -> Change:
        """Take in a frame: looked (N,), the cells that were looked at, and prob float32 (M, 6), what was seen of those.

        Returns what it changes in the counts, which may go down: a cell seen cut before is now whole, and two cells
        prove to be one when islands meet.
        """
        ids = placement.ids
        new = ids[ids >= 0]
        joined = np.array(placement.joined, np.int64).reshape(-1, 2)
        touched = np.unique(np.concatenate([new, joined.ravel()])) % CELLS_KEPT
        # Numbers given for the first time may fall on the memory of cells long past.
        fresh = new[new >= placement.numbered_before] % CELLS_KEPT
        self._sum[fresh], self._looks[fresh], self._state[fresh] = 0, 0, UNKNOWN
        before = self._counted(touched)
        for kept, dropped in joined % CELLS_KEPT:
            self._sum[kept] += self._sum[dropped]
            self._looks[kept] += self._looks[dropped]
            self._looks[dropped], self._state[dropped] = 0, UNKNOWN
        seen = looked & (ids >= 0)
        at = ids[seen] % CELLS_KEPT
        self._sum[at] += prob[seen[looked]]
        self._looks[at] += 1
        gone = joined[:, 1] % CELLS_KEPT
        alive = touched[~np.isin(touched, gone)]
        named = alive[self._looks[alive] > 0]
        self._state[alive] = BORDER
        self._state[named] = self._name(self._mean(named))
        after = self._counted(touched)
        islands, self._islands = placement.islands - self._islands, placement.islands
        change = {name: int(number) for name, number in zip(_NAMES, after - before, strict=True)}
        otherwise = np.unique(np.concatenate([ids[seen], joined[:, 0]]))
        otherwise = otherwise[~np.isin(otherwise, joined[:, 1])]
        otherwise = otherwise[self._looks[otherwise % CELLS_KEPT] > 0]
        return Change(change, placement.found - len(joined), islands, otherwise, *self.means(otherwise))

    def means(self, ids: Numbers) -> tuple[Floats, Labels]:
        """Return probabilities float32 (N, 6) and labels int8 (N,) of cells that were looked at."""
        at = ids % CELLS_KEPT
        return self._mean(at), self._state[at]

    def _mean(self, at: NDArray[np.int64]) -> Floats:
        return np.asarray(self._sum[at] / self._looks[at, None], np.float32)

    def _counted(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        states = self._state[at]
        return np.bincount(states[states != UNKNOWN].astype(int) - BORDER, minlength=len(_NAMES)).astype(np.int64)
