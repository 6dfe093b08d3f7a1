"""What placing a frame costs, on paths over the virtual slide: `python -m benchmarks.registration`.

Prints one JSON object: milliseconds of processor time a frame, by path, and, over a long path, whether time and memory
stay flat. The detector is not run: the cells are the slide's own with a detector's errors (benchmarks.slidepaths).
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.slidepaths import Walk, jittered, looked
from edge.camera.virtual.layout import SlideSpec, View
from edge.service.reporter import resident_mb
from edge.types import Rejection

PATHS = {"apart": 0.0, "overlap 10 %": 0.1, "overlap 30 %": 0.3, "overlap 50 %": 0.5, "overlap 90 %": 0.9}


def main(
    frames: Annotated[int, typer.Option(min=10, help="Fields of each path.")] = 60,
    long: Annotated[int, typer.Option(min=0, help="Fields of the long path; 0 leaves it out.")] = 2000,
) -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    report: dict[str, Any] = {"unit": "ms of processor time a frame, 640x480 canonical pixels", "paths": {}}
    for name, overlap in PATHS.items():
        spec = SlideSpec(seed=1, n_fields=frames)
        report["paths"][name] = measured(spec, jittered(spec, overlap, np.random.default_rng(1)))
    spec = SlideSpec(seed=1)
    report["paths"]["still"] = measured(spec, [View(0.0, 0.0)] * frames)
    report["stage"] = hinted(frames)
    if long:
        report["long"] = flat(long)
    typer.echo(json.dumps(report, indent=2))


def measured(spec: SlideSpec, views: list[View]) -> dict[str, float]:
    """Return the cost of each frame of a path, and what came out."""
    walk, rng, took = Walk(spec), np.random.default_rng(0), []
    rejected = 0
    for view in views:
        _, cells = looked(walk.specimen.truth(view), spec, walk.eye, rng)
        begun = time.process_time()
        placed = walk.registrar.place(walk.field, cells)
        took.append(1e3 * (time.process_time() - begun))
        rejected += isinstance(placed, Rejection)
    return {**quantiles(took), "not_placed": rejected, "frames": len(took)}


def flat(frames: int) -> dict[str, Any]:
    """Read a long path with 30 % overlap; return cost and memory in each of its quarters."""
    spec = replace(SlideSpec(seed=2), n_fields=frames)
    walk, rng = Walk(spec), np.random.default_rng(0)
    took: list[float] = []
    resident = [resident_mb()]
    for number, view in enumerate(jittered(spec, 0.3, rng)[:frames], 1):
        found, cells = looked(walk.specimen.truth(view), spec, walk.eye, rng)
        begun = time.process_time()
        walk.count(found, cells)
        took.append(1e3 * (time.process_time() - begun))
        if number % (frames // 4) == 0:
            resident.append(resident_mb())
    quarters = [quantiles(took[i * frames // 4 : (i + 1) * frames // 4]) for i in range(4)]
    counted, shown = sum(walk.counts().by_class.values()), len(walk.shown)
    return {"quarters": quarters, "rss_mb": [round(mb, 1) for mb in resident], "counted": counted, "shown": shown}


def hinted(frames: int) -> dict[str, dict[str, float]]:
    """Read a path of 5 % overlap, a fifth missing, with what a stage says.

    Nothing, the truth to 5 µm, nonsense.
    """
    report = {}
    for says in ("nothing", "truth", "nonsense"):
        spec, rng, error = SlideSpec(seed=1, n_fields=frames), np.random.default_rng(1), np.random.default_rng(2)
        walk, not_placed, took = Walk(spec), 0, 0
        for view in (view for view in jittered(spec, 0.05, rng) if rng.random() >= 0.2):
            true = complex(view.x_um, view.y_um) + complex(*error.normal(0, 5, 2))
            stage_um = {"nothing": None, "truth": true, "nonsense": -true}[says]
            not_placed += isinstance(walk.read(view, rng, stage_um), Rejection)
            took += 1
        excess = sum(walk.counts().by_class.values()) / len(walk.shown) - 1
        report[says] = {"frames": took, "not_placed": not_placed, "count_error": round(excess, 4)}
    return report


def quantiles(took: list[float]) -> dict[str, float]:
    """Return mean, median and 95th percentile, rounded for people."""
    values = [float(np.mean(took)), *np.percentile(took, [50, 95]).tolist()]
    return dict(zip(("mean", "median", "p95"), (round(value, 2) for value in values), strict=True))


if __name__ == "__main__":
    typer.run(main)
