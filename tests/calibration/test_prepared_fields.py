"""The INT8 gate reads as the device reads: the same stages, the same limits, so that what breaks one breaks both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.int8.agreement import InMemoryNetwork
from calibration.int8.gate_list import GatePicture
from calibration.int8.onnx_graph import load
from calibration.int8.paired_predictions import SCORE_FLOOR, read_both
from edge.camera.frames import stamped
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import Config
from edge.errors import InputError
from edge.pipeline import Pipeline
from edge.runtime.contract import ROLES, SHIPPED_DIR
from edge.system.digest import sha256_file
from edge.types import Field, FieldReading, Pixels, Reason, Rejection
from edge.vision import flat_field, prepare, quality
from edge.vision.classify import LazyClassification

Break = Callable[[pytest.MonkeyPatch], None]

FAR = Rejection(Reason.UNFAMILIAR, 9.0, 1.0)


@pytest.fixture(scope="module")
def networks() -> Iterator[tuple[InMemoryNetwork, InMemoryNetwork]]:
    detector, classifier = (InMemoryNetwork(*load(SHIPPED_DIR / f"{role}.onnx")) for role in ROLES)
    yield detector, classifier
    detector.close()
    classifier.close()


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return Slide(SlideSpec(seed=4, um_per_px=0.2)).render(0)


@pytest.fixture
def picture(pixels: Pixels, tmp_path: Path) -> GatePicture:
    path = tmp_path / "field.png"
    assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return GatePicture(picture=path, sha256=sha256_file(path), kind="unlabelled")


def device(networks: Any, pixels: Pixels) -> FieldReading:
    return Pipeline(Config(), networks).read(stamped(pixels, 0, "#0"))


def gate(networks: Any, picture: GatePicture) -> np.ndarray | str:
    """Return the boxes of whole cells that the gate sees from the device's score on, or the reason of a refusal."""
    detector, classifier = networks
    try:
        rows, _ = read_both([picture], detector, detector, classifier, Config(), lambda *_: None)
    except InputError as error:
        return str(error)
    seen = rows[0].fp32.above(detector.contract.thresholds["score"])
    return np.asarray(seen.boxes[~seen.border])


def dimmed(original: Callable[..., Field]) -> Callable[..., Field]:
    def canonical_field(*args: Any) -> Field:
        field = original(*args)
        return replace(field, pixels=(field.pixels[::-1] // 2).copy())

    return canonical_field


BROKEN: dict[str, tuple[Break, str]] = {
    "light": (lambda m: m.setattr(quality, "light", lambda *_: (0.0, 0.0)), "under_exposed"),
    "crop": (lambda m: m.setattr(prepare, "cropped", lambda p, v: (p[60:], v, (0, 60))), ""),
    "optics": (lambda m: m.setattr(flat_field.FrameOptics, "corrected", lambda _, p: p[::-1]), ""),
    "scale": (lambda m: m.setattr(prepare, "canonical_field", dimmed(prepare.canonical_field)), ""),
    "sharpness": (lambda m: m.setattr(quality, "edges", lambda _: (9.0, 0.0, 0.0)), "out_of_focus"),
    "density": (lambda m: m.setattr(quality, "crowding", lambda *_: (900.0, 1.0)), "crowded"),
    "familiarity": (lambda m: m.setattr(LazyClassification, "unfamiliar", lambda *_: FAR), "unfamiliar"),
}
"""By stage: what breaks it, and the reason by which a field is refused then, or "" where it is read otherwise."""


@pytest.mark.parametrize("stage", BROKEN)
def test_a_broken_stage_changes_what_the_device_reads_and_what_the_gate_reads(
    stage: str, networks: Any, pixels: Pixels, picture: GatePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a check that repeats by hand what it checks, and goes on passing when that has changed."""
    before, same = device(networks, pixels), gate(networks, picture)
    assert before.rejected is None
    assert np.allclose(same, before.boxes), "whole, the gate reads the very cells that the device reads"
    breaking, reason = BROKEN[stage]
    breaking(monkeypatch)
    after, then = device(networks, pixels), gate(networks, picture)
    if reason:
        assert after.rejected is not None
        assert after.rejected.reason.value == reason
        assert isinstance(then, str)
        assert reason in then
    else:
        assert len(after.boxes) != len(before.boxes) or not np.allclose(after.boxes, before.boxes)
        assert np.allclose(then, after.boxes)


def test_a_field_that_only_one_of_the_two_would_refuse_is_all_lost_cells(
    networks: Any, picture: GatePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An INT8 classifier that takes every field for unfamiliar reads nothing on a device, and must not pass."""
    detector, classifier = networks
    int8 = InMemoryNetwork(*load(SHIPPED_DIR / "classifier.onnx"))
    limits = {**int8.contract.thresholds, "novelty_field": 0.0}
    int8.contract = int8.contract.model_copy(update={"thresholds": limits})
    rows, left_out = read_both([picture], classifier, int8, detector, Config(), lambda *_: None)
    assert len(rows[0].fp32.boxes) > 20
    assert len(rows[0].int8.boxes) == 0
    assert not left_out
    assert rows[0].fp32.score.min() >= detector.contract.thresholds["score"] * SCORE_FLOOR
