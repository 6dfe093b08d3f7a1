"""The local HTTP API: what is going on, stored samples, one address for every command."""

from __future__ import annotations

import logging
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any

import cv2
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import Field, TypeAdapter
from starlette.exceptions import HTTPException

from edge.api.access import PROGRAM, RIGHTS, ROLES, Identity, Right, right_for
from edge.api.answers import CellList, CommandAnswer, DeviceState, Refusal, SampleBrief, SampleDescription, SampleList
from edge.api.device import Device
from edge.errors import CommandError, EdgeError, SampleError, StorageError
from edge.report.fhir import fhir_bundle
from edge.report.laboratory import laboratory_result
from edge.sample.commands import LONGEST_BYTES, Command, Review, parse
from edge.sample.sample_row import StoredSample
from edge.sample.store import HIGHEST_NUMBER
from edge.screening.verdict import without_fraction
from edge.types import Frame, Verdict

log = logging.getLogger(__name__)

PAGE = 1000
"""Cells and samples that one answer holds at most."""

ROOT = "/api/v1"

_CODES = ((CommandError, 400), (SampleError, 409), (StorageError, 507))

_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Refusal, "description": text}
    for code, text in (
        (400, "Malformed"), (401, "Nobody is signed in"), (403, "Not allowed to this person"), (404, "No such thing"),
        (409, "Not possible in this state"), (415, "Not JSON"), (500, "A fault of the program"),
        (503, "Too many requests: ask again"), (507, "The disk"),
    )
}  # fmt: skip

Number = Annotated[int, Query(ge=0, le=HIGHEST_NUMBER)]


def application(device: Device) -> FastAPI:
    """Return the API of a device, with its description at /api/v1/openapi.json."""
    app = FastAPI(
        title="sicklescope",
        summary="Counts of sickle-like red cells. For research use only.",
        version=version("sicklescope"),
        openapi_url=None,  # served below, to those who may see the device
        docs_url=None,
        redoc_url=None,
        exception_handlers=dict.fromkeys((EdgeError, HTTPException, RequestValidationError, Exception), _refused),
    )
    app.include_router(_Api(device).router)
    app.include_router(_description(app))
    return app


def identity_of(request: Request) -> Identity:
    """Return who asks; a connection of the Unix socket has no guard in front of it."""
    found = request.scope.get("identity", PROGRAM)
    assert isinstance(found, Identity | None)  # noqa: S101
    if found is None:
        raise HTTPException(401, "nobody is signed in. Sign in at /login")
    return found


def needs(right: Right) -> Any:
    """Return what lets a request through only to a person with a right."""

    def check(request: Request) -> Identity:
        return require(identity_of(request), right)

    return Depends(check)


def require(identity: Identity, right: Right) -> Identity:
    """Return the identity.

    Raises:
        HTTPException: It has not the right.
    """
    if right not in identity.rights:
        role = next(role for role in ROLES if right in RIGHTS[role])
        raise HTTPException(
            403, f"{identity.name} may not do this: it needs the role {role}. Help says what each role may do"
        )
    return identity


def refusal(error: Exception) -> tuple[int, str, str]:
    """Return code, words and kind of a request's error; one that nobody expected is logged."""
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail), "CommandError"
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        # What was given is not repeated: it may be a person's name.
        code = 404 if first["loc"][0] == "path" else 400
        return code, f"{first['loc'][-1]} is not as expected: {first['msg']}", "CommandError"
    if isinstance(error, EdgeError):
        return next((code for kind, code in _CODES if isinstance(error, kind)), 500), str(error), type(error).__name__
    log.error("a request failed by a fault of the program", exc_info=error)
    text = f"the request failed by a fault of the program, {type(error).__name__}: {error}. The service goes on"
    return 500, text, "CommandError"


async def _refused(_: Request, error: Exception) -> Response:
    code, text, kind = refusal(error)
    return JSONResponse({"error": text, "kind": kind}, code)


