"""How figures are counted: matching, curves and intervals, on cases whose answer is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluate.estimates import Figure
from training.metrics import auc, bootstrap, f1, greedy, iou


def test_iou_of_known_boxes() -> None:
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]], np.float32)
    assert iou(a, b)[0] == pytest.approx([1.0, 1 / 3, 0.0])


def test_the_best_row_takes_its_column_first_and_no_column_serves_twice() -> None:
    affinity = np.array([[0.6, 0.7], [0.9, 0.8], [0.9, 0.9]], np.float32)
    assert greedy(affinity, 0.5) == [(0, 1), (1, 0)]
    assert greedy(affinity, 0.85) == [(1, 0), (2, 1)]


def test_nothing_pairs_with_nothing() -> None:
    assert greedy(np.zeros((0, 3), np.float32), 0.5) == []
    assert greedy(np.zeros((3, 0), np.float32), 0.5) == []
    assert f1(0, 0, 0) == 0.0


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    precision, recall = 8 / 10, 8 / 16
    assert f1(8, 10, 16) == pytest.approx(2 * precision * recall / (precision + recall))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_chance_that_a_positive_scores_higher_ties_half(rows: list[tuple[int, bool]]) -> None:
    score, positive = np.array([r[0] for r in rows], np.float32), np.array([r[1] for r in rows])
    if positive.all() or not positive.any():
        return
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in score[positive] for n in score[~positive]]
    assert auc(score, positive) == pytest.approx(float(np.mean(wins)))


def test_the_bootstrap_draws_whole_groups() -> None:
    # Within a group all rows agree: 100 rows of two groups know no more than two coins.
    groups = ["a"] * 50 + ["b"] * 50
    values = np.array([0.0] * 50 + [1.0] * 50)
    assert bootstrap(groups, lambda rows: float(values[rows].mean())) == (0.0, 1.0)
    alone = [str(i) for i in range(100)]
    low, high = bootstrap(alone, lambda rows: float(values[rows].mean()))
    assert 0.36 < low < 0.44
    assert 0.56 < high < 0.64


def mean_of(values: np.ndarray, rows: np.ndarray) -> float:
    return float(values[rows].mean())


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        low, high = bootstrap(list(map(str, range(80))), partial(mean_of, rng.random(80) < 0.3), draws=200)
        covered += low <= 0.3 <= high
    assert covered >= 51  # 57 expected


def test_a_ratio_of_nothing_is_no_number_and_says_so() -> None:
    figure = Figure.ratio([0, 0], [0, 0], ["a", "b"])
    assert np.isnan(figure.value)
    assert figure.counted == "nothing"


def test_a_ratio_adds_up_before_it_divides() -> None:
    figure = Figure.ratio([1, 9], [1, 99], ["a", "b"])
    assert figure.value == pytest.approx(0.1)  # not the mean of 1 and 1/11
    assert figure.counted == "10 of 100"
    assert figure.low == pytest.approx(1 / 11)
    assert figure.high == 1.0


def test_the_interval_of_no_call_is_not_empty() -> None:
    figure = Figure.proportion(0, 46)
    assert (figure.value, figure.low) == (0.0, 0.0)
    assert figure.high == pytest.approx(0.0771, abs=1e-4)  # Wilson 1927
