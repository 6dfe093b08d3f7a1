"""A bare network from an ONNX file, run by ONNX Runtime as ours are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.runtime.onnx import cpu_session
from edge.types import Pixels


class PeerNetwork:
    """A network that takes float32 (1, 3, H, W) of fixed size; what it answers is thrown away."""

    def __init__(self, path: Path, threads: int) -> None:
        self.name = path.stem
        self._session = cpu_session(path, f"peer {path}", threads)
        given = self._session.get_inputs()[0]
        self._input, (_, _, self._height, self._width) = given.name, given.shape

    def prepared(self, pixels: Pixels) -> np.ndarray:
        """Bring a picture to the network's size, 0–1."""
        shown = cv2.resize(pixels, (self._width, self._height)).astype(np.float32) / 255
        return np.ascontiguousarray(shown.transpose(2, 0, 1)[None])

    def __call__(self, batch: np.ndarray) -> None:
        """Run it."""
        self._session.run(None, {self._input: batch})
