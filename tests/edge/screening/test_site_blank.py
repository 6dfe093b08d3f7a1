"""The limit of blank of a site: what it rests on, and that it holds for slides that it never saw."""

from __future__ import annotations

import numpy as np
import pytest

from edge.screening.site_blank import BlankSlide, SiteBlank, predictive_bound
from edge.screening.verdict import VerdictRules, assess
from tests.edge.screening.test_verdict import counts


def slides(fractions: list[float], batches: int = 2, people: int = 12) -> SiteBlank:
    return SiteBlank(
        tuple(
            BlankSlide(
                round(1000 * one), 1000, f"p{index % people}", f"s{index % batches}", f"d{index % 3}", index == 0
            )
            for index, one in enumerate(fractions)
        )
    )


def test_few_slides_give_a_provisional_limit_that_is_higher_for_fewer_cells_and_more_false_calls() -> None:
    few = slides([0.002, 0.004, 0.003])
    assert few.provisional
    assert few.missing() == ["3 of 20 slides", "3 of 10 people"]
    assert few.limit(500) >= few.limit(1000) > few.limit(5000) > 0.003
    assert slides([0.012, 0.014, 0.013]).limit(1000) > 2 * few.limit(1000)
    assert slides([0.003] * 15).limit(1000) < few.limit(1000)


@pytest.mark.parametrize("number", [3, 10])
def test_the_predictive_bound_holds_for_19_of_20_slides_of_sites_drawn_from_its_prior(number: int) -> None:
    rng = np.random.default_rng(8)
    held = []
    for _ in range(400):
        mean, variation = min(0.05, 0.004 * float(np.exp(rng.normal()))), float(rng.choice([0.3, 0.6, 1.0, 1.5]))
        alpha = 1 / variation**2
        found = rng.binomial(1000, rng.beta(alpha, alpha * (1 - mean) / mean, number + 1)).tolist()
        bound = predictive_bound(tuple((one, 1000) for one in found[:-1]), 1000)
        held.append(found[-1] / 1000 <= bound)
    assert np.mean(held) >= 0.95 - 2 * (0.95 * 0.05 / 400) ** 0.5


def test_twenty_slides_of_enough_people_and_batches_are_ranked_as_ep17_says_and_the_highest_batch_counts() -> None:
    rising = [index / 1000 for index in range(40)]  # even ones of batch s0, odd ones of s1
    whole = slides(rising)
    assert not whole.provisional
    # Rank 0.5 + 0.95 · 20 = 19.5 of batch s1: between its 19th and 20th, 37 and 39 of 1,000.
    assert whole.limit(1000) == pytest.approx(0.038)
    assert whole.limit(100) == whole.limit(5000)
    assert slides(rising, batches=1).missing() == ["1 of 2 stain batches"]
    assert "9 of 10 people" in slides(rising, people=9).missing()
    assert "19 of 20 slides" in slides(rising[:19]).missing()


def test_a_verdict_is_held_against_the_sites_limit_and_never_below_the_models() -> None:
    red, sickle = 975, 25  # lower bound 1.7 %
    own = slides([0.012, 0.016, 0.014])
    with_model = assess(counts(normal=red, sickle=sickle), VerdictRules(500, 1000, 0.003))
    with_site = assess(counts(normal=red, sickle=sickle), VerdictRules(500, 1000, 0.003, site_blank=own))
    clean = assess(counts(normal=red, sickle=sickle), VerdictRules(500, 1000, 0.03, site_blank=slides([0.0] * 3)))
    assert with_model.above_blank
    assert not with_site.above_blank
    assert with_site.limit_of_blank == own.limit(1000)
    assert "blank_provisional" in with_site.flags
    assert "blank_provisional" not in with_model.flags
    assert clean.limit_of_blank == 0.03
    settled = assess(counts(normal=red, sickle=sickle), VerdictRules(500, 1000, None, site_blank=slides([0.004] * 20)))
    assert {"blank_site"} == {"blank_site", "blank_provisional", "no_limit_of_blank"} & set(settled.flags)
    assert settled.above_blank
