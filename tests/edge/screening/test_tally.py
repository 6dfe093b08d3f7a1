"""The tally adds up or refuses to answer; the field score depends on the cells alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import TallyError
from edge.screening.tally import Tally, field_score
from edge.types import ABSTAINED, CLASSES, FieldReading, Reason, Rejection, unread

LABELS = st.lists(st.integers(ABSTAINED, len(CLASSES) - 1), max_size=40)


def reading(labels: list[int], border: int = 0) -> FieldReading:
    n = len(labels)
    return replace(
        unread("field", 0, Rejection(Reason.EMPTY, 0.0, 0.0)),
        rejected=None,
        boxes=np.zeros((n, 4), np.float32),
        score=np.ones(n, np.float32),
        prob=np.full((n, len(CLASSES)), 1 / len(CLASSES), np.float32),
        label=np.array(labels, np.int8),
        border=border,
        area_mm2=0.02,
    )


@given(st.lists(st.tuples(LABELS, st.integers(0, 9)), max_size=8))
def test_every_cell_seen_is_counted_or_excluded(fields: list[tuple[list[int], int]]) -> None:
    tally = Tally()
    for labels, border in fields:
        tally.add(reading(labels, border))
    counts = tally.counts()
    every = [label for labels, _ in fields for label in labels]
    assert counts.cells_seen == len(every) + sum(border for _, border in fields)
    assert counts.cells_seen == sum(counts.by_class.values()) + sum(counts.excluded.values())
    assert counts.by_class == {name: every.count(i) for i, name in enumerate(CLASSES)}
    assert counts.excluded == {"abstained": every.count(ABSTAINED), "border": sum(border for _, border in fields)}
    assert counts.red_cells == sum(label in (0, 1, 2) for label in every)
    assert counts.area_mm2 == pytest.approx(0.02 * len(fields))


def test_a_cell_lost_between_two_stages_is_an_error_and_no_smaller_count() -> None:
    tally = Tally()
    tally.add(reading([0, 1, 2]))
    tally.counts()
    tally.add(replace(reading([0, 1]), label=np.array([0], np.int8)))
    with pytest.raises(TallyError, match="5 cells seen; 4 counted"):
        tally.counts()


def test_a_label_that_is_no_class_is_an_error() -> None:
    tally = Tally()
    tally.add(reading([len(CLASSES)]))
    with pytest.raises(TallyError, match="do not add up"):
        tally.counts()


def test_rejected_frames_are_counted_by_reason_and_add_nothing_else() -> None:
    tally = Tally()
    tally.add(reading([0] * 5, border=2))
    for reason in (Reason.MOTION, Reason.MOTION, Reason.EMPTY):
        tally.add(replace(reading([]), border=3, area_mm2=1.0, rejected=Rejection(reason, 2.0, 1.0)))
    counts = tally.counts()
    assert (counts.cells_seen, counts.fields_read) == (7, 1)
    assert counts.area_mm2 == pytest.approx(0.02)
    assert {name: n for name, n in counts.rejected.items() if n} == {"motion": 2, "empty": 1}
    assert set(counts.rejected) == {reason.value for reason in Reason}


def test_counts_that_left_are_not_changed_by_the_next_field() -> None:
    tally = Tally()
    tally.add(reading([1]))
    before = tally.counts()
    tally.add(reading([1, 1]))
    assert before.by_class["sickle"] == 1


PROBABILITIES = st.lists(st.floats(0, 1, width=32), max_size=60)


@given(PROBABILITIES, st.integers(0, 500))
def test_field_score_lies_in_0_1_and_knows_no_order(p: list[float], n_red: int) -> None:
    score = field_score(np.array(p, np.float32), n_red)
    assert 0.0 <= score < 1.0
    assert field_score(np.array(sorted(p), np.float32), n_red) == pytest.approx(score)


@given(PROBABILITIES, st.integers(0, 500), st.floats(0.125, 1, width=32))
def test_field_score_rises_with_one_more_sickle_cell(p: list[float], n_red: int, more: float) -> None:
    assert field_score(np.array([*p, more], np.float32), n_red) > field_score(np.array(p, np.float32), n_red)


def test_field_score_without_sickle_like_cells_is_zero_however_many_cells() -> None:
    assert field_score(np.zeros(0, np.float32), 0) == 0.0
    assert field_score(np.zeros(300, np.float32), 300) == 0.0
    # 300 cells that are each a little like one weigh less than one that surely is.
    assert field_score(np.full(300, 0.03, np.float32), 300) < field_score(np.ones(1, np.float32), 300)
