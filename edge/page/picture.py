"""The live picture: the camera's newest field with each cell outlined by class, in colour and in shape."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from edge.api.device import LiveField
from edge.types import ABSTAINED, CLASSES, Exclusion, FieldReading, Pixels
from edge.vision.outline import COLOURS, Contour, outlines

WIDTH_MAX = 1280
"""Pixels of a picture that is sent; more costs a slow connection time and shows no more on a phone."""

DARK = (30, 24, 16)
"""BGR of the picture before the first."""

QUALITY = 72
"""Of JPEG: some 45 kB at 640x480."""

_BLACK = (0, 0, 0)

_BGR = {name: (blue, green, red) for name, (red, green, blue) in COLOURS.items()}


class LivePicture:
    """Draws and encodes a field once for all who look. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[LiveField, bytes] | None = None

    def jpeg(self, live: LiveField | None) -> bytes:
        """Return a field's picture as JPEG; a dark one before there is any."""
        if live is None:
            return _encoded(np.full((480, 640, 3), DARK, np.uint8))
        with self._lock:
            if self._made is None or self._made[0] is not live:
                self._made = live, _encoded(drawn(live.frame.pixels, live.reading))
            return self._made[1]


def drawn(pixels: Pixels, reading: FieldReading | None) -> Pixels:
    """Return a field with its cells outlined, at most WIDTH_MAX wide.

    Args:
        pixels: uint8 RGB.
        reading: what was read in it.

    Returns:
        uint8 BGR.
    """
    shrink = min(1.0, WIDTH_MAX / pixels.shape[1])
    size = (round(pixels.shape[1] * shrink), round(pixels.shape[0] * shrink))
    fitting = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if shrink < 1 else pixels
    picture = np.asarray(cv2.cvtColor(fitting, cv2.COLOR_RGB2BGR), np.uint8)
    if reading is None or not len(reading.boxes):
        return picture
    boxes = np.asarray(reading.boxes * shrink, np.float32)
    shapes = outlines(picture, boxes)
    names = [Exclusion.ABSTAINED.value if label == ABSTAINED else CLASSES[label] for label in reading.label.tolist()]
    for name in ("normal", "platelet"):  # together, for they are most and nothing else marks them
        alike = [shape for shape, other in zip(shapes, names, strict=True) if other == name]
        cv2.polylines(picture, alike, True, _BGR[name], 1, cv2.LINE_AA)
    for name in ("artefact", "other", "wbc", "sickle", Exclusion.ABSTAINED.value):  # what matters most over the others
        for other, shape, box in zip(names, shapes, boxes.tolist(), strict=True):
            if other == name:
                _draw(picture, name, shape, box)
    return picture


def _draw(picture: Pixels, name: str, shape: Contour, box: list[float]) -> None:
    colour = _BGR[name]
    if name == "sickle":
        cv2.polylines(picture, [shape], True, _BLACK, 4, cv2.LINE_AA)
        cv2.polylines(picture, [shape], True, colour, 2, cv2.LINE_AA)
        _triangle(picture, box, colour)
    elif name == Exclusion.ABSTAINED.value:
        cv2.polylines(picture, [shape], True, _BLACK, 4, cv2.LINE_AA)
        _dashed(picture, shape, colour)
    elif name == "artefact":
        _dashed(picture, shape, colour)
    else:
        cv2.polylines(picture, [shape], True, colour, 2, cv2.LINE_AA)
        if name == "other":
            x, y = round(box[2]), round(box[1])
            cv2.rectangle(picture, (x - 4, y - 4), (x + 4, y + 4), _BLACK, -1)
            cv2.rectangle(picture, (x - 3, y - 3), (x + 3, y + 3), colour, -1)


def _triangle(picture: Pixels, box: list[float], colour: tuple[int, int, int]) -> None:
    """Mark a cell with a triangle above it that points to it, or below it at the picture's edge."""
    x, up = round((box[0] + box[2]) / 2), box[1] > 16
    tip = round(box[1]) - 3 if up else round(box[3]) + 3
    base = tip - 11 if up else tip + 11
    points = np.array([[x - 7, base], [x + 7, base], [x, tip]], np.int32)
    cv2.fillPoly(picture, [points], colour, cv2.LINE_AA)
    cv2.polylines(picture, [points], True, _BLACK, 1, cv2.LINE_AA)


def _dashed(picture: Pixels, shape: Contour, colour: tuple[int, int, int], dash_px: float = 5.0) -> None:
    """Draw an outline in dashes."""
    points = np.vstack([shape[:, 0], shape[:1, 0]]).astype(np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.arange(0.0, along[-1], dash_px)
    dots = (
        np.stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])], 1).round().astype(np.int32)
    )
    dashes = [dots[index : index + 2] for index in range(0, len(dots) - 1, 2)]
    cv2.polylines(picture, dashes, False, colour, 2, cv2.LINE_AA)


def _encoded(picture: Pixels) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
