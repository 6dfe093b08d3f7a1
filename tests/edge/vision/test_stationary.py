"""Dirt that does not move: found, masked and taken out of the counts; cells are not dirt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.dirt import identities, measured, on_dirt, opened, read, slide_of
from benchmarks.realdata import data_folder
from edge.batch.scan import scan
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.camera.virtual.dirt import Dirt
from edge.camera.virtual.layout import SlideSpec, View
from edge.camera.virtual.slide import Slide
from edge.config.model import Config, ModelsConfig
from edge.pipeline import Pipeline
from edge.screening.accumulator import Accumulator
from edge.screening.verdict import VerdictRules
from edge.types import CLASSES, Exclusion
from edge.vision.stationary.tracks import Boxes, Tracks

NEEDLE = Dirt(0.25, 0.2, 60.0, 3.0, turned_deg=70.0, density=0.6)


@pytest.fixture(scope="module")
def knowing() -> Iterator[Pipeline]:
    """Give a pipeline whose detector knows the virtual slide's truth."""
    with opened(networks=False) as pipeline:
        yield pipeline


@pytest.mark.parametrize("seed", [0, 121])
def test_dirt_is_masked_counted_in_no_class_and_costs_no_clear_cell(knowing: Pipeline, seed: int) -> None:
    """Two of the 200 slides of `python -m benchmarks.dirt`; on seed 0 a needle is masked piece by piece."""
    row = measured(knowing, seed)
    assert row["clean_masked"] == 0
    assert row["masked"] > 0
    assert row["dirt_counted"] == 0
    assert row["lost_clear"] <= 0.005 * row["clear"]


@pytest.mark.parametrize("seed", [15, 16])
def test_a_view_that_stands_still_never_makes_cells_into_dirt(knowing: Pipeline, seed: int) -> None:
    row = measured(knowing, seed)
    assert row["steps"] == "still"
    assert (row["clean_masked"], row["masked"]) == (0, 0)


def test_a_view_that_comes_back_to_two_places_never_makes_cells_into_dirt(knowing: Pipeline) -> None:
    there = View(0.0, 0.0), View(400.0, 0.0)
    slide = Slide(SlideSpec(seed=3, width=480, height=360, views=there * 6))
    run = read(knowing, slide)
    assert run.mask is None
    assert len(run.counted) == pytest.approx(len({one for one in identities(run, slide).values() if one}), abs=2)


@pytest.mark.parametrize("step_um", [12.0, 60.0])
def test_a_view_that_goes_to_and_fro_between_overlapping_places_never_makes_cells_into_dirt(
    knowing: Pipeline, step_um: float
) -> None:
    """Kind: cells lay elsewhere in the view before, so each return counted as a place of its own."""
    there = View(0.0, 0.0), View(step_um, 0.0)
    slide = Slide(SlideSpec(seed=3, width=480, height=360, cells_per_mm2=9000.0, views=there * 5))
    assert read(knowing, slide).mask is None


def test_a_cell_found_at_the_end_of_a_masked_needle_is_taken_out(knowing: Pipeline) -> None:
    """On seed 20 one box, on seed 61 two lay at the edge of what was masked later, and counted."""
    row = measured(knowing, 61)
    assert (row["clean_masked"], row["dirt_counted"]) == (0, 0)


def test_the_mask_lies_on_the_dirt_and_is_told_with_its_place(knowing: Pipeline) -> None:
    slide = Slide(replace(slide_of(0, False), dirt=(NEEDLE,)))
    run = read(knowing, slide)
    dirt = on_dirt(slide)
    assert run.mask is not None
    assert run.mask[slide.dirt(13) > 0.3].mean() > 0.9
    assert run.mask[~dirt].mean() < 0.01
    masked = knowing._dirt.masked()
    assert masked is not None
    assert masked.where == "upper left"
    knowing.new_sample(each_cell_once=True)
    assert knowing.hidden_part(stamped(slide.render(0), 0, "", 0.25)) is None  # proved anew in each sample


