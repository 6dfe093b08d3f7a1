"""Finds every cell of a field: from the network's maps to boxes, and which of them the edge cuts."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.runtime.base import Network
from edge.types import KINDS, Cells, Field, Floats, Mask, Pixels

PLATELET = 2
"""Kind of a platelet among the detector's maps: red cell, white cell, platelet."""

MULTIPLE = 16
"""Sides of the network's input are multiples of this: the strides of its deepest maps."""

OVERLAP = 0.6
"""Two boxes that share more than this of their union are one cell."""

SLIVER_PX = 14.0
"""A box at the edge that is narrower than this, half a red cell, is a rest of a cell: nobody would count it here."""

TILE_PX, MARGIN_PX = 1024, 64
"""A larger field goes to the network in tiles of this side, so that memory is bounded; a tile sees so much of its
neighbours that every cell is whole in the one that holds its centre.
"""

BORDER_PX = 1.5
"""A box this near the edge, in canonical pixels, is taken as cut by it."""


def decoded(
    peaks: Floats, sides: Floats, shape: tuple[int, int], threshold: float | Floats
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Gather boxes from the detector's maps of one picture.

    peaks: float32 (K, h, w), 0 but at local maxima; sides: float32 (4, h, w), distances in pixels from a position's
    centre to left, top, right and bottom; shape: (height, width) that the boxes are clipped to; threshold: least score,
    of all kinds or (K,) of each.
    Returns boxes (N, 4), score (N,) descending, kind (N,).
    """
    kind, row, column = np.nonzero(peaks >= np.reshape(threshold, (-1, 1, 1)))
    score = peaks[kind, row, column]
    order = np.argsort(-score, kind="stable")
    kind, row, column, score = kind[order], row[order], column[order], score[order]
    stride = 4.0
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    left, top, right, bottom = sides[:, row, column]
    boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=1).astype(np.float32)
    boxes = np.clip(boxes, 0, np.array([shape[1], shape[0], shape[1], shape[0]], np.float32))
    keep = distinct(boxes, score)
    return boxes[keep], score[keep].astype(np.float32), kind[keep]


def distinct(boxes: Floats, score: Floats) -> NDArray[np.int64]:
    """Return the indices of boxes (N, 4) that overlap no better one, best first.

    Overlap is more than OVERLAP (IoU).
    """
    size = boxes[:, 2:] - boxes[:, :2]
    corner_and_size: Any = np.concatenate([boxes[:, :2], size], axis=1)
    kept = np.array(cv2.dnn.NMSBoxes(corner_and_size, score.tolist(), 0.0, OVERLAP), np.int64).reshape(-1)
    return kept[(size[kept] > 1).all(1)]


def padded(pixels: Pixels) -> Pixels:
    """Grow a picture to the right and below to sides that the network can take.

    Its edge is repeated.
    """
    h, w = pixels.shape[:2]
    return cv2.copyMakeBorder(pixels, 0, -h % MULTIPLE, 0, -w % MULTIPLE, cv2.BORDER_REPLICATE).astype(
        np.uint8, copy=False
    )


class CellDetector:
    """The detection stage: a field in, its cells out."""

    def __init__(self, network: Network) -> None:
        self._network = network
        thresholds = network.contract.thresholds
        score = thresholds["score"]
        self._threshold = np.array([thresholds.get(f"score_{kind}", score) for kind in KINDS], np.float32)

    @property
    def red_cell_threshold(self) -> float:
        """Score from which something is taken for a red cell."""
        return float(self._threshold[KINDS.index("rbc")])

    def __call__(self, field: Field) -> Cells:
        """Find the cells of a field, those outside the eyepiece's disc left out."""
        shape = field.pixels.shape[0], field.pixels.shape[1]
        boxes, score, kind = self._found(field.pixels)
        sliver = (kind != PLATELET) & at_edge(boxes, shape) & ((boxes[:, 2:] - boxes[:, :2]).min(1) < SLIVER_PX)
        boxes, score, kind = boxes[~sliver], score[~sliver], kind[~sliver]
        if field.visible is not None and len(boxes):
            x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int).T
            seen = field.visible[y.clip(0, shape[0] - 1), x.clip(0, shape[1] - 1)]
            boxes, score, kind = boxes[seen], score[seen], kind[seen]
        return Cells(boxes, score, cut_by_edge(boxes, shape, field.visible), kind.astype(np.int8))

    def _found(self, pixels: Pixels) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Return boxes (N, 4), score (N,) and kind (N,) of all cells of uint8 (h, w, 3), best first."""
        found = []
        for (top, bottom, upper, lower), (left, right, near, far) in product(*map(_spans, pixels.shape[:2])):
            tile = pixels[top:bottom, left:right]
            maps = self._network(padded(tile)[None])
            shape = tile.shape[0], tile.shape[1]
            boxes, score, kind = decoded(maps["peaks"][0], maps["sides"][0], shape, self._threshold)
            boxes += np.array([left, top, left, top], np.float32)
            x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
            own = (x >= near) & (x < far) & (y >= upper) & (y < lower)
            found.append((boxes[own], score[own], kind[own]))
        boxes, score, kind = (np.concatenate(part) for part in zip(*found, strict=True))
        if len(found) == 1:
            return boxes, score, kind
        best = distinct(boxes, score)  # a cell on a seam may be found twice, a little to either side
        return boxes[best], score[best], kind[best]


def _spans(length: int) -> list[tuple[int, int, int, int]]:
    """Divide a side into tiles: each one's start and end, then start and end of the part that is its own."""
    n = 1 if length <= TILE_PX else math.ceil(length / (TILE_PX - 2 * MARGIN_PX))
    seams = [length * i // n for i in range(n + 1)]
    return [(max(0, a - MARGIN_PX), min(length, b + MARGIN_PX), a, b) for a, b in pairwise(seams)]


def edges_met(boxes: Floats, shape: tuple[int, int]) -> Mask:
    """Return bool (N, 2).

    Whether a box touches an edge at a side, and above or below, of a picture (height, width).
    """
    far = np.array([shape[1], shape[0]], np.float32) - BORDER_PX
    return np.asarray((boxes[:, :2] <= BORDER_PX) | (boxes[:, 2:] >= far), np.bool_)


def at_edge(boxes: Floats, shape: tuple[int, int]) -> Mask:
    """Return bool (N,): True where a box touches the edge of a picture of (height, width)."""
    return np.asarray(edges_met(boxes, shape).any(1), np.bool_)


def cut_by_edge(boxes: Floats, shape: tuple[int, int], visible: Mask | None) -> Mask:
    """Return bool (N,).

    True where a box touches the edge of the picture or leaves the eyepiece's disc.
    """
    h, w = shape
    cut = at_edge(boxes, shape)
    if visible is None or not len(boxes):
        return cut
    # The middles of the four sides, not the corners: a round cell does not reach the corners of its box.
    x0, y0, x1, y1 = boxes.T
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    for x, y in ((x0, cy), (x1, cy), (cx, y0), (cx, y1)):
        cut |= ~visible[y.astype(int).clip(0, h - 1), x.astype(int).clip(0, w - 1)]
    return cut
