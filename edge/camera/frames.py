"""What the cameras share: a frame made of what OpenCV captured, stamped with when it was."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.decode.field import DecodedField
from edge.errors import CameraError
from edge.types import Frame, Pixels


def rgb(captured: NDArray[Any]) -> Pixels:
    """Return a new RGB array of what a cv2.VideoCapture gave.

    It gives uint8 (H, W, 3) BGR or (H, W) grey; anything else is a CameraError.
    """
    if captured.dtype != np.uint8 or captured.shape[2:] not in ((), (1,), (3,)):
        raise CameraError(
            f"the source gives {captured.dtype} pixels of shape {captured.shape}; expected 8-bit BGR or grey. "
            "End a GStreamer pipeline with: videoconvert ! video/x-raw,format=BGR ! appsink"
        )
    code = cv2.COLOR_BGR2RGB if captured.shape[2:] == (3,) else cv2.COLOR_GRAY2RGB
    return np.asarray(cv2.cvtColor(captured, code), np.uint8)


def stamped(
    pixels: Pixels,
    index: int,
    name: str,
    um_per_px: float | None = None,
    stage_px: tuple[float, float] | None = None,
    flags: tuple[str, ...] = (),
) -> Frame:
    """Make a frame captured now of pixels that nobody else will write; they become read-only."""
    pixels.setflags(write=False)
    return Frame(pixels, index, datetime.now(timezone.utc), time.monotonic(), name, um_per_px, stage_px, flags)


class Pace:
    """Holds a source back to a frame rate; 0 is as fast as possible.

    A late frame is not made up for by a burst.
    """

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps if fps else 0.0
        self._due_s = 0.0

    def wait(self) -> None:
        """Sleep until the next frame is due."""
        now = time.monotonic()
        if self._due_s > now:
            time.sleep(self._due_s - now)
        self._due_s = max(self._due_s, now) + self._interval_s


def frame_of(found: DecodedField, index: int) -> Frame:
    """Make a frame of a field that was decoded from a file."""
    frame = stamped(found.pixels, index, found.name, found.um_per_px, flags=found.flags)
    return frame if found.um_per_px is None else replace(frame, um_per_px_source="file")
