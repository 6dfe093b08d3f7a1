"""Two methods on the same slides: how far they lie apart (Bland-Altman), and whether they agree at a cut-off (kappa).

J. M. Bland and D. G. Altman: Measuring agreement in method comparison studies. Stat. Methods Med. Res. 8 (1999)
135-160.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from edge.screening.agreement import SICKLE, Agreement, Interval, agreement

SLIDES_ADVISED = 40
"""Patient samples at least that CLSI EP09c asks for in a comparison of methods."""

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class CountedSlide:
    """A slide counted by hand and by the device: sickle-like cells of red cells."""

    manual_sickle: int
    manual_red_cells: int
    device_sickle: int
    device_red_cells: int

    @property
    def manual(self) -> float:
        """Fraction by hand."""
        return self.manual_sickle / self.manual_red_cells

    @property
    def device(self) -> float:
        """Fraction by the device."""
        return self.device_sickle / self.device_red_cells

    @property
    def difference(self) -> float:
        """Device less manual."""
        return self.device - self.manual

    @property
    def chance_variance(self) -> float:
        """Variance of the difference by chance in counting alone, were both methods right."""
        red_cells = self.manual_red_cells + self.device_red_cells
        share = (self.manual_sickle + self.device_sickle) / red_cells
        return share * (1 - share) * (1 / self.manual_red_cells + 1 / self.device_red_cells)


@dataclass(frozen=True, slots=True)
class Differences:
    """Device less manual, as fractions; intervals of 95 %, of mean and limits by Student's t.

    Attributes:
        mean: mean difference.
        mean_interval: its interval.
        sd: standard deviation of the differences, with n - 1.
        chance_sd: what of it chance in counting would give by itself.
        low: lower limit of agreement, mean - 1.96 sd.
        low_interval: its interval.
        high: upper limit of agreement, mean + 1.96 sd.
        high_interval: its interval.
    """

    mean: float
    mean_interval: Interval
    sd: float
    chance_sd: float
    low: float
    low_interval: Interval
    high: float
    high_interval: Interval


def differences(slides: Sequence[CountedSlide]) -> Differences | None:
    """Return how far the two methods lie apart; None for fewer than three slides."""
    n = len(slides)
    if n < 3:
        return None
    values = [slide.difference for slide in slides]
    mean, sd = fmean(values), stdev(values)
    t = student_t(n - 1)
    mean_half = t * sd / math.sqrt(n)
    # Bland and Altman 1999, section 2.1: the variance of a limit is (1/n + z²/(2 (n - 1))) s².
    limit_half = t * sd * math.sqrt(1 / n + _Z**2 / (2 * (n - 1)))
    low, high = mean - _Z * sd, mean + _Z * sd
    return Differences(
        mean, (mean - mean_half, mean + mean_half), sd, math.sqrt(fmean(slide.chance_variance for slide in slides)),
        low, (low - limit_half, low + limit_half), high, (high - limit_half, high + limit_half),
    )  # fmt: skip


def at_cut_off(slides: Sequence[CountedSlide], cut_off: float) -> Agreement | None:
    """Return how far the methods agree on which slides reach a fraction.

    The first reader is the device.
    """
    return agreement(
        (SICKLE if slide.device >= cut_off else "", SICKLE if slide.manual >= cut_off else "") for slide in slides
    )


def student_t(degrees: int, share: float = 0.95) -> float:
    """Return the value between which and its negative a share of Student's t distribution lies.

    The closed forms for whole degrees of freedom: M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions
    (1964), 26.7.3 and 26.7.4. SciPy would weigh more than all that a device installs besides.
    """
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        if _within(middle, degrees) < share:
            low = middle
        else:
            high = middle
    return high


def _within(t: float, degrees: int) -> float:
    """Return the probability of lying between -t and t."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for step in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
