"""The replay of a perfect reviewer counts what a gallery offers: called, abstained, and normal cells, each box once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.review import cells_to_look_at, offered, rows
from edge.types import CLASSES
from training.data.datasets import LabelledField
from training.evaluate.predictions import PredictedCells, Prediction

NORMAL, SICKLE = CLASSES.index("normal"), CLASSES.index("sickle")


def field(label: str, names: str, boxes: list[int]) -> Prediction:
    """Return a field with cells in a row; names: n normal, s sickle-like, a abstained; boxes: which are boxed."""
    prob = np.zeros((len(names), len(CLASSES)), np.float32)
    for row, name in enumerate(names):
        prob[row, SICKLE if name == "s" else NORMAL] = 0.3 if name == "a" else 1.0
    x = 20.0 * np.arange(len(names), dtype=np.float32)
    places = np.stack([x, np.zeros_like(x), x + 10, np.full_like(x, 10)], 1)
    reading = PredictedCells(
        "key", (10, 20 * len(names)), 0.25, None, None, places, np.ones(len(names), np.float32), prob,
        np.zeros(len(names), bool), np.zeros(len(names), np.int8), np.zeros(len(names), np.float32),
    )  # fmt: skip
    labelled = LabelledField(
        "uganda_scd", Path("1.jpg"), label, 0, label, places[boxes].reshape(-1, 4), np.ones(len(boxes), int),
        np.zeros(len(boxes), bool), np.zeros((0, 3), np.float32),
    )  # fmt: skip
    return Prediction(labelled, reading)


def test_each_box_is_found_by_the_device_or_offered_or_among_the_normal_cells() -> None:
    found = offered(field("positive", "ssaannnnnn", [0, 2, 5]), 0.5)
    assert (found.red, found.called, found.abstained, found.normal) == (10, 2, 2, 6)
    assert (found.boxes, found.in_called, found.in_abstained, found.in_normal) == (3, 1, 1, 1)


def test_the_cells_to_look_at_are_those_of_a_sample_of_the_target() -> None:
    fields = [offered(field("negative", "s" + "n" * 99, []), 0.5)]
    assert cells_to_look_at({"a": fields, "too few cells": [offered(field("negative", "snn", []), 0.5)]}) == [110.0]


def test_what_is_printed_names_the_bound() -> None:
    seen = [field("positive", "ss" + "a" * 8 + "n" * 90, [0, 2, 15]), field("negative", "s" + "n" * 99, [])]
    said = dict(rows(seen, {0: 0.5}))
    assert said["boxes that the device calls"].startswith("0.333")
    assert said["boxes that are offered"].startswith("0.667")
    assert said["false calls of the device on negative fields"] == "1 of 100 red cells (1.00%)"
    assert said["cells to look at, 1000 red cells like positive fields"].startswith("median 200")
