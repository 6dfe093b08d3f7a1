"""What was read of one sample: its counts, its scale, and the verdict that follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np

from edge.screening.tally import Tally
from edge.screening.verdict import VerdictRules, assess
from edge.types import Counts, FieldReading, Masked, Scale, Verdict

ESTIMATED = frozenset({"estimated", "locked"})
"""Sources of a scale that is known from the red cells alone, which the verdict says."""


DIRT_MAX = 0.03
"""Share of the frame; where dirt hides more, the result is withheld."""


FAMILIAR_MIN = 8
"""A picture with fewer cells is not judged familiar or not by itself, but with others of the sample."""

NOVELTY_MIN, NOVELTY_KEPT = 32, 1024
"""Cells of such pictures from which they are judged together, and how many of the newest are."""


class Accumulator:
    """Counts the readings of one sample and gives the verdict, for a service and for a scan."""

    def __init__(
        self,
        rules: VerdictRules,
        counts: Counts | None = None,
        scale: Scale | None = None,
        flags: Collection[str] = (),
        masked: Masked | None = None,
    ) -> None:
        """Begin with nothing read, or go on from what was read earlier.

        Args:
            rules: what the verdict is made by.
            counts: what was counted of the sample earlier.
            scale: the last scale at which it was read earlier.
            flags: names of `verdict.FLAGS` that the sample carries whatever is read of it.
            masked: what dirt hid of its frames earlier.
        """
        self.masked = masked
        self._novelty: deque[float] = deque(maxlen=NOVELTY_KEPT)
        self.scale = scale
        self.flags = set(flags)
        self._rules = rules
        self._tally = Tally(counts)
        self._scale_estimated = scale is not None and scale.source in ESTIMATED

    def add(self, reading: FieldReading) -> None:
        """Count a reading."""
        self._tally.add(reading)
        self.flags.update(reading.flags)
        if len(reading.novelty) < FAMILIAR_MIN:
            self._novelty.extend(reading.novelty[np.isfinite(reading.novelty)].tolist())
        if reading.masked is not None:
            self.masked = reading.masked.with_earlier(self.masked)
            self.flags |= {"dirt_broad"} if self.masked.share > DIRT_MAX else set()
        if reading.rejected is None and reading.scale is not None:
            self.scale = reading.scale
            self._scale_estimated |= reading.scale.source in ESTIMATED

    def _unfamiliar(self) -> bool:
        """Whether the cells of pictures that show few each, such as crops, are unlike the training together."""
        limit = self._rules.novelty_max
        return limit is not None and len(self._novelty) >= NOVELTY_MIN and float(np.median(self._novelty)) > limit

    def counts(self) -> Counts:
        """Return the counts so far.

        Raises:
            TallyError: They do not add up.
        """
        return self._tally.counts()

    def verdict(self) -> Verdict:
        """Return what the counts so far allow to be said.

        Raises:
            TallyError: The counts do not add up.
        """
        flags = self.flags | {"scale_estimated"} if self._scale_estimated else self.flags
        if self._unfamiliar():
            flags = flags | {"unfamiliar"}
        return assess(self.counts(), self._rules, flags)
