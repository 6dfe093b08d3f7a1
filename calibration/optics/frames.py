"""The pictures that a calibration is made of: files, or frames of the configured camera."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from edge.camera.decode.video import Video
from edge.camera.image_files import is_video, read_image
from edge.camera.input_files import find_inputs
from edge.camera.registry import open_camera
from edge.config.model import Config
from edge.errors import InputError
from edge.types import Pixels

FRAMES_MAX = 200
"""More than this say nothing new and fill the memory."""


def gather(paths: Sequence[str], config: Config, count: int, every_s: float) -> list[Pixels]:
    """Read the pictures that `paths` name, or frames of the configured camera.

    Without paths `count` frames, `every_s` apart.

    Returns uint8 (H, W, 3) of one size. Raises InputError, naming the file, for what is no picture or of another size
    than the first, and CameraError when the camera fails.
    """
    found = _from_files(paths, config.quality.megapixels_max) if paths else _from_camera(config, count, every_s)
    name, first = found[0]
    for other, pixels in found:
        if pixels.shape != first.shape:
            raise InputError(
                f"{other} is {pixels.shape[1]}x{pixels.shape[0]}; {name} is {first.shape[1]}x{first.shape[0]}. "
                "Give pictures of one camera at one size"
            )
    return [pixels for _, pixels in found]


def _from_files(paths: Sequence[str], megapixels_max: float) -> list[tuple[str, Pixels]]:
    found: list[tuple[str, Pixels]] = []
    for path in find_inputs(paths):
        if is_video(path):
            found += _from_video(path, megapixels_max)
        else:
            found.append((str(path), read_image(path, megapixels_max)))
        if len(found) > FRAMES_MAX:
            raise InputError(f"more than {FRAMES_MAX} pictures were given; {FRAMES_MAX} are enough. Give fewer")
    return found


def _from_video(path: Path, megapixels_max: float) -> list[tuple[str, Pixels]]:
    frames: list[tuple[str, Pixels]] = []
    with closing(Video(path, megapixels_max)) as video:
        while len(frames) <= FRAMES_MAX and (frame := video.read()) is not None:
            frames.append((frame.name, frame.pixels))
    return frames


def _from_camera(config: Config, count: int, every_s: float) -> list[tuple[str, Pixels]]:
    frames: list[tuple[str, Pixels]] = []
    due_s = time.monotonic()
    with open_camera(config.camera, config.quality.megapixels_max) as camera:
        # Frames in between are read and left, for a driver hands out its oldest first.
        while len(frames) < count and (frame := camera.read()) is not None:
            if not camera.live or time.monotonic() >= due_s:
                frames.append((f"frame {len(frames) + 1}", frame.pixels))
                due_s += every_s
    if not frames:
        raise InputError(f"{camera.name} gave no frame")
    return frames
