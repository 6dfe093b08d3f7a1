"""Counts of a sample with the classes that a person gave in place of the classifier's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edge.screening.verdict import wilson
from edge.types import CLASSES, RED_CELLS, Counts, Exclusion, Verdict


@dataclass(frozen=True, slots=True)
class ReviewedCounts:
    """Counts after review.

    Attributes:
        cells: cells that a person looked at.
        counts: cells by class, and `abstained`: those that neither the classifier nor a person named.
        red_cells: normal + sickle + other.
        fraction: sickle / red_cells, 0 to 1; None without red cells, or when the verdict is withheld.
        low: lower end of the Wilson 95 % interval.
        high: upper end of the Wilson 95 % interval.
        text: the words of the verdict, with what the review changed.
    """

    cells: int
    counts: dict[str, int]
    red_cells: int
    fraction: float | None
    low: float | None
    high: float | None
    text: str


def reviewed_counts(counts: Counts, verdict: Verdict, reviews: Counter[tuple[str, str]]) -> ReviewedCounts | None:
    """Return the counts after review, or None when nobody has looked at a cell.

    Args:
        counts: the automatic counts.
        verdict: the verdict on them.
        reviews: number of reviewed cells by (automatic class or `abstained`, reviewed class).
    """
    if not reviews:
        return None
    abstained = Exclusion.ABSTAINED.value
    changed = {**{name: counts.by_class[name] for name in CLASSES}, abstained: counts.excluded[abstained]}
    for (automatic, person), number in reviews.items():
        changed[automatic] -= number
        changed[person] += number
    red, sickle = sum(changed[name] for name in RED_CELLS), changed["sickle"]
    quoted = verdict.status != "withheld" and red > 0
    low, high = wilson(sickle, red) if quoted else (None, None)
    words = f" After review of {reviews.total()} cells: {sickle} of {red}."
    if low is not None and high is not None:
        words = f"{words[:-1]} (95 % interval {100 * low:.2f}–{100 * high:.2f} %)."
    return ReviewedCounts(
        cells=reviews.total(),
        counts=changed,
        red_cells=red,
        fraction=sickle / red if quoted else None,
        low=low,
        high=high,
        text=verdict.text if verdict.status == "withheld" else verdict.text + words,
    )
