"""The look at single cells: in colour and in grey, each picture once, in one line of the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.training_parts import write

pytest.importorskip("torch", reason="torch not installed (make test-training)")

from edge.types import CLASSES, Floats, Pixels
from training.evaluate import holdout
from training.evaluate.predictions import SICKLE
from training.run_folder import RunDir

pytestmark = pytest.mark.training


def cells(root: Path) -> Path:
    """Write one stained cell of each label; returns the folder of the sets."""
    pixels = np.full((80, 80, 3), (230, 220, 210), np.uint8)
    pixels[20:60, 30:50] = (180, 90, 120)
    labels = ("circular", "elongated", "other")
    for label in labels:
        write(root / f"erythrocytes_idb1/color/{label}.png", pixels)
    rows = "".join(f"color/{label}.png,{label},0\n" for label in labels)
    (root / "erythrocytes_idb1/cells.csv").write_text(f"path,label,fold\n{rows}")
    return root


class SeesColour:
    """Takes whatever has colour for a sickle cell, and nothing else."""

    asked: list[Pixels]

    def __init__(self, *_: Path) -> None:
        SeesColour.asked = []

    def crop(self, pixels: Pixels, um_per_px: float) -> Floats:
        assert um_per_px == 0.15
        SeesColour.asked.append(pixels)
        grey = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
        row: np.ndarray = np.eye(len(CLASSES), dtype=np.float32)[0 if grey else SICKLE]
        return row


def test_a_look_is_made_in_colour_and_in_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdout, "FieldReader", SeesColour)
    figures = holdout.held_out_evaluation(RunDir(tmp_path), cells(tmp_path), 0.8)
    assert len(SeesColour.asked) == 6  # of three cells
    assert figures["recall_elongated"].counted == "1 of 1"
    assert figures["sickle_calls_circular"].counted == "1 of 1"
    assert figures["recall_elongated_in_grey"].counted == "0 of 1"
    assert figures["sickle_calls_circular_in_grey"].counted == "0 of 1"
    assert figures["balanced_accuracy_in_grey"].value == 0.5


def test_both_are_logged_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdout, "FieldReader", SeesColour)
    page = tmp_path / "looks.md"
    for _ in range(2):
        holdout.log_evaluation(page, 0.8, holdout.held_out_evaluation(RunDir(tmp_path), cells(tmp_path), 0.8))
    lines = [line for line in page.read_text().splitlines() if "0.800000" in line]
    assert len(lines) == 2
    assert "balanced accuracy 0.500 (3 cells)" in lines[0]
    assert "balanced accuracy in grey 0.500 (3 cells)" in lines[0]


def test_grey_is_how_light_a_picture_is() -> None:
    red, green = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    red[..., 0], green[..., 1] = 200, 200
    assert holdout.luminance(red)[0, 0].tolist() == [60, 60, 60]  # 0.299 of 200
    assert holdout.luminance(green)[0, 0].tolist() == [117, 117, 117]  # 0.587
