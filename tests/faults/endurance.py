"""A device that reads a day of frames: `python endurance.py STATE PORT FRAMES HOUR` prints its figures as JSON.

The networks are drawn: the detector finds the cells of an endless slide of which the frame says where it is, and the
classifier names each of them the same way. All else, from the quality stage to database and broker, is as it ships.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import numpy as np

FIELDS = 100
"""Of a sample."""

STEP_PX = 130
"""From a frame to the next: three in five of a frame were seen before."""

PITCH_PX = 60


def cells_of(x: int, y: int, w: int, h: int) -> np.ndarray:
    """Return where the middles of the slide's cells are, float (N, 2) in pixels of the frame at (x, y)."""
    i, j = np.meshgrid(
        np.arange(x // PITCH_PX, (x + w) // PITCH_PX + 1), np.arange(y // PITCH_PX, (y + h) // PITCH_PX + 1)
    )
    i, j = i.ravel().astype(np.uint32), j.ravel().astype(np.uint32)
    mixed = (i * np.uint32(0x9E3779B1)) ^ (j * np.uint32(0x85EBCA6B))
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    mixed ^= mixed >> np.uint32(13)
    jitter = np.stack([mixed & 31, (mixed >> np.uint32(8)) & 31], 1).astype(float)
    return np.stack([i, j], 1) * PITCH_PX + 12 + jitter - (x, y)


def detector(batch: np.ndarray) -> dict[str, np.ndarray]:
    """Find the cells of the place that the frame's first pixels name."""
    _, h, w, _ = batch.shape
    x = int(batch[0, 0, :4, 0].copy().view(np.uint32)[0])
    peaks, sides = np.zeros((1, 3, h // 4, w // 4), np.float32), np.full((1, 4, h // 4, w // 4), 14, np.float32)
    at = cells_of(x, 0, w, h)
    at = at[(at >= 2).all(1) & (at < (w - 2, h - 2)).all(1)]
    column, row = (at // 4).astype(int).T
    peaks[0, 0, row, column] = 0.9
    offset = at - (np.stack([column, row], 1) + 0.5) * 4
    sides[0, :, row, column] = 14 + np.concatenate([-offset, offset], 1)
    return {"peaks": peaks, "sides": sides}


def classifier(batch: np.ndarray) -> dict[str, np.ndarray]:
    """Name every cell a normal one."""
    prob = np.zeros((len(batch), 6), np.float32)
    prob[:, 0], prob[:, 2] = 0.97, 0.03
    return {"prob": prob}


def drawn(call: Callable[[np.ndarray], dict[str, np.ndarray]], shipped: Any) -> Any:
    """Return a network that answers so, under the contract of a shipped one."""

    class Drawn(SimpleNamespace):
        def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            return call(batch)

        def close(self) -> None:
            pass

    return Drawn(contract=shipped.contract, sha256=shipped.sha256, runtime="drawn")


class Slide:
    """A camera over the endless slide."""

    name, live = "an endless slide", False

    def __init__(self) -> None:
        self.index = 0

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Any:
        from edge.types import Frame

        pixels = np.full((240, 320, 3), 200, np.uint8)
        pixels[0, :4, 0] = np.array([self.index * STEP_PX], np.uint32).view(np.uint8)
        pixels.setflags(write=False)
        self.index += 1
        now = datetime.now(timezone.utc)
        return Frame(pixels, self.index - 1, now, time.monotonic(), f"#{self.index - 1}")


def figures() -> tuple[float, int, int]:
    """Return resident memory in MB, threads, and open descriptors of this program."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return (
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        len(list(Path("/proc/self/task").iterdir())),
        len(list(Path("/proc/self/fd").iterdir())),
    )


def main() -> None:
    """Read so many frames as samples of a hundred, one after the other in one program."""
    from edge.orders import Start

    import edge.service
    from edge.config import Config, DeviceConfig, MqttConfig, OpticsConfig, QualityConfig, ScreeningConfig
    from edge.errors import SampleError
    from edge.pipeline import Pipeline
    from edge.service import Service, Snapshot

    state, port, frames, hour = Path(sys.argv[1]), *map(int, sys.argv[2:])
    config = Config(
        device=DeviceConfig(site="lab", device="one", state_dir=state),
        optics=OpticsConfig(um_per_px=0.25),
        quality=QualityConfig(gate=False),
        screening=ScreeningConfig.model_validate({"stop": {"at_target": False, "fields": FIELDS}}),
        mqtt=MqttConfig(host="127.0.0.1", port=port),
    )
    shipped = Pipeline(config)
    networks = drawn(detector, shipped.detector), drawn(classifier, shipped.classifier)
    edge.service.Pipeline = lambda config, **_: Pipeline(config, networks)  # type: ignore[misc,assignment]
    edge.service.open_camera = lambda *_: Slide()  # type: ignore[assignment]
    seen: list[tuple[float, int, int]] = []
    read = cells = 0
    idle = threading.Semaphore()

    def look(snapshot: Snapshot) -> None:
        nonlocal read, cells
        read += 1
        if read % max(1, hour // 60) == 0:
            seen.append(figures())
        if snapshot.frames == FIELDS:
            cells += snapshot.counts.cells_seen
            idle.release()
        if read == frames:
            service.stop()
            idle.release()

    service = Service(config, observer=look)

    def order() -> None:
        for number in range(frames // FIELDS + 1):
            idle.acquire()
            while not service._stopping:
                try:
                    service.orders.ask(Start(command="start", by="nobody", sample=f"E-{number}"))
                    break
                except SampleError:
                    time.sleep(0.01)  # the last one is being ended

    thread = threading.Thread(target=order, daemon=True)
    thread.start()
    began = time.monotonic()
    service.run()
    of_hour = max(1, hour // max(1, hour // 60))
    first, last = seen[:of_hour], seen[-of_hour:]
    print(
        json.dumps(
            {
                "frames": read, "cells": cells, "seconds": round(time.monotonic() - began),
                "first_mb": mean(one[0] for one in first), "last_mb": mean(one[0] for one in last),
                "threads": [first[-1][1], last[-1][1]], "descriptors": [first[-1][2], last[-1][2]],
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
