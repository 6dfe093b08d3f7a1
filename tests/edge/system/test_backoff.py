"""Waits double up to a limit, and begin anew after a reset."""

from __future__ import annotations

from edge.system.backoff import Backoff


def test_waits_double_up_to_the_limit_and_begin_anew() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_s() == 0.5
