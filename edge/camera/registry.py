"""The table of cameras, and how the configured one is opened."""

from __future__ import annotations

from functools import partial
from importlib import import_module

from edge.camera.base import Camera
from edge.camera.isolated import IsolatedCamera
from edge.config.model import CameraConfig, QualityConfig
from edge.errors import CameraError

LIVE = {
    "opencv": "edge.camera.opencv:OpenCVCamera",
    "picamera2": "edge.camera.picamera2:PiCamera",
    "openflexure": "edge.camera.openflexure:OpenFlexureCamera",
}
"""Cameras with a driver, which may hang or crash: each is opened in a process of its own."""

READ = {
    "virtual": "edge.camera.virtual.camera:VirtualCamera",
    "replay": "edge.camera.replay:ReplayCamera",
}
"""Sources that wait to be read, and are read in this process."""

CAMERAS = LIVE | READ
"""Every camera there is; a new one is a row above and a name in CameraConfig.kind. Imported only when chosen."""


def open_camera(config: CameraConfig, megapixels_max: float = QualityConfig().megapixels_max) -> Camera:
    """Make the camera that the configuration names; it is opened by `with`.

    megapixels_max: files above it are refused by their header; a live camera's size is what was asked of it.
    """
    if config.kind in LIVE:
        return IsolatedCamera(partial(_made, config), config)
    return _made(config, **({"megapixels_max": megapixels_max} if config.kind == "replay" else {}))


def _made(config: CameraConfig, **more: float) -> Camera:
    if config.kind not in CAMERAS:
        raise CameraError(f"camera.kind {config.kind!r} not found; expected one of {', '.join(CAMERAS)}")
    module, _, name = CAMERAS[config.kind].partition(":")
    camera: Camera = getattr(import_module(module), name)(config, **more)
    return camera
