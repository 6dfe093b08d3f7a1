"""How far two readers agree, and what cells drawn at random say of those that nobody looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, lgamma, log, log1p

from edge.screening.verdict import wilson

SICKLE = "sickle"

_CHI_SQUARE_95 = 3.841458820694124
"""95th percentile of χ² with one degree of freedom."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two readers on the same cells, each sickle-like or not.

    A share is None where there is nothing to divide by.

    Attributes:
        both: cells that both call sickle-like.
        first_only: that the first alone calls so.
        second_only: that the second alone calls so.
        neither: that neither calls so.
        kappa: Cohen's; None where one reader uses one word only.
        kappa_interval: 95 % interval of kappa, by the goodness-of-fit method.
        positive: positive agreement, 2 both / (2 both + first_only + second_only).
        positive_interval: its 95 % interval.
        negative: negative agreement, likewise of `neither`.
        negative_interval: its 95 % interval.
    """

    both: int
    first_only: int
    second_only: int
    neither: int
    kappa: float | None
    kappa_interval: Interval | None
    positive: float | None
    positive_interval: Interval | None
    negative: float | None
    negative_interval: Interval | None

    @property
    def cells(self) -> int:
        """Cells that both have answered."""
        return self.both + self.first_only + self.second_only + self.neither


def agreement(answers: Iterable[tuple[str, str]]) -> Agreement | None:
    """Return how far two readers agree, or None without a common cell.

    Args:
        answers: class that the first gave a cell, and class that the second gave it.
    """
    table = [0, 0, 0, 0]
    for one, other in answers:
        table[2 * (one != SICKLE) + (other != SICKLE)] += 1
    both, first_only, second_only, neither = table
    if not sum(table):
        return None
    differ = first_only + second_only
    kappa, interval = _kappa(*table), _kappa_interval(both, differ, neither)
    if kappa is not None and interval is not None:
        # It is that of a kappa whose readers are taken for alike; Cohen's lies above it where they are not.
        interval = min(interval[0], kappa), max(interval[1], kappa)
    return Agreement(
        both,
        first_only,
        second_only,
        neither,
        kappa=kappa,
        kappa_interval=interval,
        positive=2 * both / (2 * both + differ) if both + differ else None,
        positive_interval=_specific_interval(both, differ),
        negative=2 * neither / (2 * neither + differ) if neither + differ else None,
        negative_interval=_specific_interval(neither, differ),
    )


def _kappa(both: int, first_only: int, second_only: int, neither: int) -> float | None:
    """Return Cohen's kappa; J. Cohen, Educ. Psychol. Meas. 20 (1960) 37–46."""
    n = both + first_only + second_only + neither
    one, other = both + first_only, both + second_only
    chance = (one * other + (n - one) * (n - other)) / n**2
    return None if chance == 1 else ((both + neither) / n - chance) / (1 - chance)


def _specific_interval(agreed: int, differ: int) -> Interval | None:
    """Return the 95 % interval of 2a / (2a + d): Wilson's of a / (a + d), taken through 2p / (1 + p)."""
    if not agreed + differ:
        return None
    low, high = wilson(agreed, agreed + differ)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def _kappa_interval(both: int, differ: int, neither: int) -> Interval | None:
    """Return the 95 % interval of kappa: the values that fit the three counts by χ².

    A. Donner and M. Eliasziw, Stat. Med. 11 (1992) 1511–1519. Unlike the usual standard error it does not shrink to
    nothing where two readers agree on every cell.
    """
    n = both + differ + neither
    share = (2 * both + differ) / (2 * n)
    if share in (0.0, 1.0):
        return None
    spread = share * (1 - share)

    def misfit(kappa: float) -> float:
        expected = (share**2 + kappa * spread, 2 * spread * (1 - kappa), (1 - share) ** 2 + kappa * spread)
        counts = (both, differ, neither)
        if any(part <= 0 < count for part, count in zip(expected, counts, strict=True)):
            return float("inf")
        return sum(
            (count - n * part) ** 2 / (n * part) for part, count in zip(expected, counts, strict=True) if part > 0
        )

    best = 1 - differ / (2 * n * spread)
    lowest = max(-(share / (1 - share)), -((1 - share) / share))
    return _bound(misfit, best, lowest), _bound(misfit, best, 1.0)


def _bound(misfit: Callable[[float], float], best: float, end: float) -> float:
    """Return the value between the best and an end at which the misfit reaches its limit."""
    if misfit(end) <= _CHI_SQUARE_95:
        return end
    inside, outside = best, end
    for _ in range(60):
        middle = (inside + outside) / 2
        if misfit(middle) <= _CHI_SQUARE_95:
            inside = middle
        else:
            outside = middle
    return inside


@dataclass(frozen=True, slots=True)
class MissedBound:
    """What a person found among cells called normal that were drawn at random.

    Attributes:
        looked: how many were looked at.
        sickle: how many of them the person calls sickle-like.
        at_most: one-sided 95 % upper bound of the share of sickle-like ones among all cells called normal.
        samples: of how many samples they are.
    """

    looked: int
    sickle: int
    at_most: float | None
    samples: int = 1


def missed_bound(looked: int, sickle: int, samples: int = 1) -> MissedBound:
    """Return what random normal cells say of the others."""
    return MissedBound(looked, sickle, upper_bound(sickle, looked) if looked else None, samples)


def upper_bound(successes: int, trials: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a proportion.

    C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404–413. Of 0 in 100 it is 3.0 %.
    """
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(successes, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(successes: int, trials: int, p: float) -> float:
    """Return the probability of so many successes or fewer."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    return sum(
        exp(lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1) + k * log(p) + (trials - k) * log1p(-p))
        for k in range(successes + 1)
    )
