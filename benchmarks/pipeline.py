"""How long each stage takes and how much memory a run needs, on this machine: python -m benchmarks.pipeline.

Prints a table to standard error and everything as JSON to standard output. Nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import FIELDS, some_fields
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.camera.virtual.camera import VirtualCamera
from edge.config.model import CameraConfig, Config, DeviceConfig, ModelsConfig, MqttConfig, ScreeningConfig, StopConfig
from edge.diagnosis.speed import FieldTimes, machine, quantile, timed
from edge.pipeline import Pipeline
from edge.publish.composer import Composer
from edge.sample.lifecycle import Lifecycle
from edge.sample.session import SessionFactory
from edge.screening.accumulator import Accumulator
from edge.screening.verdict import VerdictRules
from edge.service.reporter import resident_mb
from edge.service.service import Service
from edge.storage.database import Database, database_path

SETTLED = 500
"""Frames after which memory must no longer grow."""

console = Console(stderr=True, width=110)


def main(
    frames: Annotated[int, typer.Option(min=1, help="Length of the run whose memory is watched.")] = 700,
    fields: Annotated[int, typer.Option(min=1, help="Fields of each kind that are timed.")] = 40,
    threads: Annotated[int, typer.Option(min=0, help="Of the networks; 0: one for each core.")] = 0,
) -> None:
    """Measure and print."""
    report: dict[str, Any] = {"machine": machine(), "threads": threads or os.cpu_count()}
    config = Config(models=ModelsConfig(threads=threads))
    with Pipeline(config) as pipeline:
        report["runtime"] = pipeline.detector.runtime
        with VirtualCamera(CameraConfig(kind="virtual", frames=fields)) as camera:
            slide = [frame for frame in iter(camera.read, None) if frame is not None]
        report["fields"] = {"virtual slide": shown(timed(pipeline, slide))}
        for dataset in FIELDS:
            files = some_fields(dataset, fields)
            if files:
                pictures = (stamped(read_image(path, 64), i, str(path)) for i, path in enumerate(files))
                report["fields"][dataset] = shown(timed(pipeline, pictures))
        report["storing"] = storing(pipeline, fields)
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process of its own: its memory is the run's alone
        report["memory"] = pool.apply(memory, (frames, threads))
    report["ready_s"] = ready_s()
    show(report)
    print(json.dumps(report, indent=2))


def shown(times: FieldTimes) -> dict[str, Any]:
    """Return median and 95th percentile of each stage in ms, and what the fields were."""
    return {
        "fields": len(times.cells),
        "rejected": times.rejected,
        "cells": float(np.median(times.cells)),
        "canonical_megapixels": round(float(np.median(times.pixels)), 3),
        "fields_per_s": round(times.fields_per_s, 2),
        "ms": {stage: {"median": quantile(ms, 50), "p95": quantile(ms, 95)} for stage, ms in times.ms.items()},
    }


def storing(pipeline: Pipeline, frames: int) -> dict[str, float]:
    """Return what a frame costs with and without keeping the sample, in ms.

    Frame by frame in turn.

    Fields do not overlap, so every cell is new. Commits come as in a run, and their disk is that of temporary files.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Config(device=DeviceConfig(state_dir=Path(folder)), mqtt=MqttConfig(enabled=False))
        with (
            Database(database_path(config)) as database,
            VirtualCamera(CameraConfig(kind="virtual", frames=frames)) as camera,
        ):
            lifecycle = Lifecycle(config, database, Composer(config.device))
            sessions = SessionFactory(config, lifecycle, pipeline.detector, pipeline.classifier, camera.name)
            session = sessions.begin("benchmark", "benchmark")
            unkept = Accumulator(VerdictRules(500, 1000, None))
            pipeline.new_sample(each_cell_once=True)
            counted, kept = [], []
            for frame in iter(camera.read, None):
                reading = pipeline.read(frame)
                begun = time.perf_counter()
                unkept.add(reading)
                counted.append((time.perf_counter() - begun) * 1e3)
                begun = time.perf_counter()
                session.add(reading, frame)
                kept.append((time.perf_counter() - begun) * 1e3)
            begun = time.perf_counter()
            session.end("")
            end_ms = (time.perf_counter() - begun) * 1e3
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {
        "frames": len(kept),
        "cells": session.counts().cells_seen,
        "without_ms": round(float(np.mean(counted)), 3),
        "with_ms": round(float(np.mean(kept)), 3),
        "with_median_ms": quantile(kept, 50),
        "with_p95_ms": quantile(kept, 95),
        "with_most_ms": quantile(kept, 100),
        "end_ms": round(end_ms, 2),
        "file_mb": round(size / 1e6, 2),
    }


def memory(frames: int, threads: int) -> dict[str, float | None]:
    """Run the service on the virtual slide.

    Return its peak memory and its growth after SETTLED frames, in MB.
    """
    resident: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            device=DeviceConfig(state_dir=Path(folder)),
            camera=CameraConfig(kind="virtual", frames=frames),
            models=ModelsConfig(threads=threads),
            screening=ScreeningConfig(start="at_once", stop=StopConfig(at_target=False)),
            mqtt=MqttConfig(enabled=False),
        )
        begun = time.monotonic()
        Service(config, observer=lambda _: resident.append(resident_mb())).run()
        seconds = time.monotonic() - begun
    return {
        "frames": frames,
        "frames_per_s": round(frames / seconds, 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        "growth_mb": round(max(resident[SETTLED:]) - resident[SETTLED], 2) if frames > SETTLED else None,
    }


def ready_s() -> float:
    """Return how long `sicklescope run` takes until its first field is kept."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "sicklescope.toml"
        settings.write_text(
            f'device.state_dir = "{folder}"\ncamera.kind = "virtual"\nmqtt.enabled = false\n', encoding="utf-8"
        )
        command = [sys.executable, "-m", "edge", "run", "--config", str(settings), "--frames", "1"]
        took = []
        for _ in range(3):
            begun = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
            took.append(time.monotonic() - begun)
    return round(min(took), 2)


def show(report: dict[str, Any]) -> None:
    """Print the table for people."""
    about = report["machine"]
    title = f"{about['cpu']}, {about['cores']} cores, {report['threads']} threads, {report['runtime']}"
    table = Table("ms (median / p95)", *report["fields"], title=title)
    stages = list(dict.fromkeys(stage for kind in report["fields"].values() for stage in kind["ms"]))
    for stage in stages:
        cells = (kind["ms"].get(stage) for kind in report["fields"].values())
        table.add_row(stage, *(f"{ms['median']:.1f} / {ms['p95']:.1f}" if ms else "" for ms in cells))
    for name in ("fields_per_s", "canonical_megapixels", "cells", "fields", "rejected"):
        table.add_row(name.replace("_", " "), *(f"{kind[name]:g}" for kind in report["fields"].values()))
    console.print(table)
    stored = report["storing"]
    console.print(
        f"Keeping a sample of {stored['frames']} frames: {stored['with_ms'] - stored['without_ms']:.2f} ms a frame "
        f"beside reading it, {stored['with_most_ms']:.1f} ms at most (a commit), its end {stored['end_ms']:.1f} ms"
    )
    memory_mb = report["memory"]
    console.print(
        f"sicklescope run: started, first field read, ended in {report['ready_s']} s. "
        f"Peak memory {memory_mb['peak_rss_mb']} MB"
    )
    if memory_mb["growth_mb"] is not None:
        console.print(f"{memory_mb['growth_mb']} MB more after frame {SETTLED}, in {memory_mb['frames']} frames")


if __name__ == "__main__":
    typer.run(main)
