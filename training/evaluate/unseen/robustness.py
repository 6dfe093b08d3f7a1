"""Whether a cell keeps its call when a picture comes another way: decoder, JPEG quality, a pixel, 3 % of zoom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from edge.system.progress_bars import ReportProgress, quiet
from edge.types import Floats, Pixels
from training.data.augment import recompressed
from training.data.datasets import LabelledField, read_pixels
from training.evaluate.estimates import Figure, red
from training.evaluate.predict import Picture, as_taken, read_fields
from training.evaluate.predictions import SICKLE, PredictedCells, Prediction
from training.metrics import greedy, iou

SAME_CELL = 0.4
"""Boxes that share this much of their union (IoU) are of one cell."""

EDGE_PX = 24
"""Cells whose middle is nearer to the edge of the picture are left out: a change may cut them."""

ZOOM = 1.03


@dataclass(frozen=True, slots=True)
class Change:
    """One picture in two forms.

    first, second: make them; to_second: where a point (N, 2) of the first lies in the second; jpeg: of JPEG files only.
    """

    first: Picture
    second: Picture
    to_second: Callable[[Floats], Floats]
    jpeg: bool = False


def _stays(points: Floats) -> Floats:
    return points


def other_decoder(field: LabelledField) -> Pixels:
    """Decode with libjpeg-turbo's fast transform and plain enlargement of colours.

    A pixel is a grey level or two elsewhere.
    """
    data = field.path.read_bytes()
    return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=True, fastupsample=True), np.uint8)


def as_jpeg(quality: int) -> Picture:
    """Return what writes a picture as JPEG and reads it again."""

    def picture(field: LabelledField) -> Pixels:
        return recompressed(read_pixels(field.path), quality)

    return picture


def _from_pixel(first: int) -> Picture:
    def picture(field: LabelledField) -> Pixels:
        pixels = read_pixels(field.path)
        h, w = pixels.shape[:2]
        return np.ascontiguousarray(pixels[first : h - 1 + first, first : w - 1 + first])

    return picture


def _zoomed(field: LabelledField) -> Pixels:
    pixels = read_pixels(field.path)
    h, w = pixels.shape[:2]
    return cv2.resize(pixels, (round(w * ZOOM), round(h * ZOOM)), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


CHANGES = {
    "decoder": Change(as_taken, other_decoder, _stays, jpeg=True),
    "jpeg_95_to_75": Change(as_jpeg(95), as_jpeg(75), _stays),
    "shift_of_a_pixel": Change(_from_pixel(0), _from_pixel(1), lambda points: points - 1),
    "zoom_of_3_percent": Change(as_taken, _zoomed, lambda points: points * ZOOM),
}


def robustness(
    weights: tuple[Path, Path],
    fields: Sequence[LabelledField],
    sickle: float,
    folder: Path,
    progress: ReportProgress = quiet,
    workers: int = 2,
) -> dict[str, Figure]:
    """Return, for each of CHANGES, the part of cells that change and the net change of calls.

    Args:
        weights: the pair.
        fields: that are read.
        sickle: its threshold.
        folder: where readings are kept.
        progress: is told how far it is.
        workers: fields read at a time.
    """
    figures: dict[str, Figure] = {}
    for name, change in CHANGES.items():
        chosen = [f for f in fields if not change.jpeg or f.path.suffix.lower() in (".jpg", ".jpeg")]
        first, second = (
            read_fields(weights, chosen, folder / f"{name}-{i}.jsonl", progress, picture, workers)
            for i, picture in enumerate((change.first, change.second))
        )
        figures |= _figures(name, first, second, sickle, change.to_second)
    return figures


def _figures(
    name: str,
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    sickle: float,
    to_second: Callable[[Floats], Floats],
) -> dict[str, Figure]:
    rows = [compared(a.reading, b.reading, sickle, to_second) for a, b in zip(first, second, strict=True)]
    groups = [a.field.group for a in first]
    gone, come, cells, before = (np.array(column, float) for column in zip(*rows, strict=True))
    said = f"{before.sum():.0f} sickle calls, {gone.sum():.0f} gone, {come.sum():.0f} new"
    return {
        f"{name}_changed": Figure.ratio((gone + come).tolist(), cells.tolist(), groups),
        f"{name}_net_of_calls": Figure.ratio((come - gone).tolist(), before.tolist(), groups, said),
    }


def compared(
    a: PredictedCells, b: PredictedCells, sickle: float, to_second: Callable[[Floats], Floats]
) -> tuple[int, int, int, int]:
    """Compare two readings of one field.

    Returns sickle calls of the first that the second has not, those of the second that the first has not, red cells of
    the first, and its sickle calls. Abstained and missing cells are not called.
    """
    boxes = np.concatenate([to_second(a.boxes[:, :2]), to_second(a.boxes[:, 2:])], axis=1)
    pairs = greedy(iou(boxes, b.boxes), SAME_CELL) if len(boxes) and len(b.boxes) else []
    partner, back = dict(pairs), {j: i for i, j in pairs}
    called = [(one.labels(sickle) == SICKLE) & ~one.border & _inside(one) for one in (a, b)]
    counts = [
        sum(not (i in other and (said.labels(sickle)[other[i]] == SICKLE or said.border[other[i]]))
            for i in np.nonzero(mine)[0].tolist())
        for mine, other, said in ((called[0], partner, b), (called[1], back, a))
    ]  # fmt: skip
    cells = int((red(a.labels(sickle)) & ~a.border & _inside(a)).sum())
    return counts[0], counts[1], cells, int(called[0].sum())


def _inside(one: PredictedCells) -> np.ndarray:
    h, w = one.size
    x, y = one.centres.T
    return np.asarray((np.minimum(x, w - x) >= EDGE_PX) & (np.minimum(y, h - y) >= EDGE_PX))
