"""What this machine is, and how long it takes for fields, by stage."""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edge.pipeline import Pipeline
from edge.types import CANONICAL_UM_PER_PX, Frame

FEATURES = frozenset({"avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
"""Instructions that decide how fast INT8 networks are."""


def machine() -> dict[str, Any]:
    """Describe the processor and what runs on it."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = set(about.get("flags", about.get("Features", "")).split())
    board = Path("/proc/device-tree/model")
    return {
        "cpu": about.get("model name", platform.machine()),
        "board": board.read_text("utf-8").strip("\0\n ") if board.exists() else "",
        "cores": os.cpu_count(),
        "features": sorted(known & FEATURES),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6,
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("sicklescope", "onnxruntime", "numpy", "opencv-python-headless")},
    }


@dataclass(frozen=True, slots=True)
class FieldTimes:
    """What reading fields took.

    ms: by stage, and as `whole`, of each field. cells, pixels: of each field; pixels at the canonical scale, millions.
    """

    ms: dict[str, list[float]]
    cells: list[int]
    pixels: list[float]
    rejected: int

    @property
    def fields_per_s(self) -> float:
        """Fields a second at a known scale."""
        return 1e3 * len(self.cells) / sum(self.ms["whole"])


def timed(pipeline: Pipeline, frames: Iterable[Frame]) -> FieldTimes:
    """Read fields at a known scale, one after the other.

    Where the scale is not known it is estimated first, and where it is the cells must bear it out, which in a run
    happen once a sample; both are told apart.
    """
    stages: defaultdict[str, list[float]] = defaultdict(list)
    pixels, cells, rejected = [], [], 0
    for frame in frames:
        if frame.um_per_px is None:
            pipeline.new_sample()
            begun = time.perf_counter()
            scale = pipeline.read(frame).scale
            stages["whole, scale not known"].append((time.perf_counter() - begun) * 1e3)
            frame = replace(frame, um_per_px=scale.um_per_px if scale else None)
        elif not stages:
            pipeline.read(frame)  # the first call of all makes room
        begun = time.perf_counter()
        reading = pipeline.read(frame)
        if reading.rejected is not None:
            rejected += 1
            continue
        stages["whole"].append((time.perf_counter() - begun) * 1e3 - reading.stage_ms["magnification"])
        for stage, ms in reading.stage_ms.items():
            stages[stage].append(ms)
        zoom = reading.scale.um_per_px / CANONICAL_UM_PER_PX if reading.scale else 0.0
        pixels.append(reading.width * reading.height * zoom**2 / 1e6)
        cells.append(len(reading.label) + reading.border)
    return FieldTimes(dict(stages), cells, pixels, rejected)


def quantile(values: list[float], percent: float) -> float:
    """Return a percentile, rounded for people."""
    return round(float(np.percentile(values, percent)), 2)
