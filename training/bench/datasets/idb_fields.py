"""FieldReader of erythrocytesIDB 2 and 3: whole fields with a mask for each class and the contour of each cell.

Layout as its README and public code that reads it tell: a folder for each sample (`01erythrocytesIDB2`), in it
`source.jpg`, `mask.jpg`, `mask-circular.jpg`, `mask-elongated.jpg`, `mask-other.jpg` and `ground.csv`, whose rows are a
class (0 circular, 1 elongated, 2 other) and the points x, y of a contour. Sample 37 of set 2 has no circular mask.
"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from training.bench.datasets.crop_sets import IDB_CLASSES, IDB_LICENCE, cell_set
from training.bench.datasets.labelled_cell import CellSet, Sample
from training.bench.datasets.layout import folders, wrong
from training.data.datasets import DataError

SPECK_PX = 100
"""A patch of a mask with fewer pixels is an artefact of its JPEG, not a cell."""

Box = tuple[int, int, int, int]


def idb_fields(name: str, folder: Path) -> CellSet:
    """Read every cell of every sample; the group is the sample.

    name: `erythrocytes_idb2` or `erythrocytes_idb3`.

    Cells come from `ground.csv`, where overlapping cells are apart, else from the masks. A sample that has neither
    the contours nor the mask of each class is refused: a class of it would look as if it had no cells.
    """
    inner = folder / name.replace("erythrocytes_idb", "erythrocytesIDB")
    folder = inner if inner.is_dir() else folder
    places = [place for place in folders(folder) if (place / "source.jpg").is_file()]
    if not places:
        raise wrong(folder, "a folder for each sample with source.jpg, ground.csv and the masks of three classes")
    samples = []
    for place in places:
        masks = {label: place / f"mask-{label}.jpg" for label in IDB_CLASSES}
        ground = place / "ground.csv"
        cells = _contours(ground) if ground.is_file() else _patches(masks)
        whole = place / "mask.jpg"
        for label, box in cells:
            mask = masks[label] if masks[label].is_file() else whole if whole.is_file() else None
            samples.append(Sample(place / "source.jpg", label, place.name, box=box, mask=mask))
    return cell_set(name, IDB_LICENCE, samples)


def _contours(ground: Path) -> list[tuple[str, Box]]:
    cells = []
    with ground.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            try:
                kind, *numbers = [float(word) for word in row if word.strip()]
                points = np.array(numbers).reshape(-1, 2)
                label = IDB_CLASSES[int(kind)]
            except (ValueError, IndexError) as error:
                raise DataError(f"{ground} line {number}: a class 0 to 2 and pairs x, y expected: {error}") from error
            if len(points) < 3 or kind < 0:
                raise DataError(f"{ground} line {number}: a class 0 to 2 and at least three points expected")
            (x0, y0), (x1, y1) = np.floor(points.min(0)), np.ceil(points.max(0)) + 1
            cells.append((label, (max(0, int(x0)), max(0, int(y0)), int(x1), int(y1))))
    return cells


def _patches(masks: dict[str, Path]) -> list[tuple[str, Box]]:
    cells = []
    for label, path in masks.items():
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise DataError(f"{path} cannot be read, and there is no ground.csv beside it to tell the {label} cells")
        _, _, patches, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
        for x, y, width, height, area in patches[1:].tolist():
            if area >= SPECK_PX:
                cells.append((label, (x, y, x + width, y + height)))
    return cells
