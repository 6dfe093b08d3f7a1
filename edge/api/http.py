"""The local HTTP API: what is going on, stored samples, one address for every command."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import cv2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.errors import CommandError, EdgeError, SampleError, StorageError
from edge.sample.command_queue import CommandQueue
from edge.sample.commands import LONGEST_BYTES, parse
from edge.sample.lifecycle import Lifecycle
from edge.sample.sample_row import StoredSample
from edge.sample.store import HIGHEST_NUMBER
from edge.types import Frame

log = logging.getLogger(__name__)

PAGE = 1000
"""Cells and samples that one answer holds at most."""

HOSTS = ["localhost", "127.0.0.1"]
"""Names by which the API may be called: a page from elsewhere that has its own name led here is turned away."""

_CODES = ((CommandError, 400), (SampleError, 409), (StorageError, 507))


def application(
    lifecycle: Lifecycle, commands: CommandQueue, state: Callable[[], dict[str, Any]], frame: Callable[[], Frame | None]
) -> Starlette:
    """Return the API.

    Args:
        lifecycle: the samples.
        commands: takes what is asked to the reading thread.
        state: gives what is going on; any thread may call it.
        frame: gives the camera's newest picture; any thread may call it.
    """
    api = _Api(lifecycle, commands, state, frame)
    routes = [
        Route("/api/v1/state", api.state),
        Route("/api/v1/frame.jpg", api.frame),
        Route("/api/v1/command", api.command, methods=["POST"]),
        Route("/api/v1/samples", api.samples),
        Route("/api/v1/samples/{name}", api.sample),
        Route("/api/v1/samples/{name}/cells", api.cells),
        Route("/api/v1/samples/{name}/cells/{number}.jpg", api.crop),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
        exception_handlers={EdgeError: _refused, HTTPException: _failed, Exception: _unexpected},
    )


def _refused(_: Request, error: Exception) -> Response:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error), "kind": type(error).__name__}, code)


def _failed(_: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    text = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"error": text, "kind": "CommandError"}, code)


def _unexpected(_: Request, error: Exception) -> Response:
    log.error("a request failed by a fault of the program", exc_info=error)
    text = f"the request failed by a fault of the program, {type(error).__name__}: {error}. The service goes on"
    return JSONResponse({"error": text, "kind": "CommandError"}, 500)


class _Api:
    """The endpoints; those that read the database run in threads of the server."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        commands: CommandQueue,
        state: Callable[[], dict[str, Any]],
        frame: Callable[[], Frame | None],
    ) -> None:
        self._lifecycle, self._commands, self._state, self._frame = lifecycle, commands, state, frame
        self._encoded: tuple[Frame, bytes] | None = None

    def state(self, _: Request) -> Response:
        return JSONResponse(self._state())

    def frame(self, _: Request) -> Response:
        frame = self._frame()
        if frame is None:
            raise HTTPException(404, "the camera has given no picture yet")
        encoded = self._encoded
        if encoded is None or encoded[0] is not frame:  # once for all who ask for it
            encoded = frame, cv2.imencode(".jpg", cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
            self._encoded = encoded
        return Response(encoded[1], media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def command(self, request: Request) -> Response:
        # A form of some other page cannot send this type without asking first, which nobody answers.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, "expected a command as application/json")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BYTES:
                break
        return JSONResponse(await run_in_threadpool(self._commands.ask, parse(body)))

    def samples(self, request: Request) -> Response:
        found = self._lifecycle.store.newest(_number(request, "limit", 50))
        return JSONResponse({"samples": [_brief(sample) for sample in found]})

    def sample(self, request: Request) -> Response:
        return JSONResponse(self._lifecycle.described(self._named(request)))

    def cells(self, request: Request) -> Response:
        query = request.query_params
        cells = self._lifecycle.store.cells(
            self._named(request).id, query.get("class"), _number(request, "offset", 0), _number(request, "limit", 100)
        )
        return JSONResponse({"cells": [asdict(cell) for cell in cells]})

    def crop(self, request: Request) -> Response:
        number = _digits(request.path_params["number"])
        jpeg = None if number is None else self._lifecycle.store.crop(self._named(request).id, number)
        if jpeg is None:
            raise HTTPException(404, "no picture of this cell is kept")
        return Response(jpeg, media_type="image/jpeg")

    def _named(self, request: Request) -> StoredSample:
        try:
            return self._lifecycle.store.find(request.path_params["name"])
        except SampleError as error:
            raise HTTPException(404, str(error)) from error


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    number = _digits(text)
    if number is None:
        raise HTTPException(400, f"{name} is {text[:20]!r}; expected a whole number")
    return number if name == "offset" else min(number, PAGE)


def _digits(text: str) -> int | None:
    """Return the whole number that a text is; None where it is none, or higher than the database knows."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(HIGHEST_NUMBER)):
        return None
    number = int(text)
    return number if number <= HIGHEST_NUMBER else None


def _brief(sample: StoredSample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "sample": sample.code,
        "day": sample.day,
        "state": sample.state,
        "reason": sample.reason,
        "changed_ms": sample.changed_ms,
    }
