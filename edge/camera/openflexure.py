"""An OpenFlexure microscope over its HTTP interface: the pictures of its stream, and where its stage stands.

Version 2 of its server (Flask) and version 3 (labthings-fastapi). Only ever asks (GET): it moves and sets nothing.
"""

from __future__ import annotations

import io
import json
import logging
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.frames import rgb, stamped
from edge.camera.image_header import HeaderError, image_size
from edge.camera.jpeg_stream import JpegStream
from edge.config.model import CameraConfig, QualityConfig
from edge.errors import CameraError
from edge.types import Frame, Pixels

log = logging.getLogger(__name__)

UNREADABLE_MAX = 10
"""So many pictures in a row that cannot be decoded are no bad luck."""

POSITION_INTERVAL_S = 0.2
"""How often the stage is asked where it stands, at most: each time costs a connection."""

POSITION_TIMEOUT_S = 1.0
ANSWER_MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class _Version:
    """Where a server's things are. resolution: size of the pictures with which the mapping was calibrated, if told."""

    name: str
    stream: str
    position: str
    mapping: str
    resolution: str | None


VERSIONS = (
    _Version(
        name="v2",
        stream="/api/v2/streams/mjpeg",
        position="/api/v2/instrument/state/stage/position",
        mapping="/api/v2/instrument/settings/extensions/org.openflexure.camera_stage_mapping",
        resolution=None,  # that of its stream
    ),
    _Version(
        name="v3",
        stream="/camera/mjpeg_stream",
        position="/stage/position",
        mapping="/camera_stage_mapping/image_to_stage_displacement_matrix",
        resolution="/camera_stage_mapping/image_resolution",
    ),
)


