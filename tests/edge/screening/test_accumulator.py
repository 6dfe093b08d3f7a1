"""What was read of a sample, and the verdict that follows: the same for a service and for a scan of files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.screening.accumulator import Accumulator
from edge.screening.verdict import VerdictRules
from edge.types import Reason, Rejection, Scale, ScaleSource, unread

RULES = VerdictRules(500, 1000, 0.004)


def read(source: ScaleSource, **more: object) -> object:
    nothing = unread("f", 0, Rejection(Reason.EMPTY, 0.0, 1.0))
    return replace(nothing, rejected=None, scale=Scale(0.1, source), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sources", "flagged"),
    [(["configured"], False), (["calibrated"], False), (["estimated", "calibrated"], True), (["locked"], True)],
)
def test_one_field_of_an_estimated_scale_is_enough_for_the_flag(sources: list[ScaleSource], flagged: bool) -> None:
    accumulator = Accumulator(RULES)
    for source in sources:
        accumulator.add(read(source))  # type: ignore[arg-type]
    assert ("scale_estimated" in accumulator.verdict().flags) is flagged
    assert accumulator.scale == Scale(0.1, sources[-1])


def test_what_was_read_earlier_is_gone_on_from() -> None:
    first = Accumulator(RULES, flags=["control_overdue"])
    first.add(read("locked", flags=("calibration_expired",)))  # type: ignore[arg-type]
    further = Accumulator(RULES, first.counts(), first.scale, first.flags)
    assert further.verdict() == first.verdict()
    assert further.counts().fields_read == 1
    assert {"control_overdue", "calibration_expired", "scale_estimated"} <= set(further.verdict().flags)
