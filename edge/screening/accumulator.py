"""What was read of one sample: its counts, its scale, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Collection

from edge.screening.tally import Tally
from edge.screening.verdict import VerdictRules, assess
from edge.types import Counts, FieldReading, Masked, Scale, Verdict

ESTIMATED = frozenset({"estimated", "locked"})
"""Sources of a scale that is known from the red cells alone, which the verdict says."""


DIRT_MAX = 0.03
"""Share of the frame; where dirt hides more, the result is withheld."""


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
        self.scale = scale
        self.flags = set(flags)
        self._rules = rules
        self._tally = Tally(counts)
        self._scale_estimated = scale is not None and scale.source in ESTIMATED

    def add(self, reading: FieldReading) -> None:
        """Count a reading."""
        self._tally.add(reading)
        self.flags.update(reading.flags)
        if reading.masked is not None:
            self.masked = reading.masked.with_earlier(self.masked)
            self.flags |= {"dirt_broad"} if self.masked.share > DIRT_MAX else set()
        if reading.rejected is None and reading.scale is not None:
            self.scale = reading.scale
            self._scale_estimated |= reading.scale.source in ESTIMATED

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
        return assess(self.counts(), self._rules, flags)
