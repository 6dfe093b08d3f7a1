"""Times the stages that a frame passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(stage_ms: dict[str, float], name: str) -> Iterator[None]:
    """Add the milliseconds that a stage takes to `stage_ms`, under its name."""
    start = time.perf_counter()
    try:
        yield
    finally:
        stage_ms[name] = (time.perf_counter() - start) * 1e3
