"""The cells of one sample, each once: mean class probabilities and the class that follows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.screening.calls import CallRule
from edge.types import CELLS_KEPT, CLASSES, Change, Exclusion, Floats, Labels, Mask, Numbers, Placement

MAX_OBSERVATIONS = 4
"""A cell that was classified so often is not classified again: a further observation says much the same, at the most
cost.
"""

FRAMES_MIN = 3
"""A cell that most frames do not find where they show its place is none; of fewer frames than this none is believed."""

BORDER, UNKNOWN = -2, -3
"""States beside those of `types.CLASSES` and ABSTAINED: seen only cut by the edge, and no cell (or no longer one)."""

_NAMES = (Exclusion.BORDER.value, Exclusion.ABSTAINED.value, *CLASSES)
"""By state, from BORDER on."""


NO_NUMBERS: Numbers = np.zeros(0, np.int64)


class CellRegistry:
    """Keeps of each cell its summed class probabilities, its state and its frames: 37 bytes."""

    def __init__(self, rule: CallRule) -> None:
        """Make room for a sample.

        Args:
            rule: calibrates the mean class probabilities of a cell, and names it by them.
        """
        self._rule = rule
        self._sum = np.empty((CELLS_KEPT, len(CLASSES)), np.float32)
        self._observations = np.empty(CELLS_KEPT, np.int32)
        self._state = np.empty(CELLS_KEPT, np.int8)
        # How many frames found it, and how many did not though they showed its place.
        self._found = np.empty(CELLS_KEPT, np.int32)
        self._missed = np.empty(CELLS_KEPT, np.int32)
        self.clear()  # which writes to all of it, so that no sample runs out of memory in its middle

    def clear(self) -> None:
        """Begin a sample."""
        self._forget(slice(None))
        self._islands = 0

    def known(self, placement: Placement) -> Mask:
        """Return bool (N,): the cells of a frame that need not be classified again."""
        observed: Mask = self._observations[placement.ids % CELLS_KEPT] >= MAX_OBSERVATIONS
        oldest = placement.numbered_before + placement.found - CELLS_KEPT
        return observed & (placement.ids >= max(0, oldest)) & (placement.ids < placement.numbered_before)

    def update(
        self, placement: Placement, whole: Mask, classified: Mask, prob: Floats, dirt: Numbers = NO_NUMBERS
    ) -> Change:
        """Take in a frame, and return what it changes in the counts.

        Counts may go down: a cell seen cut before is now whole, two cells prove to be one when islands meet, and what
        most frames do not find is none.

        Args:
            placement: where the frame lies, with the numbers of its N cells.
            whole: bool (N,), the cells that are not cut by the edge.
            classified: bool (N,), those of them that were classified in this frame.
            prob: float32 (M, 6), class probabilities of the M cells that were classified.
            dirt: (K,) numbers that prove to be no cells: they count no longer, whatever was seen of them.
        """
        # The memory of cells long past holds newer ones.
        oldest = placement.numbered_before + placement.found - CELLS_KEPT
        ids = np.where(placement.ids >= oldest, placement.ids, -1)
        joined = np.array(placement.joined, np.int64).reshape(-1, 2)
        joined = joined[(joined >= oldest).all(1)]
        absent = placement.absent[placement.absent >= oldest]
        dirt = dirt[dirt >= oldest]
        numbers = np.unique(np.concatenate([ids[ids >= 0], joined.ravel(), absent, dirt]))
        touched = numbers % CELLS_KEPT
        fresh = numbers >= placement.numbered_before
        self._forget(touched[fresh])
        before = self._state[touched]
        kept, dropped = (np.searchsorted(numbers, column) for column in joined.T)
        # A cell that has a class has a row in the database; of two that prove to be one, the one that goes on takes it.
        has_row = before > BORDER
        for one, other in zip(kept.tolist(), dropped.tolist(), strict=True):
            has_row[one] |= has_row[other]
            self._unite(touched[one], touched[other])
        seen = classified & (ids >= 0)
        at = ids[seen] % CELLS_KEPT
        self._sum[at] += prob[seen[classified]]
        self._observations[at] += 1
        self._found[ids[whole & (ids >= 0)] % CELLS_KEPT] += 1
        np.add.at(self._missed, absent % CELLS_KEPT, 1)
        alive = np.ones(len(numbers), np.bool_)
        alive[dropped] = False
        # One without a row is named when a frame shows it whole, and not before.
        nameless = ~has_row & ~np.isin(numbers, ids[whole])
        self._judge(touched[alive], nameless[alive])
        self._forget(dirt % CELLS_KEPT)
        after = self._state[touched]
        islands, self._islands = placement.islands - self._islands, placement.islands
        counted = _counted(after) - _counted(before)
        change = {name: int(number) for name, number in zip(_NAMES, counted, strict=True)}
        # Counted by itself, as a check: cells have numbers, and of these some count for nothing.
        idle = int((alive & (after == UNKNOWN)).sum() - (~fresh & (before == UNKNOWN)).sum())
        # Named now: what was classified, what took another's observations, and what is a cell again after all.
        renewed = np.isin(numbers, ids[seen]) | np.isin(numbers, joined[:, 0]) | (before == UNKNOWN)
        named = numbers[alive & renewed & (after > BORDER)]
        gone = numbers[alive & (after == UNKNOWN) & has_row]
        cells_seen = placement.found - len(joined) - idle
        return Change(change, cells_seen, islands, named, *self.calibrated_probabilities(named), gone)

    def _forget(self, at: NDArray[np.int64] | slice) -> None:
        for memory in (self._sum, self._observations, self._found, self._missed):
            memory[at] = 0
        self._state[at] = UNKNOWN

    def _unite(self, kept: int, dropped: int) -> None:
        """Add what is known of a cell to the one that it proved to be."""
        for memory in (self._sum, self._observations, self._found):
            memory[kept] += memory[dropped]
        self._missed[kept] = min(self._missed[kept], self._missed[dropped])
        self._forget(np.array([dropped]))

    def _judge(self, at: NDArray[np.int64], nameless: Mask) -> None:
        """Set the states of cells anew; nameless: those that keep theirs rather than get a class."""
        had = self._state[at]
        found, missed = self._found[at], self._missed[at]
        counts = (missed <= found) | (found + missed < FRAMES_MIN)
        state = np.full(len(at), BORDER, np.int8)
        named = self._observations[at] > 0
        state[named] = self.calibrated_probabilities(at[named])[1]
        state[~counts] = UNKNOWN
        self._state[at] = np.where(nameless & (state > BORDER), had, state)

    def calibrated_probabilities(self, ids: Numbers) -> tuple[Floats, Labels]:
        """Return the calibrated mean probabilities over all observations of cells, and their labels.

        Args:
            ids: int64 (N,), numbers of cells that were classified at least once.

        Returns:
            Probabilities float32 (N, 6) and labels int8 (N,).
        """
        at = ids % CELLS_KEPT
        return self._rule.classified(np.asarray(self._sum[at] / self._observations[at, None], np.float32))


def _counted(states: Labels) -> NDArray[np.int64]:
    """Return how many cells have each state."""
    return np.bincount(states[states != UNKNOWN].astype(int) - BORDER, minlength=len(_NAMES)).astype(np.int64)
