"""What was found, drawn for people: a field with its cells outlined, and the gallery's small pictures of cells."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import cv2
import numpy as np

from edge.errors import StorageError
from edge.types import ABSTAINED, CLASSES, Exclusion, FieldReading, Floats, Pixels
from edge.vision.outline import COLOURS

_JPEG_QUALITY = 88
_LONGEST_PX = 4096
_LEGEND_CELL_PX = (130, 26)
_THUMBNAIL_PX = 112
_MARGIN = 0.35


def jpeg(pixels: Pixels) -> bytes:
    """Encode RGB uint8 (H, W, 3) as JPEG.

    Raises StorageError for a picture that the format cannot hold.
    """
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise StorageError(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be written as JPEG")
    return bytes(data.tobytes())


def annotated(pixels: Pixels, reading: FieldReading) -> Pixels:
    """Return a copy of the field, uint8 RGB, with each cell outlined.

    In the colour of its class, with a legend below.

    Sickle cells have a thicker line with a black edge, so that they are found at a glance. Under a rejected field
    stands its reason. A field longer than 4,096 pixels is drawn smaller.
    """
    shrink = min(1.0, _LONGEST_PX / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * shrink)), max(1, round(pixels.shape[0] * shrink)))
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if shrink < 1.0 else pixels.copy()
    picture = np.asarray(resized, np.uint8)
    boxes: Floats = (reading.boxes * shrink).astype(np.float32)
    for box, label in zip(boxes, reading.label.tolist(), strict=True):
        name = Exclusion.ABSTAINED.value if label == ABSTAINED else CLASSES[label]
        if name == "sickle":
            _outline(picture, box, (0, 0, 0), 6)
        _outline(picture, box, COLOURS[name], 4 if name == "sickle" else 2)
    return np.vstack([picture, _legend(reading, size[0])])


def _outline(picture: Pixels, box: Floats, colour: tuple[int, int, int], width: int) -> None:
    x0, y0, x1, y1 = (float(edge) for edge in box)
    centre = (round((x0 + x1) / 2), round((y0 + y1) / 2))
    # One pixel outside the cell, whose edge is what a person wants to see.
    axes = (max(1, round((x1 - x0) / 2) + 1), max(1, round((y1 - y0) / 2) + 1))
    cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, width, cv2.LINE_AA)


def _legend(reading: FieldReading, width: int) -> Pixels:
    """Return the strip under a field, uint8 (h, width, 3): what each colour is, and how many there are."""
    black = (0, 0, 0)
    if reading.rejected is not None:
        entries = [(f"not read: {reading.rejected.reason.value}", COLOURS["sickle"])]
    else:
        entries = [(f"{name} {count}", COLOURS.get(name, black)) for name, count in reading.counts().items()]
    cell_w, cell_h = _LEGEND_CELL_PX
    columns = max(1, width // cell_w)
    strip = np.full((cell_h * -(-len(entries) // columns), width, 3), 24, np.uint8)
    for index, (text, colour) in enumerate(entries):
        x, y = index % columns * cell_w, index // columns * cell_h
        cv2.circle(strip, (x + 9, y + 13), 6, colour, -1, cv2.LINE_AA)
        cv2.putText(strip, text, (x + 20, y + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return strip


@dataclass(frozen=True, slots=True)
class GalleryCell:
    """A cell to be shown.

    Its sickle probability, the class it was given, where it is, and its picture as JPEG.
    """

    p_sickle: float
    name: str
    image: str
    index: int
    picture: bytes


class Gallery:
    """Keeps the pictures of the `size` most sickle-like cells.

    Of no others that it was offered.
    """

    def __init__(self, size: int = 48) -> None:
        self._size = size
        self._heap: list[tuple[float, int, GalleryCell]] = []
        self._offered = 0

    def offer(self, pixels: Pixels, reading: FieldReading) -> list[GalleryCell]:
        """Look at the cells of a field, in pixels of the given image; return those that were kept."""
        kept: list[GalleryCell] = []
        sickle = reading.prob[:, CLASSES.index("sickle")]
        for index in np.argsort(-sickle, kind="stable")[: self._size].tolist():
            p, label = float(sickle[index]), int(reading.label[index])
            if not self._wanted(p):
                break
            name = Exclusion.ABSTAINED.value if label == ABSTAINED else CLASSES[label]
            picture = jpeg(_thumbnail(pixels, reading.boxes[index]))
            kept.append(GalleryCell(p, name, reading.name, index, picture))
            self.add(kept[-1])
        return kept

    def add(self, cell: GalleryCell) -> None:
        """Keep a cell if it is more sickle-like than the least so of those that are kept."""
        if not self._wanted(cell.p_sickle):
            return
        self._offered += 1
        # Of two equal cells the first stays; the counter also keeps the heap from comparing the cells themselves.
        entry = (cell.p_sickle, -self._offered, cell)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def _wanted(self, p_sickle: float) -> bool:
        return len(self._heap) < self._size or p_sickle > self._heap[0][0]

    def cells(self) -> list[GalleryCell]:
        """Return the cells kept, the most sickle-like first."""
        return [cell for _, _, cell in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


def _thumbnail(pixels: Pixels, box: Floats) -> Pixels:
    """Cut a square round a cell with a little of what is beside it, uint8 (112, 112, 3); grey beyond the image."""
    x0, y0, x1, y1 = (float(edge) for edge in box)
    side = max(4.0, max(x1 - x0, y1 - y0) * (1.0 + 2.0 * _MARGIN))
    zoom = _THUMBNAIL_PX / side
    to_thumbnail = np.array(
        [
            [zoom, 0.0, _THUMBNAIL_PX / 2 - zoom * (x0 + x1) / 2],
            [0.0, zoom, _THUMBNAIL_PX / 2 - zoom * (y0 + y1) / 2],
        ]
    )
    thumbnail = cv2.warpAffine(
        pixels,
        to_thumbnail,
        (_THUMBNAIL_PX, _THUMBNAIL_PX),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(128, 128, 128),
    )
    return np.asarray(thumbnail, np.uint8)
