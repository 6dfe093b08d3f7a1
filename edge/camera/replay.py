"""Recorded fields as a camera: an image, a folder, a glob or a video, in order, each once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from edge.camera.base import RejectedInputError
from edge.camera.decode.field import DecodedField
from edge.camera.decode.reader import read_pictures
from edge.camera.decode.video import Video
from edge.camera.frames import Pace, frame_of
from edge.camera.image_files import is_video
from edge.camera.input_files import find_inputs
from edge.config.model import CameraConfig, QualityConfig
from edge.errors import CameraError
from edge.types import Frame


class ReplayCamera:
    """Images and videos as frames, named by their path.

    A frame of a video is `path#frame`, counted from 0.

    Entering raises InputError when there is nothing to read. `read` raises RejectedInputError for one image or video
    that cannot be opened, and CameraError at the place where a video breaks; after either, the next `read` goes on
    with the next file.
    """

    live = False

    def __init__(self, config: CameraConfig, megapixels_max: float = QualityConfig().megapixels_max) -> None:
        self.name = f"replay of {config.device}"
        self._device = config.device
        self._left = config.frames
        self._megapixels_max = megapixels_max
        self._pace = Pace(config.fps)
        self._files: Iterator[Path] = iter(())
        self._pictures: Iterator[DecodedField] = iter(())
        self._video: Video | None = None
        self._index = 0

    def __enter__(self) -> ReplayCamera:
        self._files = iter(find_inputs([self._device]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_video()
        self._files = iter(())

    def read(self) -> Frame | None:
        """Return the next frame, or None after the last or when `camera.frames` of them were given."""
        if self._left == 0:
            return None
        self._pace.wait()
        found = self._next()
        if found is None:
            return None
        frame = frame_of(found, self._index)
        self._index += 1
        if self._left is not None:
            self._left -= 1
        return frame

    def _next(self) -> DecodedField | None:
        while True:
            if (picture := next(self._pictures, None)) is not None:
                return picture
            if self._video is not None:
                try:
                    found = self._video.read()
                except (CameraError, RejectedInputError):
                    self._close_video()
                    raise
                if found is not None:
                    return found
                self._close_video()
            path = next(self._files, None)
            if path is None:
                return None
            if not is_video(path):
                self._pictures = read_pictures(path, self._megapixels_max)
            else:
                self._video = Video(path, self._megapixels_max)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None
