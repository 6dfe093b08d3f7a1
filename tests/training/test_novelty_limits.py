"""Limits of novelty are chosen so that smears are read, and what lies beyond them is treated as the device does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.test_evaluate import field, reading
from training.evaluate import novelty_limits
from training.evaluate.novelty_limits import MARGIN, Limits
from training.evaluate.predictions import Prediction


def with_novelty(novelty: list[float]) -> Prediction:
    read = reading([(50.0 + 30 * i, 100.0, 1) for i in range(len(novelty))])
    return Prediction(field("uganda_scd"), replace(read, novelty=np.array(novelty, np.float32)))


def test_nearly_all_cells_and_fields_of_the_training_sets_are_below_the_limits() -> None:
    rng = np.random.default_rng(0)
    seen = [with_novelty(rng.uniform(0.5, 1.5, 12).tolist()) for _ in range(60)]
    limits = novelty_limits.chosen(seen)
    judged = [novelty_limits.judged(s, limits) for s in seen]
    assert novelty_limits.refused(judged).value == 0
    assert novelty_limits.unnamed(judged).value == 0
    assert limits.cell < MARGIN * 1.5 + 0.01
    assert limits.field < limits.cell


def test_a_strange_cell_has_no_probability_and_a_strange_field_is_gated() -> None:
    one = novelty_limits.judged(with_novelty([1.0] * 9 + [3.0]), Limits(cell=2.0, field=1.5))
    assert one.reading.gated is None
    assert not one.reading.prob[9].any()
    assert one.reading.prob[:9].any(1).all()
    assert novelty_limits.unnamed([one]).value == pytest.approx(0.1)
    assert novelty_limits.judged(with_novelty([1.8] * 9), Limits(2.0, 1.5)).reading.gated == "unfamiliar"
    assert novelty_limits.judged(with_novelty([1.8] * 7), Limits(2.0, 1.5)).reading.gated is None  # too few to say
