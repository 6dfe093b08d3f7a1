"""The measure of benchmarks.repeats: what is added where the best picture shows the slide, and nothing else."""

from __future__ import annotations

import cmath

import numpy as np

from benchmarks.repeats import Added, carried_over, middles
from training.metrics import iou


def test_boxes_are_carried_to_another_picture_by_the_cells_in_common() -> None:
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 500, 20) + 1j * rng.uniform(0, 500, 20)
    there = cmath.rect(1.04, 0.1) * at + (30 - 12j)
    boxes, host = (
        np.stack([z.real - 8, z.imag - 8, z.real + 8, z.imag + 8], 1).astype(np.float32) for z in (at, there)
    )
    ids = np.arange(20)
    carried = carried_over(boxes, ids, host[5:15], ids[5:15])
    assert carried is not None
    assert np.abs(middles(carried) - there).max() < 0.1
    assert carried_over(boxes, ids, host[:3], ids[:3]) is None


def test_overlap_is_intersection_over_union() -> None:
    box, others = np.array([0.0, 0, 10, 10]), np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    assert iou(box[None], others).tolist() == [[1.0, float(np.float32(1 / 3)), 0.0]]


def test_more_slide_is_no_failure_and_a_field_that_is_not_recognised_is() -> None:
    assert Added(best=100, named=2, new=5, doubles=1, more=60, islands=1).within
    assert not Added(best=100, named=2, new=9, doubles=1, more=0, islands=1).within
    assert not Added(best=100, named=0, new=0, doubles=0, more=90, islands=2).within
