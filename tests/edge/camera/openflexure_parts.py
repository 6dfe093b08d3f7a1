"""An OpenFlexure microscope's HTTP interface as its two servers have it, on real sockets; and one that misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import cv2
import numpy as np

PART = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n%b\r\n"
"""As both servers write it: without a length."""


def jpeg(index: int, size: tuple[int, int] = (96, 128), quality: int = 90) -> bytes:
    """Make a picture whose red grows with its number, so that it can be recognised."""
    pixels = np.random.default_rng(index).integers(60, 120, (*size, 3), np.uint8)
    pixels[..., 0] = 20 * (index % 12)
    ok, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return coded.tobytes()


def endless() -> Iterator[bytes]:
    return (PART % jpeg(index) for index in count())


class Microscope:
    """The server. stream: makes the bytes of one connection's stream, written one piece at a time, then closed.

    port: 0 is any that is free. answers: what it says at other paths, as JSON; a number is a status, a text a redirect,
    bytes are sent as they are.
    """

    def __init__(
        self, version: str = "v2", stream: Callable[[], Iterator[bytes]] = endless, chunked: bool = True, port: int = 0
    ) -> None:
        self.stream, self.chunked, self.over, self._port = stream, chunked, threading.Event(), port
        self.stage = {"x": 100, "y": 200, "z": 3}
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        matrix = [[0.0, 2.0], [-2.0, 0.0]]
        if version == "v2":
            self.path = "/api/v2/streams/mjpeg"
            self.answers["/api/v2/instrument/state/stage/position"] = self.stage
            self.mapping = "/api/v2/instrument/settings/extensions/org.openflexure.camera_stage_mapping"
            self.answers[self.mapping] = {"image_to_stage_displacement": matrix, "backlash": 20}
        else:
            self.path = "/camera/mjpeg_stream"
            self.answers["/stage/position"] = self.stage
            self.mapping = "/camera_stage_mapping/image_to_stage_displacement_matrix"
            self.answers[self.mapping] = matrix
            self.answers["/camera_stage_mapping/image_resolution"] = [192, 256]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Microscope:
        microscope = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                microscope.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        said = self.answers.get(request.path, None if request.path == self.path else 404)
        try:
            if said is None:
                self._stream(request)
            elif isinstance(said, int):
                request.send_error(said)
            elif isinstance(said, str):
                request.send_response(302)
                request.send_header("Location", said)
                request.send_header("Content-Length", "0")
                request.end_headers()
            else:
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                request.send_response(200)
                request.send_header("Content-Type", "application/json")
                request.send_header("Content-Length", str(len(body)))
                request.end_headers()
                request.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader has gone

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        if self.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for piece in self.stream():
            if self.over.is_set():
                return
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
            request.wfile.flush()
        # Without the last chunk: a server that ends a stream has fallen, it has not come to an end.
