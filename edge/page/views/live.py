"""The live page: the picture, what to do, running counts; starting and ending a sample."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from edge.api.access import Identity
from edge.api.device import Device, LiveField
from edge.api.http import identity_of, needs, require
from edge.api.logins import Logins
from edge.config.model import ScreeningConfig
from edge.errors import CommandError, EdgeError
from edge.language.languages import N_
from edge.page.acting import Acting, version_of
from edge.page.browser_clock import BrowserClock
from edge.page.live_state import LiveState, LiveStates
from edge.page.picture import LivePicture
from edge.page.render import form_of, html, language_of, line_of, see_other, text
from edge.page.shared_stream import SharedStream
from edge.sample.codes import sample_code
from edge.sample.commands import Command, Discard, Reopen, Start, Stop, made

PICTURES_PER_S = 8.0
"""At most, for each who looks."""

LOOK_S = 0.03
"""How often a stream looks for a new picture."""

TOLD_EVERY_S = 0.5
"""How often the state is told where it changed."""

ALIVE_S = 15.0
"""A connection that nothing new is told on carries a sign of life this often."""

VIEWERS_MAX = 24
"""Streams of pictures and states at a time."""

_BOUNDARY = b"picture"


class LivePages:
    """The live page and what it does."""

    def __init__(self, device: Device, logins: Logins, clock: BrowserClock, acting: Acting) -> None:
        self._device, self._logins, self._clock, self._acting = device, logins, clock, acting
        self._states, self._picture = LiveStates(device), LivePicture()
        self._viewers = 0
        self._new_pictures, self._new_states = SharedStream(self._make_pictures), SharedStream(self._make_states)
        self._html: tuple[LiveState | None, dict[str, bytes]] = (None, {})
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("see")])
        router.get("/")(self.show)
        router.get("/live/picture.jpg")(self.picture)
        router.get("/live/pictures")(self.pictures)
        router.get("/live/events")(self.events)
        router.get("/live/begin")(self.begin)
        router.post("/scan/start")(self.start)
        router.post("/scan/stop")(self.stop)
        router.get("/scan/discard/{name}")(self.ask_discard)
        router.post("/scan/discard/{name}")(self.discard)
        router.post("/scan/reopen/{name}")(self.reopen)

    def show(self, request: Request) -> Response:
        """Show the live page."""
        return self._shown(request)

    def _shown(self, request: Request, error: str = "", code: int = 200) -> Response:
        return html(request, "live.html", code, live=self._states.now(), clock=self._clock.state(), error=error)

    def begin(self, request: Request) -> Response:
        """Return the part of the page that starts and ends a sample."""
        return html(request, "live_begin.html", live=self._states.now(), clock=self._clock.state())

    def picture(self) -> Response:
        """Return the newest picture, for browsers without script."""
        return Response(self._picture.jpeg(self._device.live()), media_type="image/jpeg")

    async def pictures(self, request: Request) -> Response:
        """Send one picture after the other, each when the one before has been read."""
        return self._stream(self._pictures(request), f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}")

    async def events(self, request: Request) -> Response:
        """Send the state each time that it changes, as HTML (server-sent events)."""
        return self._stream(self._events(request), "text/event-stream")

    def _stream(self, parts: AsyncIterator[bytes], media_type: str) -> Response:
        if self._viewers >= VIEWERS_MAX:
            raise HTTPException(503, "too many people look at the live page: close one of them")
        return StreamingResponse(self._counted(parts), media_type=media_type)

    async def _counted(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._viewers += 1
        try:
            async for part in parts:
                yield part
        finally:
            self._viewers -= 1

    async def _pictures(self, request: Request) -> AsyncIterator[bytes]:
        yield b"--" + _BOUNDARY + b"\r\n"
        checked_s = time.monotonic()
        async for picture in self._new_pictures.read():
            if picture:
                yield picture
            if time.monotonic() - checked_s >= ALIVE_S:
                checked_s = time.monotonic()
                if not await self._may_still_see(request):
                    return

    async def _make_pictures(self) -> AsyncIterator[bytes]:
        """Give each new picture as a part of a stream; nothing, now and then, where there is no new one."""
        last: object = _BOUNDARY  # which no picture is
        given_s = time.monotonic()
        while not self._device.ended.is_set():
            live = self._device.live()
            if live is not last:
                last, given_s = live, time.monotonic()
                # Drawn here: to hand it to a thread and back costs a fifth of all that a picture costs.
                yield self._part(live)
                await asyncio.sleep(1 / PICTURES_PER_S)
            elif time.monotonic() - given_s >= ALIVE_S / 2:
                given_s = time.monotonic()
                yield b""
            else:
                await asyncio.sleep(LOOK_S)

    def _part(self, live: LiveField | None) -> bytes:
        jpeg, captured_s = self._picture.jpeg(live), 0.0 if live is None else live.frame.monotonic_s
        head = f"Content-Type: image/jpeg\r\nX-Captured-Monotonic-S: {captured_s:.3f}\r\n"
        head += f"Content-Length: {len(jpeg)}\r\n\r\n"
        # The boundary behind it, by which a browser knows that the picture is whole, is not left for the next.
        return head.encode() + jpeg + b"\r\n--" + _BOUNDARY + b"\r\n"

    async def _events(self, request: Request) -> AsyncIterator[bytes]:
        # The page says of which sample it is: one may have begun since it was made.
        last, of, checked_s = b"", request.query_params.get("of", ""), time.monotonic()
        async for live in self._new_states.read():
            now = self._told(request, live)
            if live.key != of:
                of = live.key
                yield b"event: changed\ndata: another sample, or none\n\n"
            if now != last:
                last = now
                yield now
            if time.monotonic() - checked_s >= ALIVE_S:
                checked_s = time.monotonic()
                if not await self._may_still_see(request):
                    return
                yield b": still here\n\n"

    async def _make_states(self) -> AsyncIterator[LiveState]:
        """Give the state where it changed, and now and then where it did not."""
        last, given_s = None, 0.0
        while not self._device.ended.is_set():
            live = await run_in_threadpool(self._states.now)
            if live != last or time.monotonic() - given_s >= ALIVE_S / 2:
                last, given_s = live, time.monotonic()
                yield live
            await asyncio.sleep(TOLD_EVERY_S)

    def _told(self, request: Request, live: LiveState) -> bytes:
        """Return a state's HTML as an event, made once for all who read the language."""
        spoken = language_of(request).code
        if self._html[0] is not live:
            self._html = live, {}
        made = self._html[1]
        if spoken not in made:
            lines = text(request, "live_now.html", live=live).splitlines()
            made[spoken] = "".join(f"data: {line}\n" for line in lines).encode() + b"\n"
        return made[spoken]

    async def _may_still_see(self, request: Request) -> bool:
        """Return whether the login that a stream began with still holds."""
        return await run_in_threadpool(self._logins.identify, request.scope.get("token", "")) is not None

    # What people do.

    async def start(self, request: Request) -> Response:
        """Begin to scan a sample."""
        fields = await form_of(request)
        by = _allowed(request)
        code = fields.get("sample", "").strip()
        try:
            refuse_name(code, self._device.config.screening)
            await self._do(made(Start, sample=sample_code(code), by=by.name), fields)
        except EdgeError as error:
            return await run_in_threadpool(self._shown, request, str(error), 409)
        return see_other(request, "/")

    async def stop(self, request: Request) -> Response:
        """End the scanning."""
        fields = await form_of(request)
        try:
            answer = await self._do(made(Stop, by=_allowed(request).name), fields)
        except EdgeError as error:
            return await run_in_threadpool(self._shown, request, str(error), 409)
        return see_other(request, f"/samples/{answer['id']}")

    def ask_discard(self, request: Request, name: str) -> Response:
        """Ask whether a sample is to be discarded, and why."""
        sample = self._device.lifecycle.store.find(name)
        seen = version_of(self._device.lifecycle.database, sample)
        return html(request, "discard.html", sample=sample, seen=seen)

    async def discard(self, request: Request, name: str) -> Response:
        """Discard a sample."""
        fields = await form_of(request)
        reason = line_of(fields, "reason")
        if not reason:
            raise CommandError("say why the sample is discarded")
        await self._do(made(Discard, sample=name, reason=reason, by=_allowed(request).name), fields)
        return see_other(request, f"/samples/{name}")

    async def reopen(self, request: Request, name: str) -> Response:
        """Bring a sample a step back."""
        fields = await form_of(request)
        reason = line_of(fields, "reason")
        command = made(Reopen, sample=name, reason=reason, by=_allowed(request).name)
        answer = await self._do(command, fields)
        return see_other(request, "/" if answer["state"] == "scanning" else f"/samples/{answer['id']}")

    async def _do(self, command: Command, fields: dict[str, str]) -> dict[str, Any]:
        answer = await run_in_threadpool(self._acting.do, command, fields.get("seen", ""))
        self._states.forget()
        return answer


def _allowed(request: Request) -> Identity:
    return require(identity_of(request), "scan")


def refuse_name(code: str, config: ScreeningConfig) -> None:
    """Refuse a code that looks like a person's name, without repeating it: errors are logged.

    A clinic that set its own pattern has said what its codes look like.

    Raises:
        CommandError: No character of it is a digit.
    """
    if config.sample_pattern == ScreeningConfig().sample_pattern and not re.search(r"\d", code):
        raise CommandError(N_("This looks like a name. Type the clinic's own code, with a number in it."))
