"""What may be said about the counts, in words: statistics of sampling, never a diagnosis."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist

from edge.screening.site_blank import SiteBlank
from edge.types import Counts, Exclusion, Reason, Verdict

RESEARCH_USE = "For Research Use Only. Not for use in diagnostic procedures."
"""Wording of 21 CFR 809.10(c); on everything that a person reads or prints."""

NOT_A_DIAGNOSIS = "Not a diagnosis: does not exclude sickle-cell disease or trait; confirm by HPLC or electrophoresis."

MANY_ABSTAINED = 0.1
"""Share of red and unnamed cells that the classifier would not name, above which the verdict says so."""

FLAGS = {
    "insufficient": "Too few red cells were counted for a result.",
    "unfamiliar": "Most fields look unlike anything the model was trained on (stain, specimen or magnification) and "
    "were not read.",
    "control": "This is a reading of a control slide, not of a sample.",
    "control_failed": "The last reading of a control slide broke a control rule: the device may not be in order.",
    "control_overdue": "A control slide was not read in time: whether the device is in order is not known.",
    "interrupted": "Scanning was broken off and went on: cells seen before and after may have been counted twice.",
    "below_target": "Enough red cells for a result, but fewer than is the aim.",
    "blank_site": "The limit of blank is this site's own, from slides without sickle cells that were read here.",
    "blank_provisional": "The limit of blank is this site's own and provisional: too few slides without sickle cells, "
    "or not of the people, days and stain batches that are needed, were read here.",
    "blank_stale": "The site's own limit of blank was measured with other models or optics and is not used: read its "
    "slides again.",
    "no_limit_of_blank": "The model states no limit of blank: what it finds on smears without sickle cells is unknown.",
    "wbc_may_include_nucleated_red_cells": "The white cells counted may include nucleated red cells.",
    "many_abstained": "The classifier would not name many cells: see the fraction if none, or all, were sickle-like.",
    "scale_estimated": "The size of a pixel was estimated from the red cells themselves, taken as 7.5 µm wide: "
    "unusually small or large cells are measured wrongly.",
    "scale_changed": "Pictures of the sample have different sizes: the size of a pixel was found anew, from the red "
    "cells, for each size.",
    "scale_contradicted": "Fields of the sample show cells of different sizes at the size of a pixel that the first of "
    "them gave: it was found anew, and what was counted before may have been measured wrongly.",
    "pixels_not_square": "Nearly all cells of a field are wider than high, or higher than wide: its pixels are not "
    "square, or the smear drew the cells out. They look more elongated than they were.",
    "surroundings": "Something was drawn round a field, or the field was shown twice: what is not field was left out.",
    "drawn_over": "Letters, lines or a watermark are drawn over a field: strokes may be counted, or hide cells.",
    "dirt": "Dirt or a pointer stays at one place of the picture while the slide moves: nothing was counted there. "
    "Clean the eyepiece or camera.",
    "dirt_broad": "Dirt or a pointer hides more than 3 % of the picture: clean the eyepiece or camera and read the "
    "slide again.",
    "file_planes": "A file holds several pictures of one place (focus planes, a preview, a stereo pair): one was read.",
    "file_scale_disagrees": "A file states another size of a pixel than its red cells show: the cells' was used.",
    "file_end_missing": "A picture file lacks its end marker; all its rows were there.",
    "copies": "A picture shows what another one does (a copy, or a second shot without any movement): its cells were "
    "counted once.",
    "calibration_expired": "The optics calibration is older than is allowed, or dated in the future: light and scale "
    "may have changed since.",
    "calibration_foreign": "The optics calibration is of another camera, objective or frame size, and was not applied.",
}
"""Every flag of a verdict and what it means, in the order in which they are given."""


WITHHOLDING = frozenset({"unfamiliar", "dirt_broad"})
"""Flags for which the counts are never to be used."""


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, without continuity correction.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209–212; method 3 of R. G. Newcombe, Stat. Med. 17 (1998) 857–872.
    It is exact at the edges: the lower bound of 0 successes is 0 and the upper bound of all is 1.
    Raises ValueError unless 0 ≤ successes ≤ trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} of {trials} is no proportion; expected 0 <= successes <= trials, trials > 0")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    p = successes / trials
    middle = p + z * z / (2 * trials)
    half = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At the edges middle and half are equal up to rounding: the bound is exact and must not come out as 1e-19.
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == trials else (middle + half) / scale
    return low, high


@dataclass(frozen=True, slots=True)
class VerdictRules:
    """What a verdict is made by.

    Attributes:
        min_red_cells: red cells below which the verdict is `insufficient`.
        target_red_cells: red cells that are the aim.
        limit_of_blank: fraction of red cells that the model calls sickle on smears without any, from its contract.
        withhold: flags for which the counts are not to be used, beside WITHHOLDING.
        novelty_max: median novelty of cells above which a field, or cells of several, are unlike the training.
        site_blank: the site's own blank slides, where there are any of these models and optics.
    """

    min_red_cells: int
    target_red_cells: int
    limit_of_blank: float | None
    withhold: frozenset[str] = frozenset()
    site_blank: SiteBlank | None = None
    novelty_max: float | None = None

    def limit_at(self, red_cells: int) -> float | None:
        """Return the limit of blank for a sample of so many red cells.

        A site's own is never below the model's.
        """
        if self.site_blank is None:
            return self.limit_of_blank
        return max(self.limit_of_blank or 0.0, self.site_blank.limit(red_cells))


def assess(counts: Counts, rules: VerdictRules, flags: Collection[str] = ()) -> Verdict:
    """Return what the counts allow to be said.

    Args:
        counts: what was counted in a sample.
        rules: the limits of the verdict.
        flags: those of FLAGS that do not follow from the counts, such as those of the readings.
    """
    strange = sum(counts.rejected.get(reason.value, 0) for reason in (Reason.UNFAMILIAR, Reason.MAGNIFICATION))
    red, sickle = counts.red_cells, counts.by_class["sickle"]
    abstained = counts.excluded[Exclusion.ABSTAINED.value]
    insufficient = red < rules.min_red_cells
    low, high = wilson(sickle, red) if red else (None, None)
    blank, site = rules.limit_at(red), rules.site_blank
    above_blank = None if insufficient or blank is None or low is None else low > blank
    raised = {
        "insufficient": insufficient,
        "unfamiliar": strange > counts.fields_read,
        "below_target": rules.min_red_cells <= red < rules.target_red_cells,
        "blank_site": site is not None and not site.provisional,
        "blank_provisional": site is not None and site.provisional,
        "no_limit_of_blank": blank is None,
        "wbc_may_include_nucleated_red_cells": counts.by_class["wbc"] > 0,
        "many_abstained": abstained > MANY_ABSTAINED * (red + abstained),
    } | dict.fromkeys(flags, True)
    verdict = Verdict(
        status="insufficient" if insufficient else "reported",
        red_cells=red,
        sickle=sickle,
        fraction=sickle / red if red else None,
        low=low,
        high=high,
        fraction_if_none=sickle / (red + abstained) if red + abstained else None,
        fraction_if_all=(sickle + abstained) / (red + abstained) if red + abstained else None,
        limit_of_blank=blank,
        above_blank=above_blank,
        flags=tuple(name for name in FLAGS if raised.get(name)),
        text=_text(sickle, red, low, high, rules.min_red_cells),
    )
    causes = [flag for flag in verdict.flags if flag in {*WITHHOLDING, *rules.withhold}]
    return _withheld(verdict, causes) if causes else verdict


def _withheld(verdict: Verdict, causes: Collection[str]) -> Verdict:
    """Return the verdict without its figures: what may not be relied on must not be quoted."""
    why = " ".join(FLAGS[cause] for cause in causes)
    text = f"Withheld: these counts are not to be used. {why} {NOT_A_DIAGNOSIS}"
    return replace(counts_alone(verdict, text), status="withheld")


def counts_alone(verdict: Verdict, text: str) -> Verdict:
    """Return the verdict with its counts and these words: nothing in it tells a fraction."""
    return replace(
        verdict,
        fraction=None,
        low=None,
        high=None,
        fraction_if_none=None,
        fraction_if_all=None,
        above_blank=None,
        text=text,
    )


def without_fraction(verdict: Verdict) -> Verdict:
    """Return a verdict for a sample that is being scanned.

    Nobody shall stop at a fraction that they like.
    """
    return counts_alone(
        verdict, f"{verdict.red_cells} red cells so far; the fraction is shown when scanning has ended."
    )


def _text(sickle: int, red: int, low: float | None, high: float | None, min_red_cells: int) -> str:
    """Word the verdict: every result names its count, an insufficient one says so first."""
    said = f"Sickle-like cells {sickle} of {red}"
    if low is not None and high is not None:
        said += f" (95 % interval {100 * low:.2f}–{100 * high:.2f} %)"
    if red < min_red_cells:
        said = (
            f"Insufficient: {red} red cells counted, at least {min_red_cells} needed; "
            f"count {min_red_cells - red} more. {said}"
        )
    return f"{said}. {NOT_A_DIAGNOSIS}"
