"""A live camera through OpenCV: V4L2 or USB by index or path, or a GStreamer pipeline (Jetson CSI)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import cv2

from edge.camera.frames import rgb, stamped
from edge.config.model import CameraConfig
from edge.errors import CameraError
from edge.types import Frame, Pixels

RATE_TOLERANCE = 0.05
"""30 frames a second are 29.97 to some drivers."""


def has_gstreamer() -> bool:
    """Whether this OpenCV can open a GStreamer pipeline. The wheels cannot.

    The system's own usually can.
    """
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


def build_in_words() -> str:
    """Return this OpenCV's version, and whether it has GStreamer."""
    return f"{cv2.__version__}, {'with' if has_gstreamer() else 'without'} GStreamer"


def present_devices(folder: Path = Path("/dev")) -> list[str]:
    """Return the paths of the video devices there are, video2 before video10."""
    return [str(path) for path in sorted(folder.glob("video[0-9]*"), key=lambda path: (len(path.name), path.name))]


def _is_pipeline(device: str) -> bool:
    return " ! " in device


def open_capture(device: str) -> cv2.VideoCapture:
    """Open an index, a path or a GStreamer pipeline; CameraError says what is missing."""
    if _is_pipeline(device):
        if not has_gstreamer():
            raise CameraError(
                "camera.device is a GStreamer pipeline, and this OpenCV is built without GStreamer, as every pip wheel "
                "is. Use the system's OpenCV (on a Jetson that of JetPack, else the package python3-opencv); "
                "`sicklescope doctor` shows what there is"
            )
        capture = cv2.VideoCapture(device, cv2.CAP_GSTREAMER)
        remedy = "Try the pipeline with gst-launch-1.0; it must end in: video/x-raw,format=BGR ! appsink"
    else:
        path = Path(f"/dev/video{int(device)}" if device.isdecimal() else device)
        if not path.exists():
            present = ", ".join(present_devices()) or "none"
            raise CameraError(f"camera {path} not found; present: {present}. Set camera.device in sicklescope.toml")
        if not os.access(path, os.R_OK):
            raise CameraError(f"camera {path} may not be read by this user. Add the user to the group `video`")
        capture = cv2.VideoCapture(str(path))
        remedy = "Is another program using it, and is it a capture device (v4l2-ctl --list-devices)?"
    if not capture.isOpened():
        raise CameraError(f"camera {device} is there but cannot be opened. {remedy}")
    return capture


class OpenCVCamera:
    """A live camera through OpenCV.

    Entering opens it and verifies size and rate, by the driver's word and a frame.
    """

    live = True

    def __init__(self, config: CameraConfig, open_capture: Callable[[str], cv2.VideoCapture] = open_capture) -> None:
        self.name = f"camera {config.device}"
        self._config = config
        self._open_capture = open_capture
        self._capture: cv2.VideoCapture | None = None
        self._index = 0

    def __enter__(self) -> OpenCVCamera:
        try:
            self.name += f" {self._open()}"
        except BaseException:  # whatever it is, the device must not stay open
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def read(self) -> Frame:
        """Return the next frame; CameraError when the driver has none."""
        frame = stamped(self._grab(), self._index, f"{self.name}#{self._index}")
        self._index += 1
        return frame

    def _open(self) -> str:
        """Open the device, ask for the configured mode, and return the mode that it truly gives."""
        asked = self._config
        self._capture = self._open_capture(asked.device)
        if not _is_pipeline(asked.device):  # a pipeline's caps say its size and rate
            for prop, value in (
                (cv2.CAP_PROP_FRAME_WIDTH, asked.width),
                (cv2.CAP_PROP_FRAME_HEIGHT, asked.height),
                (cv2.CAP_PROP_FPS, asked.fps),
            ):
                if value:
                    self._capture.set(prop, value)
        height, width = self._grab().shape[:2]  # a frame tells the size better than the driver does
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1e4 else 0.0  # unknown is 0, -1 or nan, by driver
        mode = f"{width}x{height}@{f'{rate:g}' if rate else 'unknown rate'}"
        size_differs = asked.width not in (None, width) or asked.height not in (None, height)
        # A driver that tells no rate cannot be held to one; telemetry shows the rate that comes.
        if size_differs or (asked.fps and rate and abs(rate - asked.fps) > RATE_TOLERANCE * asked.fps):
            want = f"{asked.width or 'any'}x{asked.height or 'any'}" + (f"@{asked.fps:g}" if asked.fps else "")
            raise CameraError(
                f"{self.name}: asked {want}, driver gave {mode}. Set camera.width, camera.height and camera.fps "
                "to a mode that it has (v4l2-ctl --list-formats-ext)"
            )
        return mode

    def _grab(self) -> Pixels:
        if self._capture is None:
            raise CameraError(f"{self.name} is not open")
        ok, captured = self._capture.read()
        if not ok:
            raise CameraError(f"{self.name} stopped giving frames. Check its cable and power")
        return rgb(captured)

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
