"""What the tests of the service share: the command, a configuration, and a camera that does as told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edge.api.client import ask
from edge.api.unix_socket import short
from edge.config.model import CameraConfig, Config, DeviceConfig, MqttConfig, OpticsConfig, ScreeningConfig, StopConfig
from edge.errors import CameraError
from edge.sample.commands import parse
from edge.service.outcome import Outcome
from edge.service.service import Service
from edge.storage.database import Database, database_path
from edge.storage.outbox import Outbox
from edge.types import Frame
from tests.mosquitto import free_port, wait_for


def configured(state: Path, port: int, camera: CameraConfig | None = None) -> Config:
    return Config(
        device=DeviceConfig(site="lab", device="one", state_dir=state),
        camera=camera or CameraConfig(kind="virtual", width=320, height=240, frames=6),
        optics=OpticsConfig(um_per_px=0.25),
        screening=ScreeningConfig(start="at_once", stop=StopConfig(at_target=False)),
        mqtt=MqttConfig(host="127.0.0.1", port=port, interval_s=0.05, telemetry_interval_s=0.2),
    )


class Scripted:
    """A camera of plain grey frames: `script` may wait, or raise, before the frame of each index."""

    name = "a scripted camera"

    def __init__(self, script: Callable[[int], None], live: bool = False, frames: int = 10) -> None:
        self.live, self.index, self.closed = live, 0, False
        self._script, self._frames = script, frames

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def read(self) -> Frame | None:
        self._script(self.index)
        if self.index == self._frames:
            return None
        pixels = np.full((64, 64, 3), 200, np.uint8)
        pixels.setflags(write=False)
        self.index += 1
        return Frame(pixels, self.index - 1, datetime.now(timezone.utc), time.monotonic(), f"#{self.index - 1}")


def unplugged_after(frames: int) -> Callable[[int], None]:
    def script(index: int) -> None:
        if index == frames:
            raise CameraError("the camera stopped giving frames")

    return script


def outcome_of(service: Service) -> Outcome:
    """Run a service that reads a sample, and return what came of it."""
    outcome = service.run()
    assert outcome is not None
    return outcome


@contextmanager
def outbox_of(config: Config) -> Iterator[Outbox]:
    with Database(database_path(config)) as database:
        yield Outbox(database)


def waiting(folder: Path, **rules: Any) -> Config:
    camera = CameraConfig(kind="virtual", width=320, height=240, frames=100_000, fps=50, overlap=0.3)
    config = configured(folder, free_port(), camera)
    screening = ScreeningConfig(stop=StopConfig(at_target=False, **rules), store_interval_s=0.1)
    return config.model_copy(update={"screening": screening})


def listens(folder: Path) -> bool:
    """Return whether a service takes connections: its socket is there a moment before."""
    if not (folder / "sicklescope.sock").exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, short(folder) as path:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


@contextmanager
def running(config: Config) -> Iterator[Service]:
    service = Service(config)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        wait_for(lambda: listens(config.device.state_dir) or not thread.is_alive(), 60)
        yield service
    finally:
        service.stop()
        thread.join(60)
        assert not thread.is_alive()


def do(folder: Path, **fields: Any) -> dict[str, Any]:
    return ask(folder, parse(json.dumps({"by": "nurse", **fields}).encode()))
