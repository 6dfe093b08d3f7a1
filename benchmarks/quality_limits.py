"""What real fields measure in the quality checks, and what spoiled copies of them do: where the limits come from.

python -m benchmarks.quality_limits [--count 60]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.realdata import FIELDS, some_fields
from edge.camera.image_files import read_image
from edge.config.model import Config
from edge.runtime.registry import open_network
from edge.types import Field, Pixels
from edge.vision.detect import CellDetector
from edge.vision.field_mask import visible_part
from edge.vision.prepare import canonical_field, cropped
from edge.vision.quality import crowding, edges, light, stacking
from edge.vision.scale import CELLS_TO_ESTIMATE, ScaleEstimator

QUANTILES = (0, 1, 5, 50, 95, 99, 100)


def blurred(pixels: Pixels, sigma_px: float) -> Pixels:
    """Put a picture out of focus by a blur of that standard deviation."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), np.uint8)


def smeared(pixels: Pixels, length_px: int, angle: float) -> Pixels:
    """Move a picture while it is exposed: a line of that length at that angle."""
    middle = length_px / 2
    along = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = np.rint(middle - along).astype(int).tolist(), np.rint(middle + along).astype(int).tolist()
    kernel = cv2.line(np.zeros((length_px + 1, length_px + 1), np.float32), start, end, 1.0)
    return np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()), np.uint8)


def brightened(pixels: Pixels, factor: float) -> Pixels:
    """Expose a picture for so many times as long."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=factor), np.uint8)


SPOILED: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda pixels: pixels,
    "blur 2 px": lambda pixels: blurred(pixels, 2),
    "blur 3 px": lambda pixels: blurred(pixels, 3),
    "blur 4 px": lambda pixels: blurred(pixels, 4),
    "smear 6 px": lambda pixels: smeared(pixels, 6, 0.7),
    "smear 12 px": lambda pixels: smeared(pixels, 12, 0.7),
    "smear 24 px": lambda pixels: smeared(pixels, 24, 0.7),
    "exposed x 0.2": lambda pixels: brightened(pixels, 0.2),
    "exposed x 2": lambda pixels: brightened(pixels, 2),
    "exposed x 4": lambda pixels: brightened(pixels, 4),
}
"""What is done to a field at the canonical scale."""


def main(count: Annotated[int, typer.Option(help="fields of each set")] = 60) -> None:
    """Print quantiles of each measure by set."""
    rows: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    with closing(open_network("detector", Config().models)) as network:
        estimate, detect = ScaleEstimator(network), CellDetector(network)
        for dataset in FIELDS:
            for path in track(some_fields(dataset, count), dataset, console=Console(stderr=True), transient=True):
                pixels, visible, corner = cropped(whole := read_image(path, 64), visible_part(whole))
                scale, _ = estimate(pixels, CELLS_TO_ESTIMATE)
                if scale is None:
                    rows["scale unknown", "as it is", dataset].append(1)
                    continue
                field = canonical_field(pixels, visible, corner, scale)
                for name, spoil in SPOILED.items():
                    for measure, value in measured(replace(field, pixels=spoil(field.pixels))).items():
                        rows[measure, name, dataset].append(value)
                per_mm2, covered = crowding(field, cells := detect(field))
                rows["cells per mm²", "as it is", dataset].append(per_mm2)
                rows["covered", "as it is", dataset].append(covered)
                rows["stacked", "as it is", dataset].append(stacking(cells))
    table = Table("measure", "fields", "set", "n", *(f"{q} %" for q in QUANTILES))
    for (measure, name, dataset), values in sorted(rows.items()):
        quantiles = np.percentile(values, QUANTILES)
        table.add_row(measure, name, dataset, str(len(values)), *(f"{value:.3g}" for value in quantiles))
    Console(width=140).print(table)


def measured(field: Field) -> dict[str, float]:
    """Return what does not need the cells."""
    names = "brightness", "clipped", "edges", "focus", "motion"
    return dict(zip(names, (*light(field.pixels, field.visible), *edges(field)), strict=True))


if __name__ == "__main__":
    typer.run(main)
