"""Networks and a camera that cost next to nothing: an endless slide whose cells are where a formula says.

A frame names its place in its first pixels, the detector answers with the cells of that place, and the classifier names
each of them the same way. All else, from the quality stage to database and broker, is as it ships.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import numpy as np

from edge.config.model import Config
from edge.pipeline import Pipeline
from edge.types import Frame

STEP_PX = 130
"""From a frame to the next: three in five of a frame were seen before."""

PITCH_PX = 60


def cells_of(x: int, y: int, w: int, h: int) -> np.ndarray:
    """Return where the middles of the slide's cells are, float (N, 2) in pixels of the frame at (x, y)."""
    i, j = np.meshgrid(
        np.arange(x // PITCH_PX, (x + w) // PITCH_PX + 1), np.arange(y // PITCH_PX, (y + h) // PITCH_PX + 1)
    )
    column, row = i.ravel().astype(np.uint32), j.ravel().astype(np.uint32)
    mixed = (column * np.uint32(0x9E3779B1)) ^ (row * np.uint32(0x85EBCA6B))
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    mixed ^= mixed >> np.uint32(13)
    jitter = np.stack([mixed & 31, (mixed >> np.uint32(8)) & 31], 1).astype(float)
    at: np.ndarray = np.stack([column, row], 1) * PITCH_PX + 12 + jitter - (x, y)
    return at


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
    """Name every cell a normal one, and none a strange one."""
    prob = np.zeros((len(batch), 6), np.float32)
    prob[:, 0], prob[:, 2] = 0.97, 0.03
    return {"prob": prob, "novelty": np.ones(len(batch), np.float32)}


def pipeline_class(shipped: Pipeline) -> type[Pipeline]:
    """Return a pipeline with the drawn networks, under the contracts of a pipeline that was loaded."""
    networks = drawn(detector, shipped.detector), drawn(classifier, shipped.classifier)

    class Drawn(Pipeline):
        def __init__(self, config: Config, **_: Any) -> None:
            super().__init__(config, networks)

    return Drawn


def drawn(call: Callable[[np.ndarray], dict[str, np.ndarray]], shipped: Any) -> Any:
    """Return a network that answers so, under the contract of a shipped one."""

    class Drawn(SimpleNamespace):
        def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            return call(batch)

        def close(self) -> None:
            pass

    return Drawn(contract=shipped.contract, sha256=shipped.sha256, runtime="drawn")


class Slide:
    """A camera over the endless slide. frames: it ends after so many."""

    name, live = "an endless slide", False

    def __init__(self, frames: int | None = None) -> None:
        self.index = 0
        self._frames = frames

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Frame | None:
        if self.index == self._frames:
            return None
        pixels = np.full((240, 320, 3), 200, np.uint8)
        pixels[0, :4, 0] = np.array([self.index * STEP_PX], np.uint32).view(np.uint8)
        pixels.setflags(write=False)
        self.index += 1
        now = datetime.now(timezone.utc)
        return Frame(pixels, self.index - 1, now, time.monotonic(), f"#{self.index - 1}")
