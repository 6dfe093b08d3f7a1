"""Puts the page together: the API and, beside it, HTML for people."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from edge.api.device import Device
from edge.api.http import ROOT, application, refusal
from edge.api.logins import Logins
from edge.errors import EdgeError
from edge.page import static_files
from edge.page.acting import Acting
from edge.page.browser_clock import BrowserClock
from edge.page.recent_log import RecentLog
from edge.page.render import html, is_htmx
from edge.page.views.clock import ClockPages
from edge.page.views.control import ControlPages
from edge.page.views.device import DevicePages
from edge.page.views.help import HelpPages, api_page
from edge.page.views.live import LivePages
from edge.page.views.login import LoginPages
from edge.page.views.optics import OpticsPages
from edge.page.views.review import ReviewPages
from edge.page.views.samples import SamplePages
from edge.page.views.sign import SignPages


def page(device: Device, logins: Logins, secure: bool, log: RecentLog) -> FastAPI:
    """Return the page of a device, with its API.

    Args:
        device: which.
        logins: who is signed in.
        secure: whether it is reached by TLS.
        log: keeps the log's last lines.
    """
    app = application(device)
    clock, acting = BrowserClock(device, logins.users), Acting(device, logins.users)
    routers = (
        static_files.router,
        LoginPages(logins, secure).router,
        LivePages(device, logins, clock, acting).router,
        ClockPages(clock).router,
        SamplePages(device).router,
        ReviewPages(device).router,
        SignPages(device, logins, acting).router,
        ControlPages(device).router,
        DevicePages(device, logins, log, clock).router,
        OpticsPages(device, logins).router,
        HelpPages().router,
        api_page(app),
    )
    for router in routers:
        app.include_router(router)
    for kind in (EdgeError, HTTPException, RequestValidationError, Exception):
        app.exception_handlers[kind] = _problem
    return app


async def _problem(request: Request, error: Exception) -> Response:
    """Answer an error: programs as the API does, people with a page that says what to do."""
    code, words, kind = refusal(error)
    if request.url.path.startswith(f"{ROOT}/"):
        return JSONResponse({"error": words, "kind": kind}, code)
    if code == 401:
        target = f"/login?to={quote(request.url.path, safe='/')}" if request.method == "GET" else "/login"
        return Response(status_code=401, headers={"HX-Redirect": target}) if is_htmx(request) else RedirectResponse(
            target, 303
        )  # fmt: skip
    return html(request, "problem.html", code, words=words)
