"""Setting the clock from the browser of whoever asks."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from edge.api.http import identity_of, needs, require
from edge.page.browser_clock import BrowserClock
from edge.page.render import form_of, see_other


class ClockPages:
    """What sets the clock."""

    def __init__(self, clock: BrowserClock) -> None:
        self._clock = clock
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("see")])
        router.post("/device/clock")(self.take)

    async def take(self, request: Request) -> Response:
        """Take the time of the browser that asks."""
        fields = await form_of(request)
        who = require(identity_of(request), "scan")
        if not who.signed_in:
            raise HTTPException(403, "sign in first, for it is noted who sets the clock: see `sicklescope user add`")
        await run_in_threadpool(self._clock.take, who.name, fields.get("browser_ms", ""))
        return see_other(request, "/device")
