"""Whether what is known of a sample agrees with itself: counts with their sums, fraction and words with the counts."""

from __future__ import annotations

from math import isclose

from edge.screening.sample_record import SampleRecord
from edge.screening.verdict import wilson


def contradiction(record: SampleRecord) -> str:
    """Return what in a record contradicts its counts, in words; empty when nothing does."""
    counts, verdict = record.counts, record.verdict
    seen, red, sickle = sum(counts.by_class.values()), counts.red_cells, counts.by_class["sickle"]
    if counts.cells_seen != seen + sum(counts.excluded.values()):
        return f"its counts do not add up to {counts.cells_seen} cells"
    if (verdict.red_cells, verdict.sickle) != (red, sickle):
        return f"its verdict is of {verdict.sickle} of {verdict.red_cells} cells, its counts are {sickle} of {red}"
    if verdict.status == "withheld":
        return ""
    expected = (sickle / red, *wilson(sickle, red)) if red else (None, None, None)
    for found, right in zip((verdict.fraction, verdict.low, verdict.high), expected, strict=True):
        agrees = found == right if found is None or right is None else isclose(found, right, abs_tol=1e-3)
        if not agrees:
            return f"its fraction {found} does not follow from {sickle} of {red} cells"
    if f"{sickle} of {red}" not in verdict.text:
        return f"its words do not say {sickle} of {red} cells"
    return ""
