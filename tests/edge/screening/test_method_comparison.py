"""Two methods on the same slides: against figures that are published or worked out by hand."""

from __future__ import annotations

import pytest

from edge.screening.method_comparison import CountedSlide, at_cut_off, differences, student_t


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (16, 2.1199), (30, 2.0423)]
)
def test_students_t_is_that_of_the_tables(degrees: int, expected: float) -> None:
    assert student_t(degrees) == pytest.approx(expected, abs=5e-5)


def test_bland_and_altmans_own_example() -> None:
    """17 people, two peak flow meters (Lancet 1986): mean -2.1, SD 38.8, limits -79.7 and 75.5 with 2 SD.

    The half width there, by the rougher variance 3 s²/n, is 34.6; by (1/n + z²/(2 (n - 1))) s² it is 2.1199 · 16.395.
    """
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = differences([CountedSlide(b, 1000, a, 1000) for a, b in zip(wright, mini, strict=True)])
    assert found is not None
    assert 1000 * found.mean == pytest.approx(-2.1, abs=0.05)
    assert 1000 * found.sd == pytest.approx(38.8, abs=0.05)
    assert 1000 * found.low == pytest.approx(-2.1176 - 1.95996 * 38.765, abs=0.01)
    assert [1000 * end for end in found.mean_interval] == pytest.approx([-22.0, 17.8], abs=0.1)
    assert [1000 * end for end in found.low_interval] == pytest.approx([-78.096 - 34.756, -78.096 + 34.756], abs=0.01)


def test_chance_in_counting_is_told_apart() -> None:
    """Of two counts of 1000 cells with 5 % each the difference has a standard deviation of 0.97 points by chance."""
    found = differences([CountedSlide(50, 1000, 50, 1000)] * 3)
    assert found is not None
    assert (found.mean, found.sd) == (0, 0)
    assert found.chance_sd == pytest.approx(0.00975, abs=1e-5)
    assert differences([CountedSlide(50, 1000, 50, 1000)] * 2) is None


def test_kappa_is_of_slides_that_reach_the_cut_off() -> None:
    """20 and 15 agree, 5 and 10 do not: kappa 0.4 (0.70 observed, 0.50 expected)."""
    high, low = (60, 1000), (10, 1000)
    pairs = [(high, high)] * 20 + [(low, high)] * 5 + [(high, low)] * 10 + [(low, low)] * 15
    found = at_cut_off([CountedSlide(*manual, *device) for manual, device in pairs], 0.06)
    assert found is not None
    assert (found.both, found.first_only, found.second_only, found.neither) == (20, 5, 10, 15)
    assert found.kappa == pytest.approx(0.4)
    assert found.kappa_interval is not None
    assert found.kappa_interval[0] < 0.4 < found.kappa_interval[1]
