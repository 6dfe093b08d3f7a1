"""Style, script and pictures of the page: few files, read once, each under an address that changes with it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from edge.api.guard import STATIC

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain; charset=utf-8"}

router = APIRouter(include_in_schema=False)


@cache
def _contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in files("edge.page").joinpath("static").iterdir()}


@cache
def address(name: str) -> str:
    """Return the address of a file: after an upgrade another one."""
    return f"{STATIC}{name}?v={hashlib.sha256(_contents()[name]).hexdigest()[:12]}"


@cache
def program() -> str:
    """Return what an upgrade changes: parts of pages carry it, so that a stale page is known."""
    digest = hashlib.sha256(version("sicklescope").encode())
    for _, content in sorted(_contents().items()):
        digest.update(content)
    return digest.hexdigest()[:12]


@router.get(STATIC + "{name}")
def static_file(name: str) -> Response:
    """Return a file of the page."""
    content = _contents().get(name)
    if content is None:
        raise HTTPException(404, "there is no such file")
    return Response(content, media_type=TYPES.get(name.rpartition(".")[2], "application/octet-stream"))
