"""The device itself: what it is made of, light and broker, models, backup, log."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any, Literal, get_args

import numpy as np
import segno
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from markupsafe import Markup
from starlette.exceptions import HTTPException

from edge.api.device import Device
from edge.api.http import identity_of, needs, require
from edge.api.logins import Logins
from edge.diagnosis.doctor import BROKER_TIMEOUT_S, Finding, broker_messages, examine
from edge.errors import CameraError, EdgeError
from edge.page.browser_clock import BrowserClock
from edge.page.recent_log import RecentLog
from edge.page.render import form_of, html
from edge.publish.broker_check import TopicAnswer, ask_topics
from edge.publish.message_base import ROOT
from edge.runtime.bundle_store import BundleStore
from edge.runtime.contract import Role
from edge.runtime.model_store import SHIPPED, ModelStore
from edge.system.health import Machine
from edge.types import Frame

BINS = 32
"""Bars of the camera's histogram."""

AUDIT_SHOWN = 100

CHUNK_BYTES = 1 << 16

ROLES: tuple[Role, ...] = get_args(Role)

PAIR: Literal["bundle"] = "bundle"
"""Both networks, where they came in one signed file."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Light of a picture.

    bars: height of each, as a part of the highest. dark, full: parts of the picture that are black or full.
    """

    bars: tuple[float, ...]
    dark: float
    full: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The bundle that a rollback takes away.

    digest: by which the form names it. waits: whether it is not in use yet. before: the one that takes its place; empty
    for none, where the models chosen one by one, or the shipped ones, do.
    """

    digest: str
    name: str
    waits: bool
    before: str


class DevicePages:
    """The page of the device."""

    def __init__(self, device: Device, logins: Logins, log: RecentLog, clock: BrowserClock) -> None:
        self._device, self._logins, self._log, self._clock = device, logins, log, clock
        self._machine = Machine(device.config.device.state_dir)
        self._models = ModelStore(device.config.device.state_dir)
        self._bundles = BundleStore(device.config.device.state_dir, device.config.models)
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("see")])
        router.get("/device")(self.show)
        router.post("/device/doctor")(self.doctor)
        router.post("/device/broker")(self.broker)
        router.post("/device/rollback")(self.rollback)
        router.get("/device/backup")(self.backup)

    def show(self, request: Request) -> Response:
        """Show the device."""
        return self._shown(request)

    def _shown(
        self,
        request: Request,
        error: str = "",
        findings: Sequence[Finding] = (),
        topics: Sequence[TopicAnswer] = (),
        code: int = 200,
    ) -> Response:
        live, manages = self._device.live(), "manage" in identity_of(request).rights
        address = str(request.base_url).rstrip("/")
        return html(
            request, "device.html", code, error=error, findings=findings, topics=topics, fault=self._device.fault,
            state=self._device.state(),
            config=self._device.config, health=self._machine.health(), clock=self._clock.state(),
            python=f"{platform.python_version()}, {platform.system()} {platform.machine()}",
            histogram=None if live is None else histogram(live.frame), frame=None if live is None else live.frame,
            models=[(role, *self._in_use(role)) for role in ROLES], pair=self._pair(),
            log=self._log.lines() if manages else [], audit=self._logins.users.audit(AUDIT_SHOWN) if manages else [],
            fingerprint=fingerprint(self._device.config.web.certificate) if request.url.scheme == "https" else "",
            # The code is our own drawing of the address that the browser came by.
            address=address, qr=Markup(segno.make(address).svg_inline(omitsize=True)),  # noqa: S704
        )  # fmt: skip

    def _in_use(self, role: Role) -> tuple[str, bool]:
        """Return how the model in use is called, and whether one before it can be gone back to."""
        given = getattr(self._device.config.models, role)
        if given.path is not None:
            return str(given.path.name), False
        try:
            bundle = self._models.bundle()
            history = self._models.history(role)
        except EdgeError as error:
            return str(error), False
        if bundle is not None:
            return bundle.in_words, False
        used = history.stack[-1]
        names = {one.sha256: f"{one.name} {one.version}" for one in history.installed}
        return (SHIPPED if used == SHIPPED else names.get(used, used[:12])), len(history.stack) > 1

    def _pair(self) -> Pair | None:
        """Return the bundle that a rollback takes away; None where none counts."""
        if any(getattr(self._device.config.models, role).path is not None for role in ROLES):
            return None
        try:
            record = self._bundles.record()
            if not record.newest:
                return None
            # What waits takes the place of the one in use; the one in use that of the one before.
            before = record.stack if record.waiting else record.stack[:-1]
            return Pair(
                record.newest, record.of(record.newest).in_words, bool(record.waiting),
                record.of(before[-1]).in_words if before else "",
            )  # fmt: skip
        except EdgeError:  # `_in_use` says it
            return None

    async def doctor(self, request: Request) -> Response:
        """Look at everything that `sicklescope doctor` looks at."""
        await form_of(request)
        who = require(identity_of(request), "manage")
        await run_in_threadpool(self._logins.users.note, who.name, "ran the doctor")
        # In safe mode nobody holds the camera.
        held = None if self._device.fault else self._camera
        findings = await run_in_threadpool(examine, self._device.config, held)
        return await run_in_threadpool(self._shown, request, findings=findings)

    def _camera(self) -> str:
        """Say how the camera is that the service holds.

        Raises:
            CameraError: It is lost.
        """
        if problem := self._device.state()["camera_problem"]:
            raise CameraError(problem)
        live = self._device.live()
        kind = self._device.config.camera.kind
        return (
            f"{kind}, in use by this service"
            if live is None
            else f"{live.frame.name.partition('#')[0]}, in use by this service"
        )

    async def broker(self, request: Request) -> Response:
        """Try whether the broker takes the device's own messages, topic by topic."""
        await form_of(request)
        who = require(identity_of(request), "manage")
        await run_in_threadpool(self._logins.users.note, who.name, "tried the broker")
        try:
            topics = await run_in_threadpool(self._tried_broker)
        except EdgeError as error:
            return await run_in_threadpool(self._shown, request, str(error))
        return await run_in_threadpool(self._shown, request, topics=topics)

    def _tried_broker(self) -> list[TopicAnswer]:
        config = self._device.config
        commands = f"{ROOT}/{config.device.site}/{config.device.device}/command"
        listen = [commands] if config.mqtt.commands else []
        return ask_topics(config.mqtt, BROKER_TIMEOUT_S, broker_messages(config), listen)

    async def rollback(self, request: Request) -> Response:
        """Go back to the model before, from the next start on."""
        fields = await form_of(request)
        who = require(identity_of(request), "manage")
        role = next((one for one in (*ROLES, PAIR) if one == fields.get("role")), None)
        if role is None:
            raise HTTPException(400, "there is no such network")
        try:
            if role == PAIR:
                await run_in_threadpool(self._bundles.rollback, fields.get("seen", ""))
            else:
                await run_in_threadpool(self._models.rollback, role)
        except EdgeError as error:
            return await run_in_threadpool(self._shown, request, str(error), code=409)
        await run_in_threadpool(self._logins.users.note, who.name, "went back to the model before", role)
        return RedirectResponse("/device", 303)

    async def backup(self, request: Request) -> Response:
        """Send a copy of the database."""
        who = require(identity_of(request), "manage")
        folder = tempfile.TemporaryDirectory(prefix="backup-", dir=self._device.config.device.state_dir)
        copy = Path(folder.name, "sicklescope.sqlite3")
        try:
            await run_in_threadpool(self._device.lifecycle.database.backup, copy)
            await run_in_threadpool(self._logins.users.note, who.name, "took a backup")
        except BaseException:
            folder.cleanup()
            raise
        name = f"sicklescope-{self._device.config.device.device}-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}.sqlite3"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(copy.stat().st_size)}
        return StreamingResponse(_sent(copy, folder), media_type="application/vnd.sqlite3", headers=headers)


async def _sent(copy: Path, folder: Any) -> AsyncIterator[bytes]:
    """Give a file part by part, and remove its folder however that ends."""
    try:
        with copy.open("rb") as file:
            while part := await run_in_threadpool(file.read, CHUNK_BYTES):
                yield part
    finally:
        folder.cleanup()


def fingerprint(certificate: Path | None) -> str:
    """Return the SHA-256 fingerprint of a certificate, as browsers show it; else nothing."""
    try:
        text = certificate.read_text("ascii") if certificate else ""
        digest = sha256(PEM_cert_to_DER_cert(text[text.index("-----BEGIN") :])).hexdigest().upper()
    except (OSError, ValueError):
        return ""
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def histogram(frame: Frame) -> Histogram:
    """Return the histogram of a picture's green light."""
    green = frame.pixels[::4, ::4, 1]
    counts = np.bincount((green >> 3).ravel(), minlength=BINS).astype(float)
    bars = counts / max(1.0, counts.max())
    return Histogram(tuple(bars.round(3).tolist()), float((green < 8).mean()), float((green > 250).mean()))
