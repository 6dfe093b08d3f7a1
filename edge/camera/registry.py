"""The table of cameras: what each needs, whether it is there, and how the configured one is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from edge.camera.base import Camera
from edge.camera.isolated import IsolatedCamera
from edge.config.model import CameraConfig, QualityConfig
from edge.errors import CameraError


@dataclass(frozen=True, slots=True)
class CameraKind:
    """One row of the table.

    target: `module:class`, imported when chosen. live: it has a driver, which may hang or crash, and is opened in a
    process of its own; else it waits to be read in this one. needs: the library. found: gives that library's version;
    raises CameraError that says what is missing.
    """

    target: str
    live: bool
    needs: str
    found: Callable[[], str]


def _opencv() -> str:
    from edge.camera.opencv import build_in_words

    return build_in_words()


def _picamera2() -> str:
    if find_spec("picamera2") is None:
        raise CameraError("not installed; for a Raspberry Pi's camera")
    try:
        return version("picamera2")
    except PackageNotFoundError:  # a module of the operating system that no installer has registered
        return "version unknown"


CAMERAS = {
    "opencv": CameraKind("edge.camera.opencv:OpenCVCamera", True, "OpenCV", _opencv),
    "picamera2": CameraKind("edge.camera.picamera2:PiCamera", True, "picamera2", _picamera2),
    "openflexure": CameraKind("edge.camera.openflexure:OpenFlexureCamera", True, "OpenCV", _opencv),
    "virtual": CameraKind("edge.camera.virtual.camera:VirtualCamera", False, "OpenCV", _opencv),
    "replay": CameraKind("edge.camera.replay:ReplayCamera", False, "OpenCV", _opencv),
}
"""Every camera there is; a new one is a row here and a name in CameraConfig.kind."""


def open_camera(config: CameraConfig, megapixels_max: float = QualityConfig().megapixels_max) -> Camera:
    """Make the camera that the configuration names; it is opened by `with`.

    megapixels_max: files above it are refused by their header; a live camera's size is what was asked of it.
    """
    if config.kind not in CAMERAS:
        raise CameraError(f"camera.kind {config.kind!r} not found; expected one of {', '.join(CAMERAS)}")
    if CAMERAS[config.kind].live:
        return IsolatedCamera(partial(_made, config), config)
    return _made(config, **({"megapixels_max": megapixels_max} if config.kind == "replay" else {}))


def _made(config: CameraConfig, **more: float) -> Camera:
    module, _, name = CAMERAS[config.kind].target.partition(":")
    camera: Camera = getattr(import_module(module), name)(config, **more)
    return camera
