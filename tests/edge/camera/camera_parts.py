"""Cameras for a child process, which imports them from here: each does what some driver did to somebody."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edge.camera.base import Camera
from edge.camera.frames import stamped
from edge.config.model import CameraConfig
from edge.errors import CameraError
from edge.types import Frame


class Plugged:
    """A camera that is there while the file `plug` is; it writes its process's number there.

    Its frames carry their number in every pixel. At frame `at` it does `what`, until the file `cured` is beside it.
    """

    live = True

    def __init__(
        self, plug: Path, what: str = "", at: int = 3, size: tuple[int, int] = (48, 64), fps: float = 200
    ) -> None:
        self.name = "a plugged camera"
        self._plug, self._what, self._at, self._size, self._fps = plug, what, at, size, fps
        self._index = 0

    def __enter__(self) -> Plugged:
        if not self._plug.exists():
            raise CameraError(f"{self.name} not found")
        if self._what == "hang open":
            time.sleep(1000)
        self._plug.write_text(str(os.getpid()), "ascii")
        self.name += f" {self._size[1]}x{self._size[0]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._what == "hang close":
            time.sleep(1000)
        self._plug.with_name("closed").touch()

    def read(self) -> Frame:
        time.sleep(1 / self._fps)
        if not self._plug.exists():
            raise CameraError(f"{self.name} stopped giving frames")
        if self._index == self._at and not self._plug.with_name("cured").exists():
            self._misbehave()
        height, width = self._size
        frame = stamped(np.full((height, width, 3), self._index % 256, np.uint8), self._index, f"#{self._index}")
        self._index += 1
        return frame

    def _misbehave(self) -> None:
        self._plug.with_name("misbehaving").touch()
        if self._what == "hang":  # in a driver that does not even let go of Python's lock
            ctypes.PyDLL(None).sleep(1000)
        elif self._what == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self._what == "mistake":
            raise ZeroDivisionError("a mistake in the adapter")
        elif self._what == "grow":
            self._size = (self._size[0] * 4, self._size[1] * 4)


def frame_of(camera: Camera) -> Frame:
    """Read a frame where the source has not ended."""
    frame = camera.read()
    assert frame is not None
    return frame


def live(**more: Any) -> CameraConfig:
    return CameraConfig(kind="opencv", device="7", **more)