class _Api:
    """The endpoints; those that read the database run in threads of the server."""

    def __init__(self, device: Device) -> None:
        self._device, self._store = device, device.lifecycle.store
        self._encoded: tuple[Frame, bytes] | None = None
        router = self.router = APIRouter(prefix=ROOT, dependencies=[needs("see")], responses=_REFUSALS)
        router.get("/state", response_model=DeviceState)(self.state)
        router.get("/frame.jpg", response_class=_Jpeg)(self.frame)
        router.post("/command", response_model=CommandAnswer, openapi_extra=_COMMAND_BODY)(self.command)
        router.get("/samples", response_model=SampleList)(self.samples)
        router.get("/samples/{name}", response_model=SampleDescription)(self.sample)
        router.get("/samples/{name}/fhir", response_class=_Fhir)(self.fhir)
        router.get("/samples/{name}/cells", response_model=CellList)(self.cells)
        router.get("/samples/{name}/cells/{number}.jpg", response_class=_Jpeg)(self.crop)

    def state(self, request: Request) -> dict[str, Any]:
        """Return what is going on; people are told no fraction of a sample that is being scanned."""
        found = self._device.state()
        if found["verdict"] is not None and identity_of(request) is not PROGRAM:
            found["verdict"] = asdict(without_fraction(Verdict(**found["verdict"])))
        return found

    def frame(self) -> Response:
        """Return the camera's newest picture."""
        live = self._device.live()
        if live is None:
            raise HTTPException(404, "the camera has given no picture yet")
        frame, encoded = live.frame, self._encoded
        if encoded is None or encoded[0] is not frame:  # once for all who ask for it
            encoded = frame, cv2.imencode(".jpg", cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
            self._encoded = encoded
        return _Jpeg(encoded[1], headers={"Cache-Control": "no-store"})

    async def command(self, request: Request) -> dict[str, Any]:
        """Do what is asked, and return what came of it."""
        command = parse(await json_body(request))
        identity = require(identity_of(request), right_for(command))
        if identity.name and command.by != identity.name:
            raise HTTPException(403, f"by is not {identity.name}, who is signed in: give commands in your own name")
        if identity.signed_in and isinstance(command, Review) and command.done:
            raise HTTPException(403, "a person signs on the page, with the password again")
        return await run_in_threadpool(self._device.commands.ask, command)

    def samples(self, limit: Number = 50) -> dict[str, Any]:
        """Return the newest samples."""
        return {"samples": [_brief(sample) for sample in self._store.newest(min(limit, PAGE))]}

    def sample(self, name: str) -> dict[str, Any]:
        """Return all that is kept of a sample but its cells. name: its identifier or code."""
        return self._device.lifecycle.described(self.named(name))

    def fhir(self, name: str) -> Response:
        """Return a sample's result as a FHIR R4B bundle, where the configuration allows it."""
        lifecycle = self._device.lifecycle
        if not lifecycle.config.web.fhir:
            raise HTTPException(404, "results are not given as FHIR here. Set web.fhir to true")
        return _Fhir(fhir_bundle(laboratory_result(lifecycle, self.named(name), version("sicklescope"))))

    def cells(
        self,
        name: str,
        class_name: Annotated[str | None, Query(alias="class")] = None,
        offset: Number = 0,
        limit: Number = 100,
    ) -> dict[str, Any]:
        """Return cells of a sample. class: the classifier's, or `abstained`."""
        return {"cells": self._store.cells(self.named(name).id, class_name, offset, min(limit, PAGE))}

    def crop(self, name: str, number: str) -> Response:
        """Return the picture of a cell."""
        digits = number.isascii() and number.isdigit() and len(number) <= len(str(HIGHEST_NUMBER))
        jpeg = self._store.crop(self.named(name).id, int(number)) if digits else None
        if jpeg is None:
            raise HTTPException(404, "no picture of this cell is kept")
        return _Jpeg(jpeg)

    def named(self, name: str) -> StoredSample:
        """Return a sample by its identifier or code.

        Raises:
            HTTPException: There is none.
        """
        try:
            return self._store.find(name)
        except SampleError as error:
            raise HTTPException(404, str(error)) from error


class _Jpeg(Response):
    media_type = "image/jpeg"


class _Fhir(Response):
    media_type = "application/fhir+json"


async def json_body(request: Request) -> bytes:
    """Return the body of a request, of which no more than a command may have is read.

    Raises:
        HTTPException: It is not JSON.
    """
    # A form of some other page cannot send this type without asking first, which nobody answers.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "expected a command as application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BYTES:
            break
    return body


_REFERENCE = "#/components/schemas/{model}"
_COMMAND = TypeAdapter[Any](Annotated[Command, Field(discriminator="command")]).json_schema(ref_template=_REFERENCE)
_COMMAND_PARTS = _COMMAND.pop("$defs")
_COMMAND_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _COMMAND}}}}
"""`parse` reads a command, here as over MQTT; FastAPI only describes it."""


def _description(app: FastAPI) -> APIRouter:
    """Return the routes that describe the API, written from the types when they are first asked for."""
    router = APIRouter(prefix=ROOT, dependencies=[needs("see")], include_in_schema=False)

    @router.get("/openapi.json")
    def openapi() -> JSONResponse:
        found = app.openapi()
        found["components"]["schemas"].update(_COMMAND_PARTS)
        return JSONResponse(found)

    return router


def _brief(sample: StoredSample) -> SampleBrief:
    return SampleBrief(
        id=sample.id,
        sample=sample.code,
        day=sample.day,
        state=sample.state,
        reason=sample.reason,
        changed_ms=sample.changed_ms,
    )
