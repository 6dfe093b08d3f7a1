"""The limit of blank of a site: what its own slides without sickle cells are read as.

From MIN_SLIDES on it is the non-parametric 95th percentile of CLSI EP17-A2 (Evaluation of Detection Capability for
Clinical Laboratory Measurement Procedures, 2nd ed., 2012, rank 0.5 + 0.95 B), the highest of the stain batches. With
fewer, it is the 95 % predictive bound for one more slide under a beta-binomial: mean and spread between slides are
unknown, and have a prior from other microscopes' sets. EP17 asks for 60 blanks at least: with fewer nothing here is it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SHARE = 0.95
"""Share of blank slides at or below the limit."""

MIN_SLIDES, MIN_PEOPLE, MIN_DAYS, MIN_BATCHES, MIN_RED_CELLS = 20, 10, 3, 2, 1000
"""What makes a limit more than provisional: slides, people, days, stain batches, and red cells on each slide."""

EP17_SLIDES = 60
"""Blank measurements from which EP17-A2 lets a laboratory establish a limit."""

PRIOR_MEAN, PRIOR_SPREAD = 0.004, 1.0
"""Median of a site's mean false-call fraction, and its standard deviation as a natural logarithm: sets of other
microscopes gave 0.2 to 1.6 %.
"""

MEANS = np.geomspace(1e-4, 0.08, 41)
VARIATIONS = np.array([0.3, 0.6, 1.0, 1.5])
"""Means, and coefficients of variation between slides, each as likely before anything is read, that are weighed."""


@dataclass(frozen=True, slots=True)
class BlankSlide:
    """A slide that is known to be free of sickle cells, as it was read.

    person, stain, day: codes of whom it is of and of the batch that stained it, and the local date of reading. anaemic:
    whether that person is.
    """

    sickle: int
    red_cells: int
    person: str
    stain: str
    day: str
    anaemic: bool


@dataclass(frozen=True, slots=True)
class SiteBlank:
    """The slides that a site's limit rests on."""

    slides: tuple[BlankSlide, ...]

    def missing(self) -> list[str]:
        """Return in words what the limit lacks to be more than provisional."""
        asked = (
            (len(self.slides), MIN_SLIDES, "slides"),
            (len({slide.person for slide in self.slides}), MIN_PEOPLE, "people"),
            (len({slide.day for slide in self.slides}), MIN_DAYS, "days"),
            (len({slide.stain for slide in self.slides}), MIN_BATCHES, "stain batches"),
        )
        found = [f"{number} of {least} {what}" for number, least, what in asked if number < least]
        return found if any(slide.anaemic for slide in self.slides) else [*found, "someone who is anaemic"]

    @property
    def provisional(self) -> bool:
        """Whether the limit rests on too little."""
        return bool(self.missing())

    def limit(self, red_cells: int) -> float:
        """Return the limit of blank, a fraction, for a sample of so many red cells."""
        if not self.provisional:
            return max(_percentile(batch) for batch in self._batches())
        counts = tuple((slide.sickle, slide.red_cells) for slide in self.slides)
        # A little fewer cells have a little higher limit: so it is reckoned once for about as many.
        return predictive_bound(counts, max(1, red_cells - red_cells % 50 or red_cells))

    def _batches(self) -> list[list[float]]:
        batches = defaultdict(list)
        for slide in self.slides:
            batches[slide.stain].append(slide.sickle / slide.red_cells)
        return list(batches.values())


def _percentile(fractions: Sequence[float]) -> float:
    """Return the 95th percentile by the rank of EP17-A2; the highest where there are too few for it."""
    rank = min(len(fractions), max(1.0, 0.5 + SHARE * len(fractions))) - 1
    return float(np.interp(rank, np.arange(len(fractions)), sorted(fractions)))


@lru_cache(256)
def predictive_bound(counts: tuple[tuple[int, int], ...], red_cells: int) -> float:
    """Return the fraction that 95 % of further blank slides do not exceed.

    Args:
        counts: sickle calls and red cells of each blank slide.
        red_cells: of the slide to come.
    """
    means, variations = (grid.ravel() for grid in np.meshgrid(MEANS, VARIATIONS))
    alpha = 1 / variations**2
    beta = alpha * (1 - means) / means
    log_weight = -0.5 * (np.log(means / PRIOR_MEAN) / PRIOR_SPREAD) ** 2
    for sickle, red in counts:
        log_weight += _log_beta(alpha + sickle, beta + red - sickle) - _log_beta(alpha, beta)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    # The probability of each count over that of the one before it, until the bound is reached.
    chance = np.exp(_log_beta(alpha, beta + red_cells) - _log_beta(alpha, beta))
    reached, count = float(weight @ chance), 0
    while reached < SHARE and count < red_cells:
        chance *= (red_cells - count) / (count + 1) * (alpha + count) / (beta + red_cells - count - 1)
        count += 1
        reached += float(weight @ chance)
    return count / red_cells


def _log_beta(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    lgamma = math.lgamma
    return np.array([lgamma(x) + lgamma(y) - lgamma(x + y) for x, y in zip(a.tolist(), b.tolist(), strict=True)])
