"""Drawn artefacts: each kind shows, cells beside them stay, and answers by eye correct what a field teaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.camera.virtual.artefacts import ARTEFACTS
from tests.training.training_parts import rendered
from training.data import dirt
from training.data.datasets import LabelledField
from training.data.dirt import dirtied, scattered
from training.data.fields import TrainingField, corrected


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_each_kind_shows_and_differs_from_draw_to_draw(kind: str) -> None:
    drawn = [ARTEFACTS[kind](np.random.default_rng(seed), 96, 0.25) for seed in range(6)]
    for density in drawn:
        assert density.shape == (96, 96, 3)
        assert np.isfinite(density).all()
        assert np.abs(density).max() > 0.02
    assert len({density.tobytes() for density in drawn}) == 6


def test_dirt_comes_on_ground_and_beside_cells_but_not_in_place_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirt, "ON_GROUND", 1.0)
    monkeypatch.setattr(dirt, "ON_CELLS", 1.0)
    monkeypatch.setattr(dirt, "THIN", ())
    blank = np.full((60, 96, 96, 3), 220, np.uint8)
    ground, cell = np.arange(60) < 20, (np.arange(60) >= 20) & (np.arange(60) < 40)
    out = dirtied(blank, ground, cell, np.random.default_rng(0)).astype(int)
    middle = np.abs(out[:, 42:54, 42:54] - 220).max((1, 2, 3))
    assert (middle[:20] > 5).mean() > 0.7
    assert np.median(middle[20:40]) < np.median(middle[:20])
    assert (out[40:] == 220).all()
    assert (blank == 220).all()


def test_dirt_on_a_field_leaves_most_of_it() -> None:
    pixels, _ = rendered(1, 256)
    out = scattered(pixels, 3, np.random.default_rng(1))
    changed = (out != pixels).any(2).mean()
    assert 0 < changed < 0.9
    assert out.shape == pixels.shape


def test_an_answer_takes_the_box_away_that_it_lies_in() -> None:
    boxes = np.array([[10, 10, 30, 30], [22, 10, 42, 30], [60, 60, 80, 80], [90, 90, 99, 99]], np.float32)
    source = LabelledField("krd_wbc", Path("a"), "k0", 0, "negative", np.zeros((0, 4), np.float32), np.zeros(0, int),
                           np.zeros(0, bool), np.zeros((0, 3), np.float32))  # fmt: skip
    source = replace(source, answers=((46.0, 40.0, "none"), (140.0, 140.0, "white"), (190.0, 190.0, "cell")))
    faint = np.array([[18, 15, 28, 25]], np.float32)
    field = corrected(TrainingField(source, np.zeros((200, 200, 3), np.uint8), boxes, np.zeros(4, int), faint, 2.0))
    assert field.boxes.tolist() == [boxes[1].tolist(), boxes[3].tolist()]
    assert field.ignore.tolist() == [boxes[2].tolist()]
