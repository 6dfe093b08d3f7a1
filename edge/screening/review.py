"""Counts of a sample with the classes that a person gave in place of the classifier's, and the verdict then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge.screening.verdict import FLAGS, NOT_A_DIAGNOSIS, counts_alone, wilson
from edge.types import CLASSES, RED_CELLS, Counts, Exclusion, Verdict


@dataclass(frozen=True, slots=True)
class ReviewedCounts:
    """Counts after review.

    Attributes:
        cells: cells that a person looked at.
        missed: cells that the detector missed, and a person marked.
        counts: cells by class, and `abstained`: those that neither the classifier nor a person named.
        red_cells: normal + sickle + other.
        fraction: sickle / red_cells, 0 to 1; None below the minimum, or when the verdict is withheld.
        low: lower end of the Wilson 95 % interval.
        high: upper end of the Wilson 95 % interval.
    """

    cells: int
    missed: int
    counts: dict[str, int]
    red_cells: int
    fraction: float | None
    low: float | None
    high: float | None


def reviewed_counts(
    counts: Counts,
    verdict: Verdict,
    reviews: Counter[tuple[str, str]],
    marked: Mapping[str, int],
    min_red_cells: int,
) -> ReviewedCounts | None:
    """Return the counts after review, or None when nobody has said anything of a cell.

    Args:
        counts: the automatic counts.
        verdict: the verdict on them.
        reviews: number of reviewed cells by (automatic class or `abstained`, reviewed class).
        marked: number of marked cells by class.
        min_red_cells: red cells below which there is no fraction.
    """
    missed = sum(marked.values())
    if not reviews and not missed:
        return None
    abstained = Exclusion.ABSTAINED.value
    changed = {**{name: counts.by_class[name] for name in CLASSES}, abstained: counts.excluded[abstained]}
    for (automatic, person), number in reviews.items():
        changed[automatic] -= number
        changed[person] += number
    for name, number in marked.items():
        changed[name] += number
    red, sickle = sum(changed[name] for name in RED_CELLS), changed["sickle"]
    quoted = verdict.status == "reported" and red >= min_red_cells
    low, high = wilson(sickle, red) if quoted else (None, None)
    return ReviewedCounts(
        cells=reviews.total(),
        missed=missed,
        counts=changed,
        red_cells=red,
        fraction=sickle / red if quoted else None,
        low=low,
        high=high,
    )


def concluded(verdict: Verdict, reviewed: ReviewedCounts | None, signed: bool, min_red_cells: int) -> Verdict:
    """Return the verdict of a sample that was reviewed or signed.

    The limit of blank is that of the automatic count, so a person's count is not compared with it. Below the minimum
    there is no fraction at all.

    Args:
        verdict: on the automatic counts.
        reviewed: the counts after review, where there was one.
        signed: whether a person signed the sample.
        min_red_cells: red cells below which the verdict is `insufficient`.
    """
    if reviewed is None and not signed:
        return verdict
    if verdict.status == "withheld":
        return verdict
    fewest = min(verdict.red_cells, reviewed.red_cells if reviewed else verdict.red_cells)
    above = None if reviewed else verdict.above_blank
    if fewest >= min_red_cells:
        return replace(verdict, above_blank=above, text=verdict.text + _words(reviewed))
    flags = tuple(name for name in FLAGS if name in {*verdict.flags, "insufficient"} - {"below_target"})
    text = (
        f"Insufficient: {fewest} red cells counted, at least {min_red_cells} needed. Sickle-like cells "
        f"{verdict.sickle} of {verdict.red_cells}. {NOT_A_DIAGNOSIS}{_words(reviewed)}"
    )
    return replace(counts_alone(verdict, text), status="insufficient", flags=flags)


def _words(reviewed: ReviewedCounts | None) -> str:
    """Return what is added to the words of the verdict."""
    if reviewed is None:
        return ""
    marked = "" if not reviewed.missed else f", with {reviewed.missed} that the detector missed"
    cells = "cell" if reviewed.cells == 1 else "cells"
    said = f" After review of {reviewed.cells} {cells}{marked}: {reviewed.counts['sickle']} of {reviewed.red_cells}"
    if reviewed.low is None or reviewed.high is None:
        return f"{said}."
    return f"{said} (95 % interval {100 * reviewed.low:.2f}–{100 * reviewed.high:.2f} %)."