class OpenFlexureCamera:
    """The microscope's stream as a live camera.

    Entering finds out its version, and verifies the size asked for.
    """

    live = True

    def __init__(self, config: CameraConfig) -> None:
        self.name = f"OpenFlexure microscope {config.device}"
        self._config = config
        # Without the environment's proxies: a microscope is on the clinic's own network.
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._stream: HTTPResponse | None = None
        self._pictures = JpegStream()
        self._whole: deque[bytes] = deque()
        self._size: tuple[int, int] | None = None
        self._stage: _Stage | None = None
        self._index = 0

    def __enter__(self) -> OpenFlexureCamera:
        try:
            self._open()
        except BaseException:  # whatever it is, the connection must not stay open
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self) -> Frame:
        """Return the next picture of the stream, with the stage's place now and then.

        CameraError when it ends.
        """
        pixels = self._next()
        place = self._stage.place() if self._stage else None
        frame = stamped(pixels, self._index, f"{self.name}#{self._index}", stage_px=place)
        self._index += 1
        return frame

    def ask(self, path: str) -> Any:
        """Return what the microscope says of something, from JSON; CameraError when it does not."""
        with self._get(path, POSITION_TIMEOUT_S) as answer:
            try:
                return json.loads(answer.read(ANSWER_MAX_BYTES))
            except (ValueError, RecursionError, OSError, HTTPException) as error:
                raise CameraError(f"{self.name} answers {path} with what is no JSON: {error}") from error

    def _open(self) -> None:
        asked, version = self._config, self._found()
        height, width = self._next().shape[:2]
        if asked.width not in (None, width) or asked.height not in (None, height):
            raise CameraError(
                f"{self.name}: asked {asked.width or 'any'}x{asked.height or 'any'}, its stream is {width}x{height}. "
                "Leave camera.width and camera.height out, or set the stream's size on the microscope"
            )
        self._size = width, height
        self._stage = _Stage(self, version, height)
        self.name += f" {version.name} {width}x{height}"

    def _found(self) -> _Version:
        """Open the stream of the version that the server is."""
        url = urlsplit(self._config.device)
        if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
            raise CameraError("camera.device is no address of a microscope; expected http://microscope.local:5000")
        missing = []
        for version in VERSIONS:
            try:
                self._stream = self._get(version.stream, self._config.read_timeout_s)
            except _NotFoundError as error:
                missing.append(str(error))
            else:
                return version
        raise CameraError(f"{'; '.join(missing)}. Is it an OpenFlexure microscope (server 2 or 3), and the port right?")

    def _get(self, path: str, timeout_s: float) -> HTTPResponse:
        try:
            response: HTTPResponse = self._http.open(self._config.device.rstrip("/") + path, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            said = f"{self.name} answers {path} with {error.code} {error.reason}"
            raise _NotFoundError(said) if error.code == 404 else CameraError(said) from error
        except (OSError, HTTPException, ValueError) as error:
            raise CameraError(f"{self.name} cannot be reached: {error}. Check its power and network") from error
        return response

    def _next(self) -> Pixels:
        """Return the next picture that can be decoded."""
        for _ in range(UNREADABLE_MAX):
            while not self._whole:
                self._whole.extend(self._pictures.feed(self._received()))
            pixels = self._decoded(self._whole.popleft())
            if pixels is not None:
                return pixels
        raise CameraError(f"{self.name}: {UNREADABLE_MAX} pictures in a row of its stream cannot be decoded")

    def _received(self) -> bytes:
        try:
            data = self._stream.read1(1 << 16) if self._stream else b""
        except (OSError, HTTPException, ValueError) as error:
            raise CameraError(f"{self.name} stopped giving frames: {error!r}. Check its power and network") from error
        if not data:
            raise CameraError(f"{self.name} has ended its stream. Check its power and network")
        return data

    def _decoded(self, picture: bytes) -> Pixels | None:
        try:
            size = image_size(io.BytesIO(picture))
        except HeaderError:
            return None
        if self._size not in (None, size):
            raise CameraError(f"{self.name}: its pictures are now {size[0]}x{size[1]}")
        if size[0] * size[1] > QualityConfig().megapixels_max * 1e6:
            return None
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if decoded is None else rgb(np.asarray(decoded))

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class _NotFoundError(CameraError):
    """The server is there, and has nothing at that path."""


class _Stage:
    """Where the stage stands, in pixels of the picture; None where that is not known. Its silence is no fault."""

    def __init__(self, camera: OpenFlexureCamera, version: _Version, height: int) -> None:
        self._camera, self._path = camera, version.position
        self._asked_s = float("-inf")
        self._to_image = self._mapping(version, height)

    def place(self) -> tuple[float, float] | None:
        """Return where the middle of the picture lies, (x, y), when it is time to ask again."""
        now = time.monotonic()
        if self._to_image is None or now - self._asked_s < POSITION_INTERVAL_S:
            return None
        self._asked_s = now
        try:
            at = self._camera.ask(self._path)
            row, column = _numbers([at["x"], at["y"]], (2,)) @ self._to_image
        except (CameraError, TypeError, LookupError, ValueError, OverflowError) as error:
            log.debug("where the stage stands is not known: %s", error)
            return None
        return float(column), float(row)

    def _mapping(self, version: _Version, height: int) -> NDArray[np.float64] | None:
        """Return what takes steps (x, y) of the stage to pixels (row, column), from its inverse, which the server has.

        camera_stage_mapping defines it so that the stage must move by (row, column) · matrix for what lies
        there from the middle to come to the middle.
        """
        try:
            answer = self._camera.ask(version.mapping)
            matrix = _numbers(answer["image_to_stage_displacement"] if isinstance(answer, dict) else answer, (2, 2))
            rows = height if version.resolution is None else float(self._camera.ask(version.resolution)[0])
            return _numbers(np.linalg.inv(matrix) * (height / rows), (2, 2))
        except (CameraError, LookupError, TypeError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            log.info("%s: the stage is no help, for it is not calibrated with the camera: %s", self._camera.name, error)
            return None


def _numbers(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array of that shape; ValueError where a number is missing, no number, or beyond all sense."""
    numbers = np.array(values, np.float64)
    if numbers.shape != shape or not (np.abs(numbers) < 1e12).all():
        raise ValueError(f"{values!r} is not what was expected: numbers in the shape {shape}")
    return numbers
