"""How fast the device's own part is on this machine, as a table to pass on."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import cv2

from edge.camera.virtual.camera import VirtualCamera
from edge.config.model import CameraConfig, Config, DeviceConfig, ModelsConfig, MqttConfig, ScreeningConfig, StopConfig
from edge.diagnosis.speed import FieldTimes, machine, quantile, timed
from edge.errors import StorageError
from edge.pipeline import Pipeline
from edge.service.service import Service
from edge.types import Frame

WIDTH, HEIGHT = 640, 480
"""Of the fields that are read, so that machines compare; 0.25 µm a pixel."""

BUSY = 0.5
"""A machine whose load, before anything is measured, is above this share of its cores does something else as well."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What this machine did with fields of a rendered slide.

    known, unknown: fields whose scale is given, and those whose scale is estimated for each. frames_per_s: of `run`,
    which reads them from JPEG files as fast as it can and keeps what it finds. peak_mb: memory of all of this.
    """

    machine: dict[str, Any]
    networks: str
    known: FieldTimes
    unknown: FieldTimes
    frames_per_s: float
    peak_mb: float


def busy() -> str:
    """Return what to say where the machine does something else as well; else nothing."""
    load = os.getloadavg()[0]
    if load <= BUSY * (os.cpu_count() or 1):
        return ""
    return f"the machine is busy (load {load:.1f}), so it will seem too slow. Is the service running? Stop it meanwhile"


def measured(models: ModelsConfig, fields: int) -> Speed:
    """Read rendered fields in each way, with the device's own networks.

    Raises:
        ModelError: A network cannot be used.
        StorageError: The temporary folder has no room.
    """
    about = machine()
    with VirtualCamera(CameraConfig(kind="virtual", width=WIDTH, height=HEIGHT, frames=fields)) as camera:
        frames = [frame for frame in iter(camera.read, None) if frame is not None]
    with Pipeline(Config(models=models)) as pipeline:
        networks = " and ".join(dict.fromkeys((pipeline.detector.runtime, pipeline.classifier.runtime)))
        known = timed(pipeline, frames)
        unknown = timed(pipeline, (replace(frame, um_per_px=None) for frame in frames))
    rate = _run_rate(models, frames)
    return Speed(about, networks, known, unknown, rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def lines(speed: Speed) -> Iterator[str]:
    """Return the table as Markdown, by lines."""
    about = speed.machine
    yield f"## sicklescope {about['sicklescope']} on {about['board'] or about['cpu']}, {date.today().isoformat()}"
    yield ""
    features = ", ".join(about["features"]) or "no instructions for INT8"
    yield f"- {about['cpu']}, {about['cores']} cores ({features})"
    yield f"- {about['memory_mb'] / 1e3:.1f} GB, {about['system']}, load {about['load']:.2f} before"
    yield f"- Python {about['python']}, ONNX Runtime {about['onnxruntime']}, OpenCV {about['opencv-python-headless']}"
    yield f"- networks: {speed.networks}"
    yield ""
    count, cells = len(speed.known.cells), sum(speed.known.cells)
    fields = f"{count} fields of {WIDTH} by {HEIGHT} pixels, {cells / count:.0f} cells each"
    yield f"| {fields} | median, ms | 95 % within, ms |"
    yield "|---|---|---|"
    rows = [("whole, scale known", speed.known.ms["whole"])]
    rows += [(name, ms) for name, ms in speed.known.ms.items() if name not in ("whole", "magnification")]
    rows += [("whole, scale not known", speed.unknown.ms["whole, scale not known"])]
    for name, ms in rows:
        yield f"| {name} | {quantile(ms, 50):.1f} | {quantile(ms, 95):.1f} |"
    yield ""
    yield f"`run` reads {speed.frames_per_s:.1f} frames a second from JPEG files. Peak memory {speed.peak_mb:.0f} MB."


def _run_rate(models: ModelsConfig, frames: list[Frame]) -> float:
    """Return how many frames a second the service reads from files, from the first that it has read to the last."""
    at_s: list[float] = []
    with _device(models, frames) as config:
        Service(config, observer=lambda _: at_s.append(time.monotonic())).run()
    return (len(at_s) - 1) / (at_s[-1] - at_s[0])


@contextmanager
def _device(models: ModelsConfig, frames: list[Frame]) -> Iterator[Config]:
    """Write frames to files, and yield a configuration by which the service reads them once."""
    with tempfile.TemporaryDirectory() as name:
        pictures = Path(name) / "pictures"
        pictures.mkdir()
        for frame in frames:
            encoded = cv2.imencode(".jpg", cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))[1]
            try:
                pictures.joinpath(f"{frame.index:06}.jpg").write_bytes(encoded.tobytes())
            except OSError as error:
                raise StorageError(f"{pictures}: {error.strerror}. Expected some megabytes of room there") from error
        yield Config(
            device=DeviceConfig(state_dir=Path(name)),
            camera=CameraConfig(kind="replay", device=str(pictures)),
            models=models,
            screening=ScreeningConfig(start="at_once", stop=StopConfig(at_target=False)),
            mqtt=MqttConfig(enabled=False),
        )
