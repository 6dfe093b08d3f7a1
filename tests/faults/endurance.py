"""A device that reads a day of frames: `python -m tests.faults.endurance STATE PORT FRAMES HOUR` prints JSON.

Networks and camera are drawn (drawn.py); all else is as it ships.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from statistics import mean

import numpy as np

from tests.faults.drawn import Slide, pipeline_class

FIELDS = 100
"""Of a sample."""

WARM_UP = 5 * FIELDS
"""Frames before the first that is measured: libraries are loaded and caches filled in the first samples."""


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
    import edge.service.service
    from edge.config.model import Config, DeviceConfig, MqttConfig, OpticsConfig, QualityConfig, ScreeningConfig
    from edge.errors import SampleError
    from edge.pipeline import Pipeline
    from edge.sample.commands import Start
    from edge.service.reporter import Snapshot
    from edge.service.service import Service

    state, port, frames, hour = Path(sys.argv[1]), *map(int, sys.argv[2:])
    frames += WARM_UP
    config = Config(
        device=DeviceConfig(site="lab", device="one", state_dir=state),
        optics=OpticsConfig(um_per_px=0.25),
        quality=QualityConfig(gate=False),
        screening=ScreeningConfig.model_validate({"stop": {"at_target": False, "fields": FIELDS}}),
        mqtt=MqttConfig(host="127.0.0.1", port=port),
    )
    vars(edge.service.service)["Pipeline"] = pipeline_class(Pipeline(config))
    vars(edge.service.service)["open_camera"] = lambda *_: Slide()
    seen: list[tuple[float, int, int]] = []
    read = cells = 0
    idle = threading.Semaphore()

    def look(snapshot: Snapshot) -> None:
        nonlocal read, cells
        read += 1
        if read > WARM_UP and read % max(1, hour // 60) == 0:
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
                    service.commands.ask(Start(command="start", by="nobody", sample=f"E-{number}"))
                    break
                except SampleError:
                    time.sleep(0.01)  # the last one is being ended

    thread = threading.Thread(target=order, daemon=True)
    thread.start()
    began = time.monotonic()
    service.run()
    of_hour = max(1, hour // max(1, hour // 60))
    first, last = seen[:of_hour], seen[-of_hour:]
    tenths = [float(tenth.mean()) for tenth in np.array_split([one[0] for one in seen], 10) if len(tenth)]
    print(
        json.dumps(
            {
                "frames": read, "cells": cells, "seconds": round(time.monotonic() - began),
                "first_mb": mean(one[0] for one in first), "last_mb": mean(one[0] for one in last),
                "tenths_mb": [round(one, 1) for one in tenths],
                "threads": [first[-1][1], last[-1][1]], "descriptors": [first[-1][2], last[-1][2]],
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
