"""Limits of blank and detection, of groups of fields and of simulated samples: in silico, not EP17-compliant.

The terms are those of CLSI EP17-A2 (2012): the limit of blank is the fraction that 95 % of results on samples without
sickle cells do not exceed; the limit of detection is the smallest true fraction at which 95 % of results exceed the
limit of blank. EP17 asks for samples of patients, read on several days with several lots of a device; here fields that
were photographed once are put together anew, so these are estimates of what to expect and no evidence for a claim.

A simulated sample has 1,000 red cells of 10 fields of 10 groups of one fold, cells drawn with replacement. Its groups
are of many slides where a real sample is of one: what differs from slide to slide averages out in it, and its limit of
blank is too low for that. A single group goes too far the other way, for one field stands for all ten of a slide. So a
real sample lies between the two, and the contract has the higher one: docs/decisions/0036.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.screening.verdict import wilson
from training.data.datasets import FOLDS
from training.evaluate.estimates import Figure, Thresholds
from training.evaluate.predictions import RED, SICKLE, Prediction
from training.evaluate.sickle_calls import found_boxes
from training.metrics import auc, bootstrap

FIELDS, CELLS = 10, 1000
"""Fields, and red cells, of a simulated sample: those of a real one that reaches its target."""

SAMPLES = 2000
"""Samples of each kind that a figure is counted from."""

DRAWS, SAMPLES_A_DRAW = 300, 400
"""Times that groups are drawn anew for an interval, and samples each time."""

PART = 0.95
"""Part of the results that do not exceed the limit of blank, and that exceed it at the limit of detection."""

STEP, STEPS = 0.001, 300
"""True fractions that are tried: so far apart, and so many."""


def limit_of_blank(negative: Sequence[Prediction], thresholds: Thresholds) -> Figure:
    """Return the fraction that 95 % of the groups without sickle cells do not exceed.

    The fraction is the device's: cells that are not named are not in it.
    """
    sums: dict[str, np.ndarray] = {}
    for s in negative:
        sums[s.field.group] = sums.get(s.field.group, 0) + _counts(s, thresholds[s.field.fold])[:2]
    fractions = np.array([called / max(1, cells) for called, cells in sums.values()])

    def limit(rows: np.ndarray) -> float:
        return _exceeded_by_few(fractions[rows])

    said = f"{len(sums)} groups of {np.mean([n for _, n in sums.values()]):.0f} cells in the mean"
    return Figure(limit(np.arange(len(sums))), *bootstrap(list(sums), limit), said)


def _exceeded_by_few(values: np.ndarray) -> float:
    """Return the 95th percentile at the rank of EP17-A2, 0.5 + 0.95 n, between neighbours where that is none."""
    return float(np.percentile(values, 100 * PART, method="hazen"))


def _counts(s: Prediction, threshold: float) -> np.ndarray:
    """Return sickle calls and red cells that are named, boxes found and boxes, of a field."""
    labels = s.reading.labels(threshold)[~s.reading.border]
    return np.array([(labels == SICKLE).sum(), np.isin(labels, RED).sum(), *found_boxes(s, threshold)])


@dataclass(frozen=True, slots=True)
class Groups:
    """What is drawn from.

    counts: int (groups, fields, 4) as of `_counts`, 0 beyond a group's last field.

    fields: int (groups,), how many each has.
    """

    counts: np.ndarray
    fields: np.ndarray

    @classmethod
    def of(cls, seen: Sequence[Prediction], thresholds: Thresholds) -> Groups:
        """Gather the fields of each group."""
        rows: dict[str, list[np.ndarray]] = {}
        for s in seen:
            rows.setdefault(s.field.group, []).append(_counts(s, thresholds[s.field.fold]))
        fields = np.array([len(row) for row in rows.values()], int)
        counts = np.zeros((len(rows), max(fields, default=0), 4), int)
        for i, row in enumerate(rows.values()):
            counts[i, : len(row)] = row
        return cls(counts, fields)

    def resampled(self, rng: np.random.Generator) -> Groups:
        """Return as many groups, drawn with replacement."""
        rows = rng.integers(len(self.fields), size=len(self.fields))
        return Groups(self.counts[rows], self.fields[rows])

    def drawn(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """Return the sums (samples, 4) over one field each of FIELDS different groups."""
        group = rng.random((samples, len(self.fields))).argsort(1)[:, :FIELDS]
        field = (rng.random(group.shape) * self.fields[group]).astype(int)
        return np.asarray(self.counts[group, field].sum(1))


Fold = tuple[Groups, Groups]
"""Groups without sickle cells, and with them, which the same networks have read at the same threshold."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of simulated samples: the rates (N,) at which a cell is called sickle.

    blank: any cell of fields without sickle cells; positive: any cell of fields with them, of which nobody knows how
    many are sickle; boxed: a sickle cell that a box marks.
    """

    blank: np.ndarray
    positive: np.ndarray
    boxed: np.ndarray

    @classmethod
    def drawn(cls, folds: Sequence[Fold], rng: np.random.Generator, samples: int) -> Rates:
        """Draw about so many samples, as many of each fold."""
        pairs = [[side.drawn(rng, -(-samples // len(folds))) for side in fold] for fold in folds]
        without, with_ = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        return cls(_part(without, 0), _part(with_, 0), _part(with_, 2))


def _part(sums: np.ndarray, column: int) -> np.ndarray:
    return np.asarray(sums[:, column] / np.maximum(1, sums[:, column + 1]))


def samples(uganda: Sequence[Prediction], thresholds: Thresholds, limit: float) -> dict[str, Figure]:
    """Return how well simulated samples are told apart, and their limits.

    limit: that of the contract.

    Positive fields are labelled in part, so their true fraction is unknown. What is known is how many of their
    boxed cells are found. So a sample of a known fraction is mixed: as many sickle cells, each found at the rate of
    the boxed ones in ten positive fields, and other cells, each called at the rate of ten negative ones. That
    stands for sickle cells as plain as those that a person boxed. Intervals: groups drawn anew within fold and
    label. Empty where no fold has ten groups of both labels.
    """
    folds = [pair for fold in FOLDS if (pair := _fold(uganda, thresholds, fold)) is not None]
    if not folds:
        return {}
    rng = np.random.default_rng(0)
    values = _measured(folds, rng, SAMPLES, limit)
    draws = [_measured([(a.resampled(rng), b.resampled(rng)) for a, b in folds], rng, SAMPLES_A_DRAW, limit)
             for _ in range(DRAWS)]  # fmt: skip
    without, with_ = (sum(len(pair[i].fields) for pair in folds) for i in (0, 1))
    said = f"{SAMPLES} samples of {FIELDS} fields, {CELLS} cells; {without} groups without, {with_} with sickle cells"
    return {name: Figure(value, *_interval([draw[name] for draw in draws]), said) for name, value in values.items()}


def _fold(uganda: Sequence[Prediction], thresholds: Thresholds, fold: int) -> Fold | None:
    """Return the groups of a fold, if there are enough of both labels."""
    without, with_ = (
        Groups.of([s for s in uganda if (s.field.fold, s.field.label) == (fold, label)], thresholds)
        for label in ("negative", "positive")
    )
    return (without, with_) if min(len(without.fields), len(with_.fields)) >= FIELDS else None


def _measured(folds: Sequence[Fold], rng: np.random.Generator, samples: int, limit: float) -> dict[str, float]:
    rates = Rates.drawn(folds, rng, samples)
    blank, positive = rng.binomial(CELLS, rates.blank), rng.binomial(CELLS, rates.positive)
    score = np.concatenate([blank, positive]).astype(np.float32)
    limit_of_samples = _exceeded_by_few(blank)
    return {
        "auc_of_samples": auc(score, np.arange(len(score)) >= len(blank)),
        "limit_of_blank_of_samples": limit_of_samples / CELLS,
        "limit_of_detection_of_samples": least_fraction(rates, limit_of_samples, rng),
        "fraction_said_to_be_above_blank": least_fraction(rates, _calls_not_above(limit), rng),
    }


def _calls_not_above(limit: float) -> int:
    """Return the most calls among CELLS of which `above_blank` is not said: Wilson's lower bound is not above."""
    return max(k for k in range(CELLS + 1) if wilson(k, CELLS)[0] <= limit)


def least_fraction(rates: Rates, most: float, rng: np.random.Generator) -> float:
    """Return the smallest true fraction with more than `most` calls in 95 % of samples.

    NaN if there is none.
    """

    def enough(step: int) -> bool:
        sickle = rng.binomial(CELLS, step * STEP, len(rates.blank))
        calls = rng.binomial(sickle, rates.boxed) + rng.binomial(CELLS - sickle, rates.blank)
        return bool((calls > most).mean() >= PART)

    low, high = -1, STEPS  # not enough at the one, taken to be enough at the other
    if not enough(high):
        return float("nan")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high * STEP


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Return 95 % of the values; where 95 % of samples never have enough calls, all cells would have to be sickle."""
    low, high = np.percentile(np.nan_to_num(values, nan=1.0), [2.5, 97.5])
    return float(low), float(high)
