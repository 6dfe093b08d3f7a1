"""The known truth of the virtual slide, end to end: what the service counts is what was rendered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import CameraConfig, Config, DeviceConfig, MqttConfig, ScreeningConfig, StopConfig
from edge.service.outcome import Outcome
from edge.service.service import Service
from edge.types import RED_CELLS
from tests.edge.service.service_parts import outcome_of

FIELDS = 30
"""Of some 80 red cells each: two per cent of them are more than chance alone makes."""


@dataclass(frozen=True)
class Told:
    """What the service said of a slide, and what is true of it."""

    outcome: Outcome
    red: int
    fraction: float


@pytest.fixture(scope="module", params=range(5))
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    seed: int = request.param
    state_dir: Path = tmp_path_factory.mktemp("state")
    config = Config(
        device=DeviceConfig(state_dir=state_dir),
        camera=CameraConfig(kind="virtual", seed=seed, frames=FIELDS),
        screening=ScreeningConfig(start="at_once", stop=StopConfig(at_target=False)),
        mqtt=MqttConfig(enabled=False),
    )
    outcome = outcome_of(Service(config))
    slide = Slide(SlideSpec(seed=seed, n_fields=FIELDS))
    truth = [cell for index in range(FIELDS) for cell in slide.truth(index) if cell.fully_visible]
    red = [cell for cell in truth if cell.class_name in RED_CELLS]
    return Told(outcome, len(red), sum(cell.class_name == "sickle" for cell in red) / len(red))


def test_every_red_cell_is_seen_once_and_the_bounds_hold_the_truth(told: Told) -> None:
    outcome, verdict = told.outcome, told.outcome.verdict
    assert outcome.fault is None
    assert outcome.frames == outcome.counts.fields_read == FIELDS
    assert outcome.dropped == 0
    assert outcome.counts.rejected == dict.fromkeys(outcome.counts.rejected, 0)
    by_class, excluded = outcome.counts.by_class, outcome.counts.excluded
    assert outcome.counts.cells_seen == sum(by_class.values()) + sum(excluded.values())
    assert outcome.counts.area_mm2 == pytest.approx(FIELDS * 640 * 480 * (0.25e-3) ** 2)
    assert outcome.counts.red_cells + excluded["abstained"] == pytest.approx(told.red, rel=0.02)
    assert verdict.status == "reported"
    assert verdict.low is not None
    assert verdict.fraction_if_all is not None
    assert verdict.low <= told.fraction <= verdict.fraction_if_all * 1.1


def test_red_cells_are_counted_within_two_per_cent(told: Told) -> None:
    assert told.outcome.counts.red_cells == pytest.approx(told.red, rel=0.02)


def test_the_fraction_is_that_of_the_slide(told: Told) -> None:
    verdict = told.outcome.verdict
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= told.fraction <= verdict.high
