"""Control slides: how far a reading lies from what is expected, and Westgard's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RULES = {
    "1_2s": "one reading beyond 2 s: a warning",
    "1_3s": "one reading beyond 3 s",
    "2_2s": "two readings running beyond 2 s on the same side",
    "R_4s": "two readings running beyond 2 s on opposite sides",
    "4_1s": "four readings running beyond 1 s on the same side",
    "10_x": "ten readings running on the same side of what is expected",
}
"""Westgard's rules by name: J. O. Westgard, P. L. Barry, M. R. Hunt, T. Groth, Clin. Chem. 27 (1981) 493–501.

One slide is read once a run, so R_4s is of the reading and the one before it.
"""

WARNING = "1_2s"
"""The one rule that only warns; a reading that breaks any other has failed."""

HISTORY = 10
"""Readings that the longest rule looks at."""

_TAIL_MIN = 1e-15
"""Smaller probabilities are taken as this, which is 7.9 s."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a control slide is to show.

    Attributes:
        fraction: of its red cells, those called sickle, 0–1.
        between_run_sd: standard deviation of that fraction from reading to reading beside what chance does to a count:
            other fields, focus, lamp.

    Raises:
        ValueError: No slide could show it.
    """

    fraction: float
    between_run_sd: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction < 1.0:
            raise ValueError(
                f"a sickle-like fraction of {self.fraction:g}; expected more than 0 and less than 1, so 0.05 for 5 %; "
                "of a slide without sickle cells, what the device usually finds on it, such as 0.002"
            )
        # Half of what a fraction that is always 0 or 1 has; a slide that spreads so from day to day controls nothing.
        most = 0.5 * (self.fraction * (1 - self.fraction)) ** 0.5
        if not 0.0 <= self.between_run_sd <= most * (1 + 1e-9):
            raise ValueError(
                f"a standard deviation of {self.between_run_sd:g}; expected 0 to {most:.3g} with a mean fraction of "
                f"{self.fraction:g}"
            )


def score(sickle: int, red_cells: int, expected: Expected) -> float:
    """Return how many standard deviations s a count lies from what is expected.

    The count is beta-binomial: binomial, with a fraction that has `between_run_sd` from reading to reading. From the
    probability of a count as far out or farther comes the s of a normal distribution with the same. So a limit of 3 s
    means the same one in 741 on each side, or less, whether 0.5 sickle cells are expected or 200; where a handful of
    cells is expected, (found − expected) ÷ sd would give ten times as many false alarms. A count at the median is 0.

    Raises ValueError unless 0 ≤ sickle ≤ red_cells and red_cells > 0.
    """
    if not 0 <= sickle <= red_cells or red_cells == 0:
        raise ValueError(f"{sickle} of {red_cells} is no count; expected 0 <= sickle <= red_cells, red_cells > 0")
    probability = _distribution(red_cells, expected)
    below, above = float(probability[: sickle + 1].sum()), float(probability[sickle:].sum())
    if above < 0.5:
        return -NormalDist().inv_cdf(max(above, _TAIL_MIN))
    if below < 0.5:
        return NormalDist().inv_cdf(max(below, _TAIL_MIN))
    return 0.0


def _distribution(red_cells: int, expected: Expected) -> NDArray[np.float64]:
    """Return the probability of each count from 0 to red_cells, (red_cells + 1,)."""
    p, k = expected.fraction, np.arange(red_cells)
    # Of the beta distribution with this mean and standard deviation, 1 ÷ (1 + α + β): 0 leaves the binomial.
    rho = expected.between_run_sd**2 / (p * (1 - p))
    # Each count's probability over the one before it, which needs no gamma function.
    more = p * (1 - rho) + k * rho
    fewer = (1 - p) * (1 - rho) + (red_cells - k - 1) * rho
    steps = np.log((red_cells - k) / (k + 1.0)) + np.log(more / fewer)
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    probability = np.exp(logs - logs.max())
    return np.asarray(probability / probability.sum())


def violated_rules(scores: Sequence[float]) -> tuple[str, ...]:
    """Return the RULES that the last of the scores violates, with those before it; oldest first."""
    if not scores:
        return ()
    side = 1.0 if scores[-1] > 0 else -1.0
    up = [side * score for score in scores[-HISTORY:]]

    def running(number: int, limit: float) -> bool:
        return len(up) >= number and all(score > limit for score in up[-number:])

    found = {
        "1_2s": up[-1] > 2,
        "1_3s": up[-1] > 3,
        "2_2s": running(2, 2),
        "R_4s": len(up) >= 2 and up[-1] > 2 and up[-2] < -2,
        "4_1s": running(4, 1),
        "10_x": running(10, 0),
    }
    return tuple(rule for rule in RULES if found[rule])


def observed(counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return mean fraction and between-run SD of readings, by the method of moments.

    counts: (sickle, red cells) of each reading, two readings at least.
    The variance of the fractions, less what counting alone gives them; 0 where they vary no more than that.
    """
    fractions = np.array([sickle / red for sickle, red in counts])
    mean = float(fractions.mean())
    chance = float(np.mean([mean * (1 - mean) / red for _, red in counts]))
    return mean, max(0.0, float(fractions.var(ddof=1)) - chance) ** 0.5


def failed(rules: Sequence[str]) -> bool:
    """Whether a reading that breaks these rules has failed; the warning alone does not."""
    return any(rule != WARNING for rule in rules)
