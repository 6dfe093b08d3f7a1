"""A control slide fails when it should, and hardly ever when it should not, however few sickle cells it has."""

from __future__ import annotations

from math import comb, isclose
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.screening.westgard import RULES, Expected, failed, score, violated_rules

EXPECTED = st.floats(0.0005, 0.9995).flatmap(
    lambda p: st.floats(0, 0.5 * (p * (1 - p)) ** 0.5).map(lambda sd: Expected(p, sd))
)
COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, EXPECTED)
def test_a_score_rises_with_the_count_and_is_finite(counted: tuple[int, int], expected: Expected) -> None:
    k, n = counted
    found = score(k, n, expected)
    assert -8 < found < 8
    if k < n:
        assert score(k + 1, n, expected) >= found


@given(COUNTS, EXPECTED)
def test_other_cells_than_sickle_ones_mirror_the_score(counted: tuple[int, int], expected: Expected) -> None:
    k, n = counted
    mirrored = score(n - k, n, Expected(1 - expected.fraction, expected.between_run_sd))
    assert isclose(score(k, n, expected), -mirrored, abs_tol=1e-6)


@given(st.integers(1, 200), st.floats(0.001, 0.999), st.sampled_from([1.0, 2.0, 3.0]))
def test_chance_alone_goes_beyond_a_limit_no_oftener_than_a_normal_distribution(n: int, p: float, limit: float) -> None:
    pmf = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    scores = [score(k, n, Expected(p)) for k in range(n + 1)]
    nominal = NormalDist().cdf(-limit)
    assert sum(q for q, s in zip(pmf, scores, strict=True) if s > limit) <= nominal + 1e-9
    assert sum(q for q, s in zip(pmf, scores, strict=True) if s < -limit) <= nominal + 1e-9


@pytest.mark.parametrize(("p", "sd"), [(0.05, 0.01), (0.3, 0.02), (0.004, 0.002)])
def test_readings_that_vary_as_expected_rarely_go_beyond_2_s(p: float, sd: float) -> None:
    rng = np.random.default_rng(1)
    size = p * (1 - p) / sd**2 - 1
    counts = rng.binomial(1000, rng.beta(size * p, size * (1 - p), 20_000))
    scores = {int(k): score(int(k), 1000, Expected(p, sd)) for k in np.unique(counts)}
    beyond = np.mean([abs(scores[int(k)]) > 2 for k in counts])
    assert 0.015 < beyond < 0.05  # a normal distribution has 0.0455; whole counts give less
    # Without the spread from run to run in it, the same readings are alarms without end.
    naive = {k: score(k, 1000, Expected(p)) for k in scores}
    assert np.mean([abs(naive[int(k)]) > 2 for k in counts]) > 2 * beyond


def test_many_cells_give_the_usual_standard_deviations() -> None:
    sd = (0.1 * 0.9 / 10_000 + 0.01**2) ** 0.5
    assert score(round(10_000 * (0.1 + 2.5 * sd)), 10_000, Expected(0.1, 0.01)) == pytest.approx(2.5, abs=0.15)
    assert score(round(10_000 * (0.1 - 2.5 * sd)), 10_000, Expected(0.1, 0.01)) == pytest.approx(-2.5, abs=0.25)


def test_few_expected_cells_are_counts_and_no_normal_distribution() -> None:
    negative = Expected(0.002)
    # Two are expected of 1,000, and 7 come once in 220 readings: by (7 − 2) ÷ √2 they would be beyond 3 s.
    assert 2 < score(7, 1000, negative) < 3
    assert score(10, 1000, negative) > 3
    # Nothing is found most of the time where half a cell is expected: no side, so no ten on one side.
    assert score(0, 1000, Expected(0.0005)) == 0
    assert violated_rules([0.0] * 10) == ()


@pytest.mark.parametrize(
    ("scores", "rules"),
    [
        ([], ()),
        ([1.9, -1.9, 1.9], ()),
        ([0.2, 2.1], ("1_2s",)),
        ([0.2, -3.1], ("1_2s", "1_3s")),
        ([2.1, 2.2], ("1_2s", "2_2s")),
        ([2.1, 0.0, 2.2], ("1_2s",)),
        ([2.1, -2.2], ("1_2s", "R_4s")),
        ([-2.1, 2.2], ("1_2s", "R_4s")),
        ([1.1, 1.2, 1.3, 1.1], ("4_1s",)),
        ([1.1, 1.2, -1.3, 1.1], ()),
        ([0.1] * 10, ("10_x",)),
        ([-0.1] * 10, ("10_x",)),
        ([0.1] * 9, ()),
        ([0.1] * 9 + [0.0], ()),
        ([3.5, 0.1], ()),
        ([1.5] * 9 + [3.2], ("1_2s", "1_3s", "4_1s", "10_x")),
    ],
)
def test_westgards_rules(scores: list[float], rules: tuple[str, ...]) -> None:
    assert violated_rules(scores) == rules
    assert failed(rules) == bool(set(rules) - {"1_2s"})


@given(st.lists(st.floats(-8, 8), max_size=15))
def test_rules_know_no_direction_and_only_the_last_ten(scores: list[float]) -> None:
    assert violated_rules([-one for one in scores]) == violated_rules(scores)
    assert violated_rules([5.0, *scores][-10:]) == violated_rules(scores[-10:]) if len(scores) >= 10 else True
    assert set(violated_rules(scores)) <= set(RULES)


@pytest.mark.parametrize(
    ("p", "sd"), [(0.0, 0.0), (1.0, 0.0), (-0.1, 0.0), (0.1, -0.01), (0.1, 0.16), (float("nan"), 0)]
)
def test_what_no_slide_can_show_is_refused(p: float, sd: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Expected(p, sd)


@pytest.mark.parametrize(("k", "n"), [(1, 0), (0, 0), (-1, 5), (6, 5)])
def test_what_is_no_count_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no count"):
        score(k, n, Expected(0.1))
