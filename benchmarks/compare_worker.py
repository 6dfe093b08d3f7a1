"""Reads pictures with the version that its Python holds, one a line of standard input: part of benchmarks.compare.

Uses only what 0.6.0 and every later version have.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from datetime import datetime, timezone
from typing import Any

MODES = ("known", "unknown", "checked")
"""known: the scale is given, and the magnification checked at the first pictures only. unknown: it is estimated anew
for each picture. checked: it is given, and the magnification checked for each."""


def main() -> None:
    """Answer requests until the input ends."""
    import numpy as np  # of the version's own environment

    from edge.pipeline import Pipeline
    from edge.types import Frame

    try:
        settings = importlib.import_module("edge.config.model")
    except ImportError:  # 0.6.0 and before
        settings = importlib.import_module("edge.config")
    config = settings.Config.model_validate({"models": {"threads": int(sys.argv[1])}})
    with Pipeline(config) as pipeline:
        for number, line in enumerate(sys.stdin):
            request: dict[str, Any] = json.loads(line)
            pixels = np.load(request["picture"])
            pixels.setflags(write=False)
            given = None if request["mode"] == "unknown" else request["um_per_px"]
            frame = Frame(pixels, number, datetime.now(timezone.utc), time.monotonic(), "", given)
            if request["mode"] != "known":
                pipeline.new_sample()
            cpu, wall = time.process_time(), time.perf_counter()
            reading = pipeline.read(frame)
            answer = {
                "cpu_ms": 1000 * (time.process_time() - cpu),
                "wall_ms": 1000 * (time.perf_counter() - wall),
                "cells": len(reading.boxes),
                "um_per_px": reading.scale.um_per_px if reading.scale else None,
            }
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
