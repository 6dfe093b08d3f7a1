"""A Raspberry Pi's own camera, through picamera2: fixed exposure, gain and white balance, and no shading correction."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Any

import numpy as np

from edge.camera.frames import stamped
from edge.config.model import CameraConfig
from edge.errors import CameraError
from edge.types import Frame

RGB = "BGR888"
"""What libcamera calls red, green, blue in this order in memory: its names are those of the bits of a word (DRM)."""

SLOWEST_US = 33_333
"""A frame's time where none is asked for and the exposure is shorter: picamera2's own, for video."""


class PiCamera:
    """A live camera; entering opens and starts it with the configured controls."""

    live = True

    def __init__(self, config: CameraConfig) -> None:
        self.name = f"Raspberry Pi camera {config.device}"
        self._config = config
        self._camera: Any = None
        self._index = 0

    def __enter__(self) -> PiCamera:
        try:
            self._start(_sdk())
        except (RuntimeError, IndexError, OSError) as error:
            self._close()
            why = f"{error} ({error.__cause__})" if error.__cause__ else str(error)
            raise CameraError(f"{self.name} cannot be opened: {why}. See `rpicam-hello --list-cameras`") from error
        except BaseException:  # whatever it is, the device must not stay open
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self) -> Frame:
        """Return the next frame; CameraError when the camera stopped.

        One that hangs is ended with its process.
        """
        try:
            pixels = np.asarray(self._camera.capture_array("main"), np.uint8)
        except RuntimeError as error:
            raise CameraError(f"{self.name} stopped giving frames: {error}. Check its ribbon cable") from error
        frame = stamped(pixels, self._index, f"{self.name}#{self._index}")
        self._index += 1
        return frame

    def _start(self, sdk: Any) -> None:
        asked = self._config
        if not asked.device.isdecimal():
            raise CameraError(
                f"camera.device = {asked.device!r} is no Raspberry Pi camera; expected an index such as 0"
            )
        number, found = int(asked.device), sdk.global_camera_info()
        if number >= len(found):
            models = ", ".join(str(info["Model"]) for info in found) or "none"
            raise CameraError(f"{self.name} not found; present: {models}. Check its ribbon cable, both ends")
        tuning = None if asked.picamera2.lens_shading else _unshaded(sdk, f"{found[number]['Model']}.json")
        self._camera = sdk(number, tuning=tuning)
        main: dict[str, Any] = {"format": RGB}
        if asked.width and asked.height:
            main["size"] = (asked.width, asked.height)
        self._camera.configure(self._camera.create_video_configuration(main=main, controls=controls(asked)))
        given = self._camera.camera_configuration()["main"]
        width, height = given["size"]
        if (asked.width or width, asked.height or height, RGB) != (width, height, given["format"]):
            raise CameraError(
                f"{self.name}: asked {asked.width}x{asked.height} {RGB}, it gives {width}x{height} {given['format']}. "
                "Set camera.width and camera.height, both, to a size that it has"
            )
        self._camera.start()
        self.name = f"{self.name} {found[number]['Model']} {width}x{height}"

    def _close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def controls(config: CameraConfig) -> dict[str, Any]:
    """Return libcamera's controls for a configuration: times in µs, colour gains as (red, blue)."""
    asked = config.picamera2
    frame_us = round(1e6 / config.fps) if config.fps else max(SLOWEST_US, asked.exposure_us or 0)
    found: dict[str, Any] = {"FrameDurationLimits": (frame_us, frame_us)}
    if asked.exposure_us is not None:
        found |= {"AeEnable": False, "ExposureTime": asked.exposure_us, "AnalogueGain": asked.gain}
    if asked.red_gain is not None:
        found |= {"AwbEnable": False, "ColourGains": (asked.red_gain, asked.blue_gain)}
    return found


def _unshaded(sdk: Any, file: str) -> Any:
    """Return the camera's tuning with a lens shading of one everywhere, as libcamera's alsc.cpp reads it."""
    try:
        tuning = sdk.load_tuning_file(file)
    except RuntimeError as error:
        raise CameraError(
            f"libcamera has no {file} from which to take out the lens shading: {error}. "
            "Set camera.picamera2.lens_shading = true"
        ) from error
    try:
        shading = sdk.find_tuning_algo(tuning, "rpi.alsc")
    except (KeyError, StopIteration):  # of a monochrome or USB camera: nothing to switch off
        return tuning
    shading |= {"n_iter": 0, "luminance_strength": 0.0, "calibrations_Cr": [], "calibrations_Cb": []}
    return tuning


def _sdk() -> Any:
    """Return the class Picamera2; CameraError says how to install it."""
    try:
        return import_module("picamera2").Picamera2
    except ImportError as error:
        raise CameraError(
            f"camera.kind is picamera2, which cannot be imported: {error}. On a Raspberry Pi: sudo apt install "
            "python3-picamera2, and an environment made with --system-site-packages"
        ) from error
