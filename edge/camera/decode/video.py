"""Videos, frame by frame, each upright and with square pixels, or refused with the cause."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.camera.base import RejectedInputError
from edge.camera.decode.edit_list import presented_s
from edge.camera.decode.field import DecodedField, check_size, unreadable
from edge.camera.decode.library_messages import Messages, library_messages
from edge.camera.decode.picture import read_picture
from edge.camera.frames import rgb
from edge.errors import CameraError
from edge.types import Pixels

MJPEG = int.from_bytes(b"MJPG", "little")
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
SQUEEZED_MAX = 4.0
"""Sample aspect ratio, either way, beyond which it is a mistake of the file."""

CAUSES = {
    "interlaced": "its frames are interlaced, which is not read. Deinterlace it: ffmpeg -i IN -vf bwdif OUT",
    "accelerated AV1": "it is an AV1 video, which OpenCV does not decode. Convert it: ffmpeg -i IN -c:v libx264 OUT",
    "[swscaler": "its colours cannot be converted",
}
"""What FFmpeg writes where OpenCV calls a frame read whose pixels nobody wrote."""


class Video:
    """The frames of one video file, one after the other.

    Opening raises RejectedInputError when it is none.
    """

    def __init__(self, path: Path, megapixels_max: float, shown: Path | None = None) -> None:
        """Open the file; `shown` is its name for people where it is a copy."""
        self._file, self._path, self._megapixels_max = path, shown or path, megapixels_max
        self._frames = 0
        self._last_s = 0.0
        with library_messages() as said:
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise unreadable(path, f"it is damaged, cut short, or no video that OpenCV decodes{said.last()}")
        get = self._capture.get
        self._size = round(get(cv2.CAP_PROP_FRAME_WIDTH)), round(get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self._turn = TURNS.get(round(get(cv2.CAP_PROP_ORIENTATION_META)) % 360)
        self._aspect = self._sample_aspect()
        # Decoded as the JPEG files that it holds, a recording counts the same whatever its container.
        self._jpegs = round(get(cv2.CAP_PROP_FOURCC)) == MJPEG and self._capture.set(cv2.CAP_PROP_FORMAT, -1)
        check_size(path, self._size[0], self._size[1], megapixels_max)

    def _sample_aspect(self) -> float:
        """Return by how much a pixel is wider than high; 1 where the file does not say."""
        wide, high = self._capture.get(cv2.CAP_PROP_SAR_NUM), self._capture.get(cv2.CAP_PROP_SAR_DEN)
        aspect = wide / high if wide > 0 and high > 0 else 1.0
        if not 1 / SQUEEZED_MAX <= aspect <= SQUEEZED_MAX:
            raise unreadable(self._path, f"its pixels are {aspect:g} times as wide as high; expected square ones")
        return aspect

    def read(self) -> DecodedField | None:
        """Return the next frame, or None at the end.

        Raises:
            RejectedInputError: The video is of a kind that is not decoded.
            CameraError: It breaks, or its end comes too early.
        """
        name = f"{self._path}#{self._frames}"
        with library_messages() as said:
            ok, captured = self._capture.read()
        self._refuse_unwritten(said)
        if not ok:
            self._check_end(said)
            return None
        if self._jpegs:
            found = self._jpeg(captured.tobytes(), name)
        else:
            self._last_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            found = DecodedField(rgb(captured), name)
        self._frames += 1
        return DecodedField(self._upright(found.pixels), name, flags=found.flags)

    def _refuse_unwritten(self, said: Messages) -> None:
        text = "\n".join(said.lines)
        for sign, cause in CAUSES.items():
            if sign in text:
                raise unreadable(self._path, cause)

    def _jpeg(self, data: bytes, name: str) -> DecodedField:
        try:
            found = read_picture(Path(name), data, self._megapixels_max)
        except RejectedInputError as error:
            of = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
            raise CameraError(
                f"{self._path} breaks after frame {self._frames} of {of} announced: {error}. "
                "The frames before were read"
            ) from error
        width, height = self._size
        if found.pixels.shape[1] == width and found.pixels.shape[0] in (height // 2, (height + 1) // 2):
            raise unreadable(self._path, CAUSES["interlaced"])
        return found

    def _upright(self, pixels: Pixels) -> Pixels:
        """Return the frame with square pixels, the squeezed side enlarged, and turned as the file asks."""
        if self._aspect != 1:
            h, w = pixels.shape[:2]
            size = (round(w * self._aspect), h) if self._aspect > 1 else (w, round(h / self._aspect))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        return pixels if self._turn is None else np.asarray(cv2.rotate(pixels, self._turn), np.uint8)

    def _check_end(self, said: Messages) -> None:
        announced = self._announced()
        if announced is not None:
            raise CameraError(
                f"{self._path} breaks after frame {self._frames} of {announced} announced: it is damaged or cut short"
                f"{said.last()}. The frames before were read; copy the video again to read the rest"
            )

    def _time_of_last(self) -> float:
        """Return when the last frame is shown, s: OpenCV says so of decoded frames only."""
        last_s = 0.0
        with library_messages():
            capture = cv2.VideoCapture(str(self._file))
            while capture.grab():
                last_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            capture.release()
        return last_s

    def _announced(self) -> int | None:
        """Return how many frames the container announces if far more than were read, else None.

        A count is exact in MP4 and AVI, a guess from duration and rate in Matroska, and absent from a stream. So both
        the count and the duration must say that more is missing than the few frames an encoder may drop at the end.
        """
        count, fps = self._capture.get(cv2.CAP_PROP_FRAME_COUNT), self._capture.get(cv2.CAP_PROP_FPS)
        if not (0 < count < 1e9 and fps > 0):
            return None
        if self._jpegs and self._frames < count:
            self._last_s = self._time_of_last()
        if (shown_s := presented_s(self._file)) is not None:
            count = min(count, shown_s * fps)
        tolerated = 2 + 0.01 * count
        interval_s = self._last_s / max(1, self._frames - 1)  # as it was, not as the container's rate has it
        missing_s = count / fps - (self._last_s + interval_s)
        return int(count) if self._frames < count - tolerated and missing_s > tolerated * interval_s else None

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
