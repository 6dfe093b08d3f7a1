"""Counting: every cell that was seen is in one class or excluded for one reason."""

from __future__ import annotations

from math import sqrt

import numpy as np

from edge.errors import TallyError
from edge.types import CLASSES, Change, Counts, Exclusion, FieldReading, Floats, Reason


class Tally:
    """The counts of one sample, field by field.

    `cells_seen` is counted by itself, from what the detector found and registration knew again, and compared with the
    sum over classes and exclusions whenever the counts leave: a cell that fell between two stages is an error and not
    a smaller count.
    """

    def __init__(self, before: Counts | None = None) -> None:
        """before: what was counted of the sample earlier, to go on from."""
        self._by_class = dict.fromkeys(CLASSES, 0)
        self._excluded = {reason.value: 0 for reason in Exclusion}
        self._rejected = {reason.value: 0 for reason in Reason}
        self._cells_seen = 0
        self._fields_read = self._fields_repeated = self._islands = 0
        self._area_mm2 = 0.0
        if before is not None:
            self._by_class.update(before.by_class)
            self._excluded.update(before.excluded)
            self._rejected.update(before.rejected)
            self._cells_seen, self._islands = before.cells_seen, before.islands
            self._fields_read, self._fields_repeated = before.fields_read, before.fields_repeated
            self._area_mm2 = before.area_mm2

    def add(self, reading: FieldReading) -> None:
        """Count what a reading adds to the sample, or, when it was rejected, its reason alone."""
        if reading.rejected is not None:
            self._rejected[reading.rejected.reason.value] += 1
            return
        self._fields_read += 1
        if reading.copy_of is not None:
            self._fields_repeated += 1
            return
        change = reading.change or Change(reading.counts(), len(reading.boxes) + reading.border, 0)
        for name, count in change.counts.items():
            part = self._by_class if name in self._by_class else self._excluded
            part[name] += count
        self._cells_seen += change.cells_seen
        self._islands += change.islands
        self._fields_repeated += reading.placement is not None and reading.placement.found == 0
        self._area_mm2 += reading.area_mm2

    def counts(self) -> Counts:
        """Return the counts so far, the caller's to keep; raises TallyError when they do not add up."""
        counted, excluded = sum(self._by_class.values()), sum(self._excluded.values())
        if self._cells_seen != counted + excluded:
            raise TallyError(
                f"the counts do not add up: {self._cells_seen} cells seen; {counted} counted + {excluded} excluded. "
                "This is a fault of the program: discard this sample's result and report it"
            )
        return Counts(
            by_class=dict(self._by_class),
            excluded=dict(self._excluded),
            rejected=dict(self._rejected),
            cells_seen=self._cells_seen,
            fields_read=self._fields_read,
            fields_repeated=self._fields_repeated,
            islands=self._islands,
            area_mm2=self._area_mm2,
        )


def field_score(p_sickle: Floats, n_red: int) -> float:
    """Return a field's evidence of sickling, in 0–1 and comparable between fields.

    The score is s / (1 + s) with s = Σ p² / √n_red. The square lets a cell that is surely sickle outweigh many that
    are a little like one; the root stands between a count (which grows with the field) and a fraction (in which one
    sickle cell among 300 vanishes). It sees nothing of the picture: without sickle-like cells it is 0.

    Args:
        p_sickle: float32 (N,), the sickle probability of every cell in the field.
        n_red: number of its red cells.
    """
    evidence = float(np.sum(np.square(p_sickle, dtype=np.float64))) / sqrt(max(1, n_red))
    return evidence / (1.0 + evidence)
