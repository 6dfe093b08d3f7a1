"""The interval is Wilson's, and the words are the ones that were agreed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose, sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.screening.verdict import FLAGS, VerdictRules, assess, wilson
from edge.types import CLASSES, Counts, Verdict

PROPORTIONS = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
Z = 1.959963984540054


def counts(normal: int = 0, sickle: int = 0, other: int = 0, abstained: int = 0, wbc: int = 0) -> Counts:
    by_class = {**dict.fromkeys(CLASSES, 0), "normal": normal, "sickle": sickle, "other": other, "wbc": wbc}
    return Counts(by_class, {"border": 7, "abstained": abstained}, {}, sum(by_class.values()) + abstained + 7, 1, 0.1)


def verdict(
    counted: Counts, limit_of_blank: float | None = 0.004, flags: Sequence[str] = (), withhold: Sequence[str] = ()
) -> Verdict:
    return assess(counted, VerdictRules(500, 1000, limit_of_blank, frozenset(withhold)), flags)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # The first three are the project's field notes; the others are table I of Newcombe 1998, method 3.
    [
        (0, 500, 0.0, 0.0076),
        (0, 1000, 0.0, 0.0038),
        (10, 1000, 0.0054, 0.0183),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_is_the_published_one(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=6e-5)


@given(PROPORTIONS)
def test_interval_holds_the_proportion_and_mirrors(proportion: tuple[int, int]) -> None:
    k, n = proportion
    low, high = wilson(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0
    mirrored = wilson(n - k, n)
    assert isclose(low, 1.0 - mirrored[1], abs_tol=1e-12)
    assert isclose(high, 1.0 - mirrored[0], abs_tol=1e-12)


@given(PROPORTIONS)
def test_each_bound_is_where_the_score_test_just_rejects(proportion: tuple[int, int]) -> None:
    k, n = proportion
    for bound in wilson(k, n):
        if 0.0 < bound < 1.0:
            assert isclose(abs(k / n - bound), Z * sqrt(bound * (1 - bound) / n), rel_tol=1e-6)


@pytest.mark.parametrize("n", [1, 3, 500, 7919])
def test_bounds_are_exact_at_the_edges(n: int) -> None:
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0


@pytest.mark.parametrize(("k", "n"), [(1, 0), (0, 0), (-1, 5), (6, 5)])
def test_what_is_no_proportion_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no proportion"):
        wilson(k, n)


def test_words_of_a_result() -> None:
    said = verdict(counts(normal=940, sickle=10, other=50))
    assert said.status == "reported"
    assert said.text == (
        "Sickle-like cells 10 of 1000 (95 % interval 0.54–1.83 %). Not a diagnosis: does not exclude "
        "sickle-cell disease or trait; confirm by HPLC or electrophoresis."
    )
    assert said.flags == ()


@pytest.mark.parametrize(("red", "status"), [(499, "insufficient"), (500, "reported")])
def test_500_red_cells_are_enough_and_499_are_not(red: int, status: str) -> None:
    said = verdict(counts(normal=red - 1, sickle=1))
    assert said.status == status
    assert ("insufficient" in said.flags) == (status == "insufficient")
    assert (said.above_blank is None) == (status == "insufficient")


def test_words_when_too_few_say_how_many_more() -> None:
    said = verdict(counts(normal=118, sickle=2))
    assert said.text.startswith("Insufficient: 120 red cells counted, at least 500 needed; count 380 more. ")
    assert "Sickle-like cells 2 of 120 (95 % interval 0.46–5.87 %). Not a diagnosis:" in said.text


def test_white_cells_platelets_and_artefacts_are_not_in_the_denominator() -> None:
    assert verdict(counts(normal=600, sickle=3, wbc=400)).fraction == 3 / 603


@pytest.mark.parametrize(("sickle", "above"), [(10, False), (12, True)])
def test_above_blank_is_of_the_lower_bound(sickle: int, above: bool) -> None:
    said = verdict(counts(normal=1000 - sickle, sickle=sickle), limit_of_blank=0.006)
    assert said.fraction is not None
    assert said.fraction > 0.006
    assert said.above_blank is above


def test_no_red_cell_leaves_no_fraction() -> None:
    said = verdict(counts(wbc=3))
    assert (said.fraction, said.low, said.high, said.fraction_if_none, said.fraction_if_all) == (None,) * 5
    assert "count 500 more. Sickle-like cells 0 of 0. Not" in said.text


@given(st.integers(0, 2000), st.integers(0, 50), st.integers(0, 500))
def test_abstained_cells_bound_the_fraction(normal: int, sickle: int, abstained: int) -> None:
    said = verdict(counts(normal=normal, sickle=sickle, abstained=abstained))
    if said.fraction is not None and said.fraction_if_none is not None and said.fraction_if_all is not None:
        assert said.fraction_if_none <= said.fraction <= said.fraction_if_all
        assert said.fraction_if_all - said.fraction_if_none == pytest.approx(abstained / (normal + sickle + abstained))


@pytest.mark.parametrize(
    ("counted", "known", "flag"),
    [
        (counts(normal=1000, wbc=1), {}, "wbc_may_include_nucleated_red_cells"),
        (counts(normal=900), {}, "below_target"),
        (counts(normal=1000, abstained=112), {}, "many_abstained"),
        (counts(normal=1000), {"limit_of_blank": None}, "no_limit_of_blank"),
        (counts(normal=1000), {"flags": ["scale_estimated"]}, "scale_estimated"),
    ],
)
def test_each_flag_is_raised_by_its_cause_alone(counted: Counts, known: dict[str, Any], flag: str) -> None:
    said = verdict(counted, **known)
    assert said.flags == (flag,)
    assert flag in FLAGS


def test_what_the_caller_raises_is_flagged_and_withholds_where_it_is_asked_to() -> None:
    counted = counts(normal=990, sickle=10)
    flagged = verdict(counted, flags=["calibration_expired"])
    assert (flagged.flags, flagged.status, flagged.fraction) == (("calibration_expired",), "reported", 0.01)
    withheld = verdict(counted, flags=["calibration_expired"], withhold=["calibration_expired"])
    assert (withheld.flags, withheld.status, withheld.fraction, withheld.above_blank) == (
        ("calibration_expired",), "withheld", None, None,
    )  # fmt: skip
    assert FLAGS["calibration_expired"] in withheld.text
    assert "10 of 1000" not in withheld.text
    assert verdict(counted, withhold=["calibration_expired"]).status == "reported"