def test_counts_are_corrected_once_and_add_up_with_the_shipped_networks() -> None:
    """And a result with more than 3 % of its frames hidden is withheld."""
    broad = tuple(replace(NEEDLE, x=x, y=0.5, width_um=6.0) for x in (0.2, 0.5, 0.8))
    with Pipeline(Config(models=ModelsConfig(threads=1))) as pipeline:
        for dirt, status in ((NEEDLE,), "reported"), (broad, "withheld"):
            slide = Slide(replace(slide_of(0, False), dirt=dirt))
            pipeline.new_sample(each_cell_once=True)
            sample, counted, was_gone = Accumulator(VerdictRules(100, 5000, 0.004)), dict[int, int](), 0
            for index in range(9):
                reading = pipeline.read(stamped(slide.render(index), index, "", 0.25))
                sample.add(reading)
                assert reading.change is not None
                counted |= dict(zip(reading.change.numbers.tolist(), reading.change.label.tolist(), strict=True))
                for number in reading.change.gone.tolist():
                    was_gone += counted.pop(number, None) is not None
            assert was_gone > 0
            counts = sample.counts()  # which raises where they do not add up
            assert sum(counts.by_class.values()) + counts.excluded[Exclusion.ABSTAINED.value] == len(counted)
            labels = list(counted.values())
            assert [labels.count(index) for index in range(len(CLASSES))] == list(counts.by_class.values())
            verdict = sample.verdict()
            assert "dirt" in verdict.flags
            assert verdict.status == status


def test_the_pointer_in_each_spherocytosis_field_is_found_and_no_longer_counted() -> None:
    folder = data_folder() / "chula_rbc12" / "diseases" / "spherocytosis"
    fields = sorted(folder.glob("*.jpg"))
    if not fields:
        pytest.skip(f"no pictures in {folder}: set SICKLESCOPE_DATA to the folder of the data sets")
    with Pipeline(Config(models=ModelsConfig(threads=1))) as pipeline:
        pipeline.new_sample(each_cell_once=True)
        readings = [pipeline.read(stamped(read_image(path, 64), index, path.name)) for index, path in enumerate(fields)]
    masked = readings[-1].masked
    assert masked is not None
    assert masked.where in ("right", "right, lower right", "lower right")
    assert masked.share < 0.03
    assert all(reading.masked is None for reading in readings[:3])
    assert readings[5].masked is not None
    gone = sum(len(reading.change.gone) for reading in readings if reading.change)
    assert gone >= 10, "what was counted on the pointer before"


def test_boxes_at_one_place_by_chance_are_not_sure() -> None:
    """Kind: a coincidence taken for a fact; 100 views of 90 cells each, and one place that comes back."""
    rng = np.random.default_rng(5)
    for dirty in (False, True):
        tracks, sure = Tracks(), []
        for view in range(100):
            at = rng.uniform(0, [640, 480], (90, 2))
            if dirty and rng.random() < 0.6:
                at[0] = rng.normal((300, 200), 1.0)
            boxes = np.concatenate([at - 15, at + 15], 1) + rng.normal(0, 1.0, (90, 4))
            sure += tracks.add(view, Boxes.of(boxes.astype(np.float32)), 0.25, 640 * 480)
        assert len(sure) >= 1 if dirty else not sure
        assert all(abs(x0 + 15 - 300) < 4 and abs(y0 + 15 - 200) < 4 for x0, y0, _, _ in (one.box for one in sure))


def test_a_folder_read_as_one_sample_tells_of_its_dirt(tmp_path: Path) -> None:
    slide = Slide(replace(slide_of(0, False), dirt=(NEEDLE,)))
    for index in range(9):
        cv2.imwrite(str(tmp_path / f"{index}.png"), slide.render(index)[:, :, ::-1])
    summary = scan([tmp_path], tmp_path / "out", Config(models=ModelsConfig(threads=1)), one_sample=True)
    assert summary.masked is not None
    assert summary.masked.where == "upper left"
    assert "dirt" in summary.verdict.flags
    assert "Dirt or a pointer, upper left: " in (tmp_path / "out" / "report.html").read_text("utf-8")
