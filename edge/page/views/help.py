"""Help: what each word means, and what the device is for."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from edge.api.http import ROOT, needs
from edge.page.render import html


class HelpPages:
    """The page of help."""

    def __init__(self) -> None:
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("see")])
        router.get("/help")(self.show)

    def show(self, request: Request) -> Response:
        """Show what each word means."""
        return html(request, "help.html")


def api_page(app: FastAPI) -> APIRouter:
    """Return the page that describes the API to people, with nothing from elsewhere."""
    router = APIRouter(include_in_schema=False, dependencies=[needs("see")])

    @router.get(f"{ROOT}/docs")
    def docs(request: Request) -> Response:
        return html(request, "api.html", api=app.openapi())

    return router
