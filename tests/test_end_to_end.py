"""The known truth of the virtual slide, end to end: what the service counts is what was rendered."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.camera.slide import SlideSpec
from edge.camera.virtual import Slide
from edge.config import CameraConfig, Config, DeviceConfig, MqttConfig
from edge.service import Service
from edge.types import RED_CELLS

FIELDS = 30
"""Of some 80 red cells each: two per cent of them are more than chance alone makes."""


@pytest.mark.parametrize("seed", range(5))
def test_the_count_and_the_fraction_are_those_of_the_slide(tmp_path: Path, seed: int) -> None:
    config = Config(
        device=DeviceConfig(state_dir=tmp_path),
        camera=CameraConfig(kind="virtual", seed=seed, frames=FIELDS),
        mqtt=MqttConfig(enabled=False),
    )
    outcome = Service(config).run()
    slide = Slide(SlideSpec(seed=seed, n_fields=FIELDS))
    truth = [cell for index in range(FIELDS) for cell in slide.truth(index) if cell.fully_visible]
    red = [cell for cell in truth if cell.class_name in RED_CELLS]
    fraction = sum(cell.class_name == "sickle" for cell in red) / len(red)

    assert outcome.fault is None
    assert outcome.frames == outcome.counts.fields_read == FIELDS
    assert outcome.dropped == 0
    assert outcome.counts.rejected == dict.fromkeys(outcome.counts.rejected, 0)
    by_class, excluded = outcome.counts.by_class, outcome.counts.excluded
    assert outcome.counts.cells_seen == sum(by_class.values()) + sum(excluded.values())
    assert outcome.counts.red_cells == pytest.approx(len(red), rel=0.02)
    assert outcome.verdict.status == "reported"
    assert outcome.verdict.low is not None
    assert outcome.verdict.high is not None
    assert outcome.verdict.low <= fraction <= outcome.verdict.high
    assert outcome.counts.area_mm2 == pytest.approx(FIELDS * 640 * 480 * (0.25e-3) ** 2)
