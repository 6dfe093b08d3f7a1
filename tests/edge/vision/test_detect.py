"""From the detector's maps to boxes: what is a cell, which two are one, and which the edge cuts."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import ModelsConfig
from edge.runtime.base import Network
from edge.runtime.registry import open_network
from edge.types import Field, Floats, Mask, Pixels
from edge.vision import detect
from edge.vision.detect import OVERLAP, CellDetector, cut_by_edge, decoded, distinct, padded


def whole(pixels: Pixels, visible: Mask | None = None) -> Field:
    return Field(pixels, visible, (0.0, 0.0), 1.0)


def iou(a: Floats, b: Floats) -> Any:
    """Overlap of each of a (N, 4) with each of b (M, 4), by the textbook."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    meet = np.maximum(0.0, high - low).prod(2)
    return meet / ((a[:, 2:] - a[:, :2]).prod(1)[:, None] + (b[:, 2:] - b[:, :2]).prod(1)[None] - meet)


@st.composite
def many_boxes(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Boxes on whole and quarter pixels, crowded enough to overlap; scores descend, some alike."""
    n = draw(st.integers(0, 25))
    quarter = st.integers(0, 160).map(lambda q: q / 4)
    side = st.integers(6, 120).map(lambda q: q / 4)
    rows = [(draw(quarter), draw(quarter), draw(side), draw(side)) for _ in range(n)]
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32).reshape(-1, 4)
    score = np.sort(np.array([draw(st.integers(5, 20)) / 20 for _ in range(n)], np.float32))[::-1].copy()
    return boxes, score


@given(many_boxes())
def test_of_boxes_that_overlap_too_much_the_best_is_kept_and_no_other_is_lost(found: tuple[Floats, Floats]) -> None:
    boxes, score = found
    kept = distinct(boxes, score)
    assert (np.diff(kept) > 0).all()  # best first
    apart = iou(boxes[kept], boxes[kept]) - np.eye(len(kept))
    assert (apart <= OVERLAP + 1e-6).all()
    for lost in set(range(len(boxes))) - set(kept.tolist()):
        better = kept[kept < lost]
        assert iou(boxes[[lost]], boxes[better]).max() >= OVERLAP - 1e-6


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_a_picture_is_padded_to_sides_the_network_takes_and_keeps_its_pixels(h: int, w: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (h, w, 3)).astype(np.uint8)
    grown = padded(pixels)
    assert grown.dtype == np.uint8
    assert grown.shape[0] % detect.MULTIPLE == 0 == grown.shape[1] % detect.MULTIPLE
    assert h <= grown.shape[0] < h + detect.MULTIPLE
    assert np.array_equal(grown[:h, :w], pixels)
    assert np.array_equal(grown[h:, :w], np.repeat(pixels[-1:], grown.shape[0] - h, axis=0))


def test_boxes_are_where_the_maps_say() -> None:
    peaks, sides = np.zeros((3, 12, 16), np.float32), np.zeros((4, 12, 16), np.float32)
    peaks[0, 5, 7], peaks[1, 2, 2], peaks[2, 9, 12] = 0.9, 0.6, 0.29
    sides[:, 5, 7] = 10, 8, 6, 4
    sides[:, 2, 2] = 20, 20, 5, 5
    boxes, score, kind = decoded(peaks, sides, (46, 60), 0.3)
    assert kind.tolist() == [0, 1]
    assert score.tolist() == pytest.approx([0.9, 0.6])
    # Position (5, 7) is that of pixel 22 down and 30 across, its centre; the second box is cut at the edge.
    assert boxes.tolist() == [[20, 14, 36, 26], [0, 0, 15, 15]]


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_whatever_the_maps_boxes_stay_in_the_picture_and_scores_fall(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    peaks = np.zeros((3, 20, 24), np.float32)
    peaks[rng.integers(0, 3, n), rng.integers(0, 20, n), rng.integers(0, 24, n)] = rng.random(n)
    sides = rng.uniform(0.5, 60, (4, 20, 24)).astype(np.float32)
    boxes, score, kind = decoded(peaks, sides, (78, 95), 0.3)
    assert len(boxes) == len(score) == len(kind) <= (peaks >= 0.3).sum()
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 95).all()
    assert (boxes[:, 3] <= 78).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (np.diff(score) <= 0).all()
    assert (score >= 0.3).all()


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((10, 10, 40, 40), False),
        ((1, 10, 31, 40), True),
        ((10, 0, 40, 30), True),
        ((169, 10, 199, 40), True),
        ((10, 69, 40, 99.5), True),
        ((2, 2, 198, 98), False),
    ],
)
def test_a_cell_is_cut_where_its_box_touches_the_edge(box: tuple[float, ...], cut: bool) -> None:
    assert cut_by_edge(np.array([box], np.float32), (100, 200), None).tolist() == [cut]


@given(st.floats(20, 180), st.floats(20, 180), st.floats(6, 20))
def test_a_round_cell_is_cut_by_the_disc_where_one_of_its_sides_lies_outside(x: float, y: float, r: float) -> None:
    rows, columns = np.mgrid[:200, :200] + 0.5
    visible = np.hypot(rows - 100, columns - 100) <= 80
    cut = bool(cut_by_edge(np.array([[x - r, y - r, x + r, y + r]], np.float32), (200, 200), visible)[0])
    reach = max(np.hypot(x + dx - 100, y + dy - 100) for dx, dy in ((r, 0), (-r, 0), (0, r), (0, -r)))
    if abs(reach - 80) > 1.5:  # a pixel either way
        assert cut == (reach > 80)


def test_no_cells_are_no_trouble() -> None:
    none = np.zeros((0, 4), np.float32)
    assert len(cut_by_edge(none, (10, 10), np.ones((10, 10), bool))) == 0
    boxes, score, kind = decoded(np.zeros((3, 4, 4), np.float32), np.zeros((4, 4, 4), np.float32), (16, 16), 0.3)
    assert (boxes.shape, len(score), len(kind)) == ((0, 4), 0, 0)


class Marked:
    """A network that finds a cell of 24 pixels at each pure red pixel: what it answers is known exactly."""

    def __init__(self) -> None:
        self.contract = SimpleNamespace(thresholds={"score": 0.3})
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, batch: Pixels) -> dict[str, np.ndarray]:
        _, h, w, _ = batch.shape
        self.shapes.append((h, w))
        peaks, sides = np.zeros((1, 3, h // 4, w // 4), np.float32), np.zeros((1, 4, h // 4, w // 4), np.float32)
        rows, columns = np.nonzero((batch[0] == (255, 0, 0)).all(2))
        peaks[0, 0, rows // 4, columns // 4] = 0.9
        x, y = (columns // 4 + 0.5) * 4, (rows // 4 + 0.5) * 4
        exact = np.stack([x - columns + 11.5, y - rows + 11.5, columns - x + 12.5, rows - y + 12.5])
        sides[0, :, rows // 4, columns // 4] = exact.T
        return {"peaks": peaks, "sides": sides}


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(200, 2100), st.integers(200, 2100))
def test_a_field_read_in_tiles_has_the_cells_of_the_whole(seed: int, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.zeros((h, w, 3), np.uint8)
    at = rng.permutation((h // 32) * (w // 32))[:60]
    rows, columns = at // (w // 32) * 32 + rng.integers(0, 32), at % (w // 32) * 32 + rng.integers(0, 32)
    inside = (rows >= 14) & (rows < h - 15) & (columns >= 14) & (columns < w - 15)
    rows, columns = rows[inside], columns[inside]
    pixels[rows, columns] = 255, 0, 0
    network = Marked()
    cells = CellDetector(network)(whole(pixels))  # type: ignore[arg-type]
    middle = (cells.boxes[:, :2] + cells.boxes[:, 2:]) / 2 - 0.5
    assert len(cells) == len(rows)
    assert {(round(x), round(y)) for x, y in middle.tolist()} == set(zip(columns.tolist(), rows.tolist(), strict=True))
    assert max(max(shape) for shape in network.shapes) <= detect.TILE_PX + detect.MULTIPLE


@pytest.fixture(scope="module")
def detector() -> Iterator[Network]:
    network = open_network("detector", ModelsConfig(threads=1))
    yield network
    network.close()


def test_tiles_do_not_change_what_the_real_network_finds(detector: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = Slide(SlideSpec(seed=5, width=900, height=700)).render(0)
    at_once = CellDetector(detector)(whole(pixels))
    monkeypatch.setattr(detect, "TILE_PX", 512)
    in_tiles = CellDetector(detector)(whole(pixels))
    assert abs(len(at_once) - len(in_tiles)) <= 3
    assert (iou(at_once.boxes, in_tiles.boxes).max(1) > 0.7).mean() > 0.97


def test_cells_of_a_rendered_slide_are_found_and_those_that_are_cut_are_told(detector: Network) -> None:
    slide = Slide(SlideSpec(seed=2))
    truth = [cell for cell in slide.truth(0) if cell.class_name in ("normal", "sickle", "other")]
    cells = CellDetector(detector)(whole(slide.render(0)))
    overlap = iou(np.array([cell.box for cell in truth], np.float32), cells.boxes)
    inside = np.array([cell.fully_visible for cell in truth])
    assert (overlap[inside].max(1) > 0.4).mean() > 0.97
    same = overlap.argmax(1)[inside & (overlap.max(1) > 0.4)]
    assert cells.border[same].mean() < 0.02
    assert cells.border[overlap.argmax(1)[~inside & (overlap.max(1) > 0.3)]].mean() > 0.9


def test_nothing_is_found_outside_the_eyepiece(detector: Network) -> None:
    slide = Slide(SlideSpec(seed=1, width=480, height=480, eyepiece=True))
    rows, columns = np.mgrid[:480, :480] - 240
    visible = np.hypot(rows, columns) < 120  # a narrower disc than the picture's: cells outside it are there to find
    cells = CellDetector(detector)(whole(slide.render(0), visible))
    x, y = ((cells.boxes[:, :2] + cells.boxes[:, 2:]) / 2).astype(int).T
    assert len(cells) > 5
    assert visible[y, x].all()
    assert cells.border.any()


def test_each_kind_has_a_threshold_of_its_own() -> None:
    peaks, sides = np.zeros((3, 8, 8), np.float32), np.full((4, 8, 8), 6, np.float32)
    peaks[0, 2, 2] = peaks[1, 2, 6] = peaks[2, 6, 6] = 0.3
    _, score, kind = decoded(peaks, sides, (32, 32), np.array([0.25, 0.2, 0.45], np.float32))
    assert sorted(kind.tolist()) == [0, 1]
    assert len(decoded(peaks, sides, (32, 32), 0.25)[1]) == 3
    assert len(score) == 2
