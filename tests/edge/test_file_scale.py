"""Kind: a file states the size of its pixels, truly or not, and the count must follow the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile

from edge.camera.decode.reader import read_pictures
from edge.camera.frames import frame_of
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import Config, OpticsConfig
from edge.pipeline import Pipeline
from edge.types import FieldReading, Pixels


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return Slide(SlideSpec(seed=0, width=960, height=540, um_per_px=0.15, stain="wright")).render(0)


def reading(tmp_path: Path, picture: Pixels, um_per_px: float, config: Config) -> FieldReading:
    per_cm = 1e4 / um_per_px
    tifffile.imwrite(
        tmp_path / "a.tif", picture, photometric="rgb", resolution=(per_cm, per_cm), resolutionunit="CENTIMETER"
    )
    (found,) = read_pictures(tmp_path / "a.tif", 64)
    with Pipeline(config) as pipeline:
        return pipeline.read(frame_of(found, 0))


def test_the_size_that_a_file_states_is_used_and_named(tmp_path: Path, picture: Pixels) -> None:
    read = reading(tmp_path, picture, 0.16, Config())
    assert read.scale is not None
    assert read.scale.source == "file"
    assert read.scale.um_per_px == pytest.approx(0.16, rel=1e-4)
    assert "file_scale_disagrees" not in read.flags


def test_a_size_that_the_cells_dispute_is_flagged_and_theirs_is_used(tmp_path: Path, picture: Pixels) -> None:
    read = reading(tmp_path, picture, 0.5, Config())
    assert read.scale is not None
    assert read.scale.source == "estimated"
    assert read.scale.um_per_px == pytest.approx(0.15, rel=0.2)
    assert "file_scale_disagrees" in read.flags


def test_a_configured_size_stands_above_the_files(tmp_path: Path, picture: Pixels) -> None:
    read = reading(tmp_path, picture, 0.5, Config(optics=OpticsConfig(um_per_px=0.15)))
    assert read.scale is not None
    assert read.scale.source == "configured"
    assert read.scale.um_per_px == 0.15
    assert "file_scale_disagrees" not in read.flags
