"""Recorded fields as a camera: an image, a folder, a glob or a video, in order, each once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2

from edge.camera.base import RejectedInputError
from edge.camera.decode.field import DecodedField
from edge.camera.decode.reader import read_pictures
from edge.camera.frames import Pace, frame_of, rgb
from edge.camera.image_files import find_inputs, is_video
from edge.config.model import CameraConfig, QualityConfig
from edge.errors import CameraError
from edge.types import Frame, Reason, Rejection


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
                except CameraError:
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
                self._video = Video(path)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None


class Video:
    """The frames of one video file, one after the other.

    Opening raises RejectedInputError when it is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = cv2.VideoCapture(str(path))
        self._frames = 0
        self._last_s = 0.0
        if not self._capture.isOpened():
            raise RejectedInputError(
                f"{path} cannot be read: it is damaged, cut short, or no video that OpenCV decodes",
                str(path),
                Rejection(Reason.UNREADABLE, 0.0, 1.0),
            )

    def read(self) -> DecodedField | None:
        """Return the next frame, or None at the end; CameraError when the end came too early."""
        ok, captured = self._capture.read()
        if ok:
            self._last_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            self._frames += 1
            return DecodedField(rgb(captured), f"{self._path}#{self._frames - 1}")
        announced = self._announced()
        if announced is not None:
            raise CameraError(
                f"{self._path} breaks after frame {self._frames} of {announced} announced: it is damaged or cut short. "
                "The frames before were read; copy the video again to read the rest"
            )
        return None

    def _announced(self) -> int | None:
        """Return how many frames the container announces if far more than were read, else None.

        A count is exact in MP4 and AVI, a guess from duration and rate in Matroska, and absent from a stream. So both
        the count and the duration must say that more is missing than the few frames an encoder may drop at the end.
        """
        count, fps = self._capture.get(cv2.CAP_PROP_FRAME_COUNT), self._capture.get(cv2.CAP_PROP_FPS)
        if not (0 < count < 1e9 and fps > 0):
            return None
        tolerated = 2 + 0.01 * count
        interval_s = self._last_s / max(1, self._frames - 1)  # as it was, not as the container's rate has it
        missing_s = count / fps - (self._last_s + interval_s)
        return int(count) if self._frames < count - tolerated and missing_s > tolerated * interval_s else None

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
