"""Clocks that are wrong, jump, or begin anew: nothing that is ordered, measured or named depends on wall time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge.publish import composer as composer_module
from edge.publish.composer import HISTORICAL_MS, Composer
from edge.service.service import Service
from edge.types import Frame
from tests.edge.publish.publish_parts import DEVICE
from tests.edge.service.service_parts import Scripted, configured, outcome_of
from tests.mosquitto import Listener, Mosquitto, wait_for

pytestmark = pytest.mark.faults

Start = Callable[..., Mosquitto]

TEN_YEARS = timedelta(days=3652)


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS], ids=["forward", "back"])
def test_a_clock_that_jumps_in_mid_sample_changes_no_count_order_or_duration(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    broker = start_mosquitto()
    shift = timedelta()

    class Jumping(Scripted):
        """Its frames say what the clock says."""

        def read(self) -> Frame | None:
            nonlocal shift
            frame = super().read()
            if self.index == 5:
                shift = jump
            return frame and Frame(frame.pixels, frame.index, frame.captured_at + shift, frame.monotonic_s, frame.name)

    monkeypatch.setattr("edge.service.service.open_camera", lambda *_: Jumping(lambda _: time.sleep(0.02)))
    wall = time.time
    monkeypatch.setattr("edge.service.service.Composer", partial(Composer, wall=lambda: wall() + shift.total_seconds()))
    monkeypatch.setattr(time, "time", lambda: wall() + shift.total_seconds())
    with Listener(broker.host, broker.port) as dashboard:
        began = time.monotonic()
        outcome = outcome_of(Service(configured(tmp_path, broker.port), "J"))
        took_s = time.monotonic() - began
        (result,) = wait_for(lambda: dashboard.of("result"))
        wait_for(lambda: dashboard.states()[-1:] == ["stopped"])
    assert (outcome.frames, outcome.fate, outcome.fault) == (10, "taken", None)
    assert 0.15 < result["duration_s"] < took_s
    assert abs(result["ended_ms"] - result["started_ms"] - jump.total_seconds() * 1000) < took_s * 1000
    messages = [message for _, message, _ in dashboard.seen]
    assert not any(message["historical"] for message in messages)
    by_seq = sorted(messages, key=lambda message: message["seq"])
    assert [message["uptime_ms"] for message in by_seq] == sorted(message["uptime_ms"] for message in messages)
    assert len({message["seq"] for message in messages}) == len(messages)


class Clocks(RuleBasedStateMachine):
    """Any order of messages, waits, jumps of the clock, and starts of program and device."""

    def __init__(self) -> None:
        super().__init__()
        self.wall_s, self.uptime_s, self.boots = 1_790_000_000.0, 30.0, 1
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(composer_module, "boot_id", lambda: f"boot {self.boots}")
        self.made: list[tuple[int, int, str]] = []
        self.start_program()

    @rule()
    def start_program(self) -> None:
        self.wait(0.5)
        self.composer = Composer(
            DEVICE, wall=lambda: self.wall_s, monotonic=lambda: self.uptime_s, synchronised=lambda: True
        )

    @rule(off_s=st.floats(0, 1e7), uptime_s=st.floats(1, 100))
    def start_device(self, off_s: float, uptime_s: float) -> None:
        self.wall_s += off_s
        self.boots, self.uptime_s = self.boots + 1, uptime_s
        self.start_program()

    @rule(seconds=st.sampled_from([0.001, 1.0, 9.9, 10.2, 3600.0, 1e6]))
    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.uptime_s += seconds

    @rule(seconds=st.floats(-3e8, 3e8))
    def set_the_clock(self, seconds: float) -> None:
        self.wall_s = max(0.0, self.wall_s + seconds)

    @rule(messages=st.integers(1, 20))
    def make_messages(self, messages: int) -> None:
        for _ in range(messages):
            self.wait(0.001)  # a thousand in a second: more than any program makes
            message = self.composer.event("info", "tick", '"historical":false')
            self.made.append((self.boots, int(self.uptime_s * 1000), message.to_json()))

    @invariant()
    def boot_and_number_name_and_order_every_message(self) -> None:
        numbers = [(boot, json.loads(payload)["seq"]) for boot, _, payload in self.made]
        assert numbers == sorted(set(numbers))

    @invariant()
    def what_leaves_late_is_marked_and_else_unchanged(self) -> None:
        for boot, uptime_ms, payload in self.made[-30:]:
            leaving, historical = self.composer.dated(payload)
            age_ms = int(self.uptime_s * 1000) - uptime_ms
            assert historical == (boot != self.boots or age_ms > HISTORICAL_MS)
            assert json.loads(leaving) == {**json.loads(payload), "historical": historical}

    def teardown(self) -> None:
        self.patch.undo()


TestClocks = Clocks.TestCase
TestClocks.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
