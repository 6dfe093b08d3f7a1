"""Whole fields for the detector: pictures at the canonical scale with a box, a kind and a weight for every cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge.types import CANONICAL_UM_PER_PX, Floats, Pixels
from edge.vision.field_mask import visible_part
from training.data.datasets import NONE, OPEN, WHITE, LabelledField, read_pixels

RED_CELL_PX = 7.5 / CANONICAL_UM_PER_PX


@dataclass(frozen=True, slots=True)
class TrainingField:
    """A field at the canonical scale, with what the detector shall find in it.

    pixels: uint8 (h, w, 3). boxes (N, 4), kinds (N,); ignore: boxes (M, 4) that carry no loss because nobody knows what
    is there. zoom: pixels of the file for one of `pixels`.
    """

    source: LabelledField
    pixels: Pixels
    boxes: Floats
    kinds: np.ndarray
    ignore: Floats
    zoom: float


def resized(pixels: Pixels, zoom: float) -> Pixels:
    """Shrink (or enlarge) so that `zoom` pixels become one."""
    h, w = pixels.shape[:2]
    size = max(1, round(w / zoom)), max(1, round(h / zoom))
    how = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=how).astype(np.uint8, copy=False)


def scaled_by_labels(field: LabelledField) -> TrainingField:
    """Bring a boxed field to the canonical scale by its own red-cell boxes.

    A device has no such boxes.
    """
    pixels = read_pixels(field.path)
    h, w = pixels.shape[:2]
    b = field.boxes
    inside = (b[:, 0] > 1) & (b[:, 1] > 1) & (b[:, 2] < w - 1) & (b[:, 3] < h - 1) & (field.kinds == 0)
    chosen = b[inside] if inside.sum() >= 2 else b[field.kinds == 0]
    sizes = np.sqrt((chosen[:, 2:] - chosen[:, :2]).prod(1))
    # A picture of a white cell alone: five red cells would span it.
    diameter = float(np.median(sizes)) if len(sizes) else w / 5.0
    zoom = diameter / RED_CELL_PX
    return TrainingField(field, resized(pixels, zoom), b / zoom, field.kinds, np.zeros((0, 4), np.float32), zoom)


def corrected(field: TrainingField) -> TrainingField:
    """Take out of a field what a reviewer saw to be no red cell.

    It teaches as empty ground. What is of a white cell, or was left open, carries no loss.
    """
    wrong, unsure = (
        [(x, y) for x, y, said in field.source.answers if said in kinds] for kinds in ((NONE,), (WHITE, OPEN))
    )
    if not wrong and not unsure:
        return field
    none, doubt = (_nearest(field.boxes, points, field.zoom) for points in (wrong, unsure))
    ignored = field.ignore[~_nearest(field.ignore, wrong, field.zoom)]
    keep = ~none & ~doubt
    return replace(field, boxes=field.boxes[keep], kinds=field.kinds[keep],
                   ignore=np.concatenate([ignored, field.boxes[doubt & ~none]]))  # fmt: skip


def _nearest(boxes: Floats, points: list[tuple[float, float]], zoom: float) -> np.ndarray:
    """Return bool (N,): boxes that hold a point of the file nearer to their middle than any other box that holds it."""
    at = np.array(points, np.float32).reshape(-1, 2) / zoom
    held = holds(boxes, at)
    away = np.where(held, np.linalg.norm(centres(boxes)[:, None] - at[None], axis=2), np.inf)
    return np.asarray((held & (away == away.min(0, initial=np.inf))).any(1))


def centres(boxes: Floats) -> Floats:
    """Return the centres (N, 2) of boxes (N, 4)."""
    return ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32)


def holds(boxes: Floats, points: Floats) -> np.ndarray:
    """Return bool (N, M): box n holds point m."""
    p = points[None]
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return np.asarray(((p > low) & (p < high)).all(2))


Detect = Callable[[Pixels], tuple[Floats, Floats, np.ndarray]]
"""Canonical pixels → boxes (N, 4), score (N,), kind (N,), down to a low score."""


def taught_by_detector(
    field: LabelledField, zoom: float, detect: Detect, sure: float = 0.45, doubtful: float = 0.25
) -> TrainingField:
    """Complete partial labels with an earlier detector's boxes.

    That detector has never seen this set's labels.

    Boxed sickle cells replace what the detector found in them, except a loose box round two or more found cells.
    Doubtful boxes carry no loss. Labelled points that nothing was found at are ignored.
    """
    pixels = resized(read_pixels(field.path), zoom)
    boxes, score, kinds = detect(pixels)
    visible = visible_part(pixels)
    if visible is not None:
        x, y = centres(boxes).astype(int).T
        seen = visible[y.clip(0, visible.shape[0] - 1), x.clip(0, visible.shape[1] - 1)]
        boxes, score, kinds = boxes[seen], score[seen], kinds[seen]
    labelled = field.boxes / zoom
    inside = holds(labelled, centres(boxes)) if len(labelled) else np.zeros((0, len(boxes)), bool)
    several = (inside & (score >= sure)).sum(1) >= 2
    replaced = inside[~several].any(0) if len(labelled) else np.zeros(len(boxes), bool)
    keep, ignore = (score >= sure) & ~replaced, (score < sure) & (score >= doubtful) & ~replaced
    ignored = [boxes[ignore], labelled[field.partial]]
    if len(field.points):
        points = field.points[:, :2] / zoom
        found = holds(boxes[keep], points).any(0) if keep.any() else np.zeros(len(points), bool)
        ignored.append(np.concatenate([points[~found] - 12, points[~found] + 12], 1))
    chosen = labelled[~several & ~field.partial]
    return TrainingField(
        field,
        pixels,
        np.concatenate([boxes[keep], chosen]).astype(np.float32),
        np.concatenate([kinds[keep], np.zeros(len(chosen), np.int64)]),
        np.concatenate(ignored).astype(np.float32),
        zoom,
    )
