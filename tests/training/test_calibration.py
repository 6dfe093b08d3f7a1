"""Whether a probability is one, and what abstaining pays: on cells whose truth was drawn, and on readings by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from edge.types import ABSTAINED, CLASSES
from tests.training.test_evaluate import NORMAL, OTHER, SICKLE, WBC, T, field, prob, reading
from training.evaluate.calibration import BINS, abstention, calibration, chosen_log_odds, ece, fold_probabilities
from training.evaluate.estimates import SHIPPED
from training.evaluate.ground_truth import GroundTruth, ground_truth
from training.evaluate.predictions import Prediction
from training.evaluate.sickle_calls import found_boxes

AS_IT_IS = dict.fromkeys(range(4), (1.0, 0.0))
"""What is told is what the networks say."""

GROUPS = np.array([f"g{i % 40}" for i in range(20000)])


def chance(log_odds: np.ndarray) -> np.ndarray:
    chances: np.ndarray = 1 / (1 + np.exp(-log_odds))
    return chances


def drawn(distortion: float = 1.0, shift: float = 0.0, n: int = 20000, seed: int = 0) -> GroundTruth:
    """Draw cells of known truth, whose log odds are said to be `distortion` times the true ones, and moved."""
    rng = np.random.default_rng(seed)
    truly = rng.normal(-2, 2.5, n)
    said = np.zeros((n, len(CLASSES)), np.float32)
    said[:, SICKLE] = chance(distortion * truly + shift)
    said[:, NORMAL] = 1 - said[:, SICKLE]
    label = np.where(said[:, SICKLE] >= 0.8, SICKLE, np.where(said[:, SICKLE] > 0.5, ABSTAINED, NORMAL))
    return GroundTruth(rng.random(n) < chance(truly), said, label.astype(np.int8), np.full(n, 0.8), np.arange(n) % 4,
                 GROUPS[:n])  # fmt: skip


# --- cells of known truth -------------------------------------------------------------------------------------------


def test_red_cells_of_a_negative_field_are_not_sickle_and_nothing_else_is_known_there() -> None:
    cells = [(50.0 * i, 100.0, kind) for i, kind in enumerate([SICKLE, NORMAL, OTHER, WBC, NORMAL])]
    read = reading(cells, border=np.array([False] * 4 + [True]))
    known = ground_truth([Prediction(field("uganda_scd", label="negative", group="a", fold=1), read)], T)
    assert (known.sickle.tolist(), known.group.tolist(), known.fold.tolist()) == ([False] * 3, ["a"] * 3, [1] * 3)
    assert known.label.tolist() == [SICKLE, NORMAL, OTHER]


def test_of_a_positive_field_only_the_cell_in_the_middle_of_each_box_is_known_whatever_it_is_called() -> None:
    cells = [(100, 100, NORMAL), (115, 100, SICKLE), (300, 100, SICKLE), (400, 100, SICKLE)]
    boxes = [[80, 80, 120, 120], [380, 80, 420, 120], [500, 80, 540, 120]]
    labelled = field("uganda_scd", boxes, partial=np.array([False, True, False]))
    seen = Prediction(labelled, reading(cells))
    known = ground_truth([seen], T)
    # The call at 115 finds the box; the truth is asked of the cell at 100. 300 has no box, 400 a cut one.
    assert found_boxes(seen, 0.5) == (1, 2)
    assert (known.sickle.tolist(), known.label.tolist()) == ([True], [NORMAL])


def test_a_boxed_sickle_cell_taken_for_dirt_is_known_to_be_sickle() -> None:
    read = reading([(100, 100, len(CLASSES) - 1)])
    assert len(ground_truth([Prediction(field("uganda_scd", [[80, 80, 120, 120]]), read)], T).p) == 1
    small = replace(read, kind=np.array([2], np.int8))  # a platelet to the detector too
    assert len(ground_truth([Prediction(field("uganda_scd", [[80, 80, 120, 120]]), small)], T).p) == 0


def test_labelled_cells_of_the_other_set_are_not_sickle_and_uncategorised_ones_unknown() -> None:
    points = np.array([[100, 100, 9], [200, 100, 10]])
    cells = [(100, 100, SICKLE), (200, 100, NORMAL), (300, 100, NORMAL)]
    chula = field("chula_rbc12", points=points, label="negative")
    known = ground_truth([Prediction(chula, reading(cells))], T)
    assert (known.sickle.tolist(), known.label.tolist()) == ([False], [SICKLE])


# --- calibration ----------------------------------------------------------------------------------------------------


def test_the_calibration_error_of_known_bins() -> None:
    p = np.array([0.02, 0.02, 0.9, 0.9], np.float32)
    figure = ece(p, np.array([False, True, True, True]), np.array(["a", "a", "b", "b"]))
    assert figure.value == pytest.approx((abs(0.04 - 1) + abs(1.8 - 2)) / 4)
    assert figure.counted == "3 sickle of 4 cells in 2 groups"
    assert BINS == 15


def test_exact_probabilities_have_next_to_no_error_and_overconfident_ones_have_much() -> None:
    exact, proud = calibration(drawn(), AS_IT_IS), calibration(drawn(distortion=3), AS_IT_IS)
    assert exact["ece"].value < 0.01
    assert exact["ece_above_0.05"].value < 0.02
    assert exact["ece_above_0.05_if_exact"].low < exact["ece_above_0.05"].value < exact["ece_above_0.05_if_exact"].high
    assert proud["ece"].value > 0.05
    assert proud["ece_above_0.05_equal_mass"].value > 0.05
    assert proud["ece_above_0.05"].value > 3 * proud["ece_above_0.05_if_exact"].high
    assert proud["ece"].low < proud["ece"].value < proud["ece"].high


def test_a_mean_error_of_nought_within_a_bin_of_equal_mass_is_seen_in_bins_of_equal_width() -> None:
    p = np.concatenate([np.zeros(9800), np.full(100, 0.6), np.full(100, 0.95)]).astype(np.float32)
    sickle = np.concatenate([np.zeros(9800), np.ones(100), np.arange(100) < 55]).astype(bool)
    edges = np.quantile(p, np.linspace(0, 1, BINS + 1)[1:-1])
    assert ece(p, sickle, GROUPS[:10000], edges).value < 1e-4
    assert ece(p, sickle, GROUPS[:10000]).value == pytest.approx(0.008, abs=1e-4)


def test_a_factor_mends_pride_and_a_shift_what_training_showed_too_often() -> None:
    proud, moved = drawn(distortion=2), drawn(shift=1.5)
    for known, factor, shift in ((proud, 0.5, 0.0), (moved, 1.0, -1.5)):
        chosen = chosen_log_odds(known)
        assert set(chosen) == {0, 1, 2, 3, SHIPPED}
        for found in chosen.values():
            assert list(found) == [pytest.approx(factor, abs=0.05), pytest.approx(shift, abs=0.15)]
        figures = calibration(known, chosen)
        assert figures["ece"].value < 0.01 < figures["ece_of_the_networks"].value


def test_what_is_told_of_a_fold_is_learnt_on_the_others() -> None:
    known = drawn()
    spoilt = replace(known, sickle=np.where(known.fold == 0, ~known.sickle, known.sickle))
    before, after = chosen_log_odds(known), chosen_log_odds(spoilt)
    assert after[0] == before[0]
    assert all(after[fold] != before[fold] for fold in (1, 2, 3, SHIPPED))


def test_what_is_told_keeps_the_order_of_the_cells() -> None:
    known = drawn(distortion=2, shift=1)
    mine = known.fold == 2
    order = np.argsort(known.p[mine])
    assert (np.diff(fold_probabilities(known, chosen_log_odds(known))[mine][order]) >= 0).all()


def test_no_cell_above_the_limit_is_no_error_but_no_number() -> None:
    known = drawn()
    low = known.of(known.p < 0.01)
    figures = calibration(low, AS_IT_IS)
    assert np.isnan(figures["ece_above_0.05"].value)
    assert figures["ece_above_0.05"].counted == "nothing"
    assert figures["ece"].value < 0.01


# --- abstention -----------------------------------------------------------------------------------------------------


def test_the_error_falls_as_the_doubtful_cells_are_not_named() -> None:
    figures = abstention(drawn())
    risks = [figures[f"risk_at_{c}_percent_coverage"].value for c in (100, 99, 98, 95, 90)]
    assert all(b < a for a, b in pairwise(risks))
    assert figures["risk_mean_over_coverages"].value < risks[-1]
    known = drawn()
    assert risks[0] == pytest.approx(float(((known.p >= 0.8) != known.sickle).mean()))


def test_where_probabilities_say_nothing_abstaining_pays_nothing() -> None:
    known = drawn()
    blind = replace(known, sickle=np.random.default_rng(3).permutation(known.p >= 0.8))
    blind = blind.of(blind.p < 0.8)
    figures = abstention(blind)
    first, last = (figures[f"risk_at_{c}_percent_coverage"] for c in (100, 90))
    assert last.low < first.value < last.high


def test_doubt_is_of_the_side_taken_and_what_has_no_probability_goes_first() -> None:
    p = [0.0, 0.79, 0.81, 0.6, 0.01]
    said = np.array([prob(NORMAL, 1.0)] * 5, np.float32)
    said[:, SICKLE], said[:, NORMAL] = p, 1 - np.array(p)
    said[0] = 0
    truth = np.array([True, True, True, False, False])
    label = np.array([ABSTAINED, ABSTAINED, SICKLE, ABSTAINED, NORMAL], np.int8)
    cells = GroundTruth(truth, said, label, np.full(5, 0.8), np.zeros(5, int), np.array(list("abcde")))
    figures = abstention(cells.of(np.repeat(np.arange(5), 20)))
    assert figures["risk_at_100_percent_coverage"].counted == "0 false calls, 40 missed, 100 cells"
    assert figures["risk_at_90_percent_coverage"].counted == "0 false calls, 30 missed, 90 cells"
    assert figures["risk_at_90_percent_coverage"].value == pytest.approx(30 / 90)
    assert figures["coverage_as_shipped"].value == 0.4
    assert figures["risk_as_shipped"].value == 0.0
    assert figures["wrong_among_abstained_as_shipped"].value == pytest.approx(2 / 3)
    assert figures["risk_mean_over_coverages"].value == pytest.approx(
        sum(max(0, i - 60) / i for i in range(1, 101)) / 100
    )
