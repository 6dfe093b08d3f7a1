"""Whether each cell is counted once, against the virtual slide's truth: `python -m benchmarks.eachonce`.

Paths with turned, shaken, lighter and darker views, a quarter of them seen again, a fifth of the frames rejected. Once
the cells are the slide's own with a detector's errors, and once the shipped networks read the rendered pixels. Prints
one JSON object: by overlap, how many cells were counted of those that were shown whole, and the sickle fraction with
its interval beside the true one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.slidepaths import Walk, jittered
from edge.camera.virtual.camera import VirtualCamera
from edge.camera.virtual.layout import SlideSpec
from edge.config.model import Config
from edge.pipeline import Pipeline
from edge.screening.tally import Tally
from edge.screening.verdict import wilson
from edge.types import RED_CELLS, Counts

OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)

CELLS_PER_FIELD = 90

REJECTED = 0.2


def main(
    cells: Annotated[int, typer.Option(min=100, help="So many a path.")] = 5000,
    networks: Annotated[bool, typer.Option(help="Also with the shipped networks, which takes minutes.")] = True,
) -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    report: dict[str, Any] = {"true_cells": {}, "networks": {}}
    with Pipeline(Config()) as pipeline:
        for overlap in OVERLAPS:
            report["true_cells"][f"{overlap:.0%}"] = known(overlap, cells)
            if networks:
                report["networks"][f"{overlap:.0%}"] = seen(pipeline, overlap, cells)
    typer.echo(json.dumps(report, indent=2))


def path(overlap: float, cells: int) -> SlideSpec:
    """Return a slide whose path shows more than so many cells."""
    # Rows overlap too, but for the first.
    new = CELLS_PER_FIELD * (1 - overlap) ** 1.5 * (1 - REJECTED)
    spec = SlideSpec(seed=5, n_fields=round(1.3 * cells / new) + 10)
    return replace(spec, views=tuple(jittered(spec, overlap, np.random.default_rng(5))))


def known(overlap: float, cells: int) -> dict[str, Any]:
    """Count the slide's own cells, with errors of their boxes and 2 % missed."""
    spec, rng = path(overlap, cells), np.random.default_rng(6)
    walk = Walk(spec)
    for view in spec.views:
        if rng.random() >= REJECTED and len(walk.shown) < cells:
            walk.read(view, rng)
    return compared(walk.counts(), list(walk.shown.values()))


def seen(pipeline: Pipeline, overlap: float, cells: int) -> dict[str, Any]:
    """Count what the networks find in the rendered pixels."""
    spec, rng = path(overlap, cells), np.random.default_rng(6)
    tally, shown = Tally(), dict[tuple[int, ...], str]()
    pipeline.new_sample(each_cell_once=True)
    with VirtualCamera.from_spec(spec) as camera:
        for index in range(len(spec.views)):
            frame = camera.read()
            if frame is None or rng.random() < REJECTED or len(shown) >= cells:
                continue
            reading = pipeline.read(frame)
            tally.add(reading)
            if reading.rejected is None:
                shown |= {cell.identity: cell.class_name for cell in camera.truth(index) if cell.fully_visible}
    return compared(tally.counts(), list(shown.values()))


def compared(counts: Counts, shown: list[str]) -> dict[str, Any]:
    """Lay what was counted beside what was shown."""
    counted = sum(counts.by_class.values()) + counts.excluded["abstained"]
    red, true_red = counts.red_cells, sum(name in RED_CELLS for name in shown)
    low, high = wilson(counts.by_class["sickle"], red)
    return {
        "shown": len(shown),
        "counted": counted,
        "off_percent": round(100 * (counted / len(shown) - 1), 2),
        "sickle_true": round(shown.count("sickle") / true_red, 4),
        "sickle": round(counts.by_class["sickle"] / red, 4),
        "interval": [round(low, 4), round(high, 4)],
        "islands": counts.islands,
        "fields": counts.fields_read,
        "rejected": {name: number for name, number in counts.rejected.items() if number},
    }


if __name__ == "__main__":
    typer.run(main)
