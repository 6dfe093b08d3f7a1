"""Simulated samples against what theory says of them, and the limits that come of them."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from edge.screening.verdict import wilson
from tests.training.test_evaluate import NORMAL, OTHER, SICKLE, T, field, reading
from training.evaluate import simulated_samples
from training.evaluate.predictions import Prediction
from training.evaluate.simulated_samples import CELLS, PART, STEP, Rates, least_fraction, limit_of_blank, samples


def fields(
    fold: int, label: str, called: list[int], cells: int, boxes: int = 0, photographs: int = 1
) -> list[Prediction]:
    """Make groups of fields with so many sickle calls each; the first of them lie in as many boxes."""
    seen = []
    for g, k in enumerate(called):
        at = [(50.0 + 60 * i, 100.0, SICKLE if i < k else NORMAL) for i in range(cells)]
        marked = np.array([[30 + 60 * i, 80, 70 + 60 * i, 120] for i in range(boxes)], np.float32)
        labelled = field("uganda_scd", marked, group=f"{label}{fold}-{g}", fold=fold, label=label)
        seen += [Prediction(labelled, reading(at))] * photographs
    return seen


def binomial_percentile(n: int, p: float, part: float) -> int:
    """Return the least k with P(X <= k) >= part."""
    total = 0.0
    for k in range(n + 1):
        total += comb(n, k) * p**k * (1 - p) ** (n - k)
        if total >= part:
            return k
    raise AssertionError


def test_the_limit_of_blank_of_samples_alike_is_that_of_counting() -> None:
    rates = Rates(np.full(20000, 0.004), np.zeros(20000), np.zeros(20000))
    rng = np.random.default_rng(0)
    limit = simulated_samples._exceeded_by_few(rng.binomial(CELLS, rates.blank))
    # Poisson of mean 4: P(X <= 7) = 0.949, P(X <= 8) = 0.979, and so for the binomial.
    assert limit == binomial_percentile(CELLS, 0.004, PART) == 8


def test_the_limit_of_detection_is_where_counting_puts_it() -> None:
    found, false = 0.8, 0.004
    rates = Rates(np.full(20000, false), np.zeros(20000), np.full(20000, found))
    fraction = least_fraction(rates, 8, np.random.default_rng(0))
    # A cell is called with p = f found + (1 - f) false; more than 8 calls in 95 % of samples.
    expected = next(f for f in (i * STEP for i in range(300))
                    if binomial_percentile(CELLS, f * found + (1 - f) * false, 1 - PART) > 8)  # fmt: skip
    assert fraction == pytest.approx(expected, abs=STEP)


def test_what_is_never_found_has_no_limit_of_detection() -> None:
    rates = Rates(np.full(1000, 0.001), np.zeros(1000), np.zeros(1000))
    assert np.isnan(least_fraction(rates, 8, np.random.default_rng(0)))


def test_calls_that_cluster_raise_the_limit_of_single_groups_above_that_of_samples() -> None:
    # One group in five has all the calls: ten groups share them, a single one does not.
    seen = [s for f in range(4) for s in fields(f, "negative", [6, 0, 0, 0, 0] * 3, 300)]
    seen += [s for f in range(4) for s in fields(f, "positive", [9] * 12, 300, boxes=10)]
    single = limit_of_blank([s for s in seen if s.field.label == "negative"], T | {2: 0.5, 3: 0.5})
    figures = samples(seen, T | {2: 0.5, 3: 0.5}, single.value)
    assert single.value == pytest.approx(6 / 300)
    assert 0.004 < figures["limit_of_blank_of_samples"].value < 0.012
    assert figures["limit_of_blank_of_samples"].low < figures["limit_of_blank_of_samples"].high
    assert figures["auc_of_samples"].value > 0.99
    detected = figures["limit_of_detection_of_samples"].value
    assert figures["limit_of_blank_of_samples"].value < detected < figures["fraction_said_to_be_above_blank"].value
    assert "48 with sickle cells" in figures["auc_of_samples"].counted


def test_samples_that_are_alike_are_not_told_apart() -> None:
    seen = [s for f in range(4) for s in fields(f, "negative", [2] * 10, 300)]
    seen += [s for f in range(4) for s in fields(f, "positive", [2] * 10, 300, boxes=3)]
    figures = samples(seen, T | {2: 0.5, 3: 0.5}, 0.01)
    assert 0.45 < figures["auc_of_samples"].value < 0.55


def test_the_same_readings_give_the_same_samples_and_too_few_groups_none() -> None:
    enough = [*fields(0, "negative", [1] * 10, 100), *fields(0, "positive", [5] * 10, 100, boxes=5)]
    assert samples(enough, T, 0.01) == samples(enough, T, 0.01)
    assert samples(enough[1:], T, 0.01) == {}


def test_a_sample_takes_one_photograph_of_each_of_ten_groups() -> None:
    groups = simulated_samples.Groups.of(fields(0, "negative", list(range(12)), 50, photographs=3), T)
    sums = groups.drawn(np.random.default_rng(0), 500)
    assert (sums[:, 1] == 10 * 50).all()
    assert sums[:, 0].min() >= sum(range(10))  # all different: 0 + 1 + … + 9 at least
    assert sums[:, 0].max() <= sum(range(2, 12))


def test_the_limit_of_blank_is_of_cells_that_the_device_names() -> None:
    read = reading([(60.0 * i, 100.0, SICKLE if i == 0 else OTHER) for i in range(1, 11)])
    read.prob[0] = [0.02, 0.9, 0.02, 0.02, 0.02, 0.02]
    read.prob[1] = [0.2, 0.3, 0.05, 0.25, 0.1, 0.1]  # not named
    figure = limit_of_blank([Prediction(field("uganda_scd", label="negative"), read)], T)
    assert figure.value == pytest.approx(1 / 9)


def test_the_calls_that_the_device_does_not_hold_to_be_above_the_blank() -> None:
    most = simulated_samples._calls_not_above(0.0158)
    assert wilson(most, CELLS)[0] <= 0.0158 < wilson(most + 1, CELLS)[0]
