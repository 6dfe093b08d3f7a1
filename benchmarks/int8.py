"""How much faster INT8 is than fp32 on this processor, same run and same fields: python -m benchmarks.int8.

Prints a table to standard error and everything as JSON to standard output. The runs of fp32 and INT8 alternate, so that
whatever else the machine does meets both; processor time, which other programs hardly change, is given beside the
clock's. `idle` in the report says whether the clock's figures mean anything.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import some_fields
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.config.model import Config, ModelsConfig, OpticsConfig
from edge.diagnosis.speed import machine, quantile
from edge.pipeline import Pipeline
from edge.runtime.base import Source
from edge.runtime.contract import SHIPPED_DIR
from edge.runtime.onnx import OnnxNetwork
from edge.types import CANONICAL_UM_PER_PX, Frame, Pixels
from edge.vision.classify import BATCH

WIDTH, HEIGHT = 640, 480
ROLES = ("detector", "classifier")
AIMS = {"detector": 2.0, "classifier": 1.5, "whole pipeline": 25.0}
"""Asked for: times faster than fp32, and milliseconds for a field on two x86 cores."""


def main(
    folder: Annotated[Path, typer.Option(help="of X.onnx and X.int8.cpu.onnx of both networks")] = SHIPPED_DIR,
    fields: Annotated[int, typer.Option(min=1, help="fields that are timed")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="times that each is timed")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="of the networks")] = 2,
) -> None:
    """Measure and print."""
    files = {(role, form): folder / f"{role}{form}.onnx" for role in ROLES for form in ("", ".int8.cpu")}
    absent = [str(path) for path in files.values() if not path.is_file()]
    if absent:
        raise typer.BadParameter(f"{', '.join(absent)} not found: make them with sicklescope-calibrate int8")
    models = ModelsConfig(threads=threads)
    networks = {key: OnnxNetwork(Source(key[0], path, "", models)) for key, path in files.items()}
    pictures = canonical_fields(fields)
    crops = np.concatenate([cut(picture) for picture in pictures])[:BATCH]
    report: dict[str, Any] = {"machine": machine(), "threads": threads, "fields": len(pictures), "rounds": rounds}
    report["idle"] = os.getloadavg()[0] < 0.5
    report["ms"] = {}
    for role, batches in (("detector", [p[None] for p in pictures]), ("classifier", [crops] * len(pictures))):
        runs = {name: runner(networks[role, form]) for name, form in FORMS.items()}
        report["ms"][role] = alternated(runs, batches, rounds)
    config = Config(optics=OpticsConfig(um_per_px=CANONICAL_UM_PER_PX))
    pipelines = {
        name: Pipeline(config, (networks["detector", form], networks["classifier", form]))
        for name, form in FORMS.items()
    }
    frames = [replace(stamped(p, i, ""), um_per_px=CANONICAL_UM_PER_PX) for i, p in enumerate(pictures)]
    report["ms"]["whole pipeline"] = alternated({k: reader(p) for k, p in pipelines.items()}, frames, rounds)
    show(report)
    print(json.dumps(report, indent=2))


FORMS = {"fp32": "", "int8": ".int8.cpu"}


def canonical_fields(count: int) -> list[Pixels]:
    """Return real fields where SICKLESCOPE_DATA has them, cut to 640×480.

    A rendered one where it has none.
    """
    files = some_fields("chula_rbc12", count)  # 640×480 as they are
    pictures = [read_image(path, 64) for path in files]
    fitting = [p for p in pictures if p.shape[:2] == (HEIGHT, WIDTH)]
    if fitting:
        return fitting
    from edge.camera.virtual.camera import VirtualCamera
    from edge.config.model import CameraConfig

    with VirtualCamera(CameraConfig(kind="virtual", frames=count)) as camera:
        return [frame.pixels for frame in iter(camera.read, None) if frame is not None]


def cut(picture: Pixels) -> Pixels:
    """Return crops uint8 (N, 64, 64, 3) of a picture."""
    h, w = picture.shape[:2]
    return np.stack([picture[y : y + 64, x : x + 64] for y in range(0, h - 63, 64) for x in range(0, w - 63, 64)])


def runner(network: OnnxNetwork) -> Callable[[Any], Any]:
    """Return what runs a network on a batch."""
    return lambda batch: network(batch)


def reader(pipeline: Pipeline) -> Callable[[Frame], Any]:
    """Return what reads a field."""
    return lambda frame: pipeline.read(frame)


def alternated(runs: dict[str, Callable[[Any], Any]], inputs: list[Any], rounds: int) -> dict[str, Any]:
    """Time several ways by turns.

    Returns median and 95th percentile of each in ms, and how they compare.
    """
    clock: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(inputs[0])  # the first call of all makes room
    for _ in range(rounds):
        for one in inputs:
            for name, run in runs.items():
                begun, used = time.perf_counter(), time.process_time()
                run(one)
                clock[name].append((time.perf_counter() - begun) * 1e3)
                cpu[name].append((time.process_time() - used) * 1e3)
    found: dict[str, Any] = {
        name: {
            "median": quantile(clock[name], 50),
            "p95": quantile(clock[name], 95),
            "best": quantile(clock[name], 0),
            "processor": quantile(cpu[name], 50),
        }
        for name in runs
    }
    for measure in ("median", "best", "processor"):
        found[f"times_faster_{measure}"] = round(found["fp32"][measure] / found["int8"][measure], 2)
    return found


def show(report: dict[str, Any]) -> None:
    """Print the table for people."""
    about = report["machine"]
    title = f"{about['cpu']}, {report['threads']} threads, {', '.join(about['features'])}, load {about['load']:.1f}"
    table = Table(
        "ms", "fp32", "int8", "fp32, best", "int8, best", "times faster", "best", "processor time", title=title
    )
    for name, row in report["ms"].items():
        cells = [f"{row[form][measure]:.2f}" for measure in ("median", "best") for form in FORMS]
        ratios = [f"{row[f'times_faster_{measure}']:.2f}" for measure in ("median", "best", "processor")]
        table.add_row(f"{name} (aim {AIMS[name]:g})", *cells, *ratios)
    console = Console(stderr=True, width=130)
    console.print(table)
    if not report["idle"]:
        console.print("The machine was busy: the clock's figures are too high; compare the best and the processor's.")


if __name__ == "__main__":
    typer.run(main)
