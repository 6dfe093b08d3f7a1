"""No page is forgotten: each route asks for a login, each form for its token, each page is looked at by the browser."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
from fastapi.routing import APIRoute

from edge.api.guard import Guard
from tests.edge.page.page_parts import Site, csrf_in, sign_in, site

OPEN = {"/login", "/logout", "/language/{code}", "/static/{name}"}
"""For whoever has not signed in, or does so no more."""

NO_PAGES = {
    "/static/{name}", "/language/{code}", "/live/picture.jpg", "/live/pictures", "/live/events", "/live/begin",
    "/samples/{name}/cells/{number}.jpg", "/samples/{name}/fields/{field}/picture.jpg",
    "/device/optics/{kind}/measured.jpg", "/device/backup",
}  # fmt: skip
"""Pictures, streams, parts of pages, files."""

PAGES = {
    "/": 'check("live-counting")',
    "/login": 'check("login")',
    "/samples": 'check("samples")',
    "/samples/{name}": 'check("signed")',
    "/samples/{name}/report": 'check("report")',
    "/samples/{name}/review": 'check("review")',
    "/samples/{name}/fields/{field}": 'check("field")',
    "/samples/{name}/sign": 'check("sign")',
    "/scan/discard/{name}": 'check("discard")',
    "/control": '"/control"',
    "/device": 'check("device-doctor")',
    "/device/optics": 'check("optics-written")',
    "/device/optics/{kind}": 'check("optics-size")',
    "/help": '"/help"',
    "/api/v1/docs": '"/api/v1/docs"',
}
"""Each page, and where the tests with the browser look at it at each width and by axe."""

VALUES = {"code": "fr", "name": "nobody", "number": "1", "field": "1", "kind": "pixel-size", "action": "measure"}


def routes(here: Site) -> list[tuple[str, str]]:
    """Return method and path of each route that a browser reaches."""
    assert isinstance(here.app, Guard)
    left: list[Any] = list(here.app._app.routes)  # type: ignore[attr-defined]
    found: set[tuple[str, str]] = set()
    while left:
        one = left.pop()
        if hasattr(one, "original_router"):  # FastAPI keeps a router that was included as it is
            left += one.original_router.routes
        else:
            assert isinstance(one, APIRoute), "a route of another kind: look at it here too"
            found |= {(method, one.path) for method in one.methods or ()}
    assert len(found) > 40
    return sorted(found)


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda place: VALUES[place[1]], path)


def test_each_page_is_looked_at_by_the_browser(tmp_path: Path) -> None:
    """Whoever adds a page adds it to a test with the browser, and here."""
    with site(tmp_path) as here:
        shown = {path for method, path in routes(here) if method == "GET" and not path.startswith("/api/v1/")}
    assert shown | {"/api/v1/docs"} == set(PAGES) | NO_PAGES
    looked_at = "".join(path.read_text() for path in Path(__file__).parent.glob("test_browser*.py"))
    assert [path for path, where in PAGES.items() if where not in looked_at] == []


def test_each_route_wants_a_login(tmp_path: Path) -> None:
    async def test(here: Site, client: httpx.AsyncClient) -> None:
        for method, path in routes(here):
            if path in OPEN:
                continue
            answer = await client.request(method, filled(path))
            led = answer.status_code == 303 and answer.headers["location"].startswith("/login")
            assert led or answer.status_code == 401, (method, path, answer.status_code)

    _run(tmp_path, test, signed_in=False)


def test_each_form_wants_its_own_page_and_token(tmp_path: Path) -> None:
    async def test(here: Site, client: httpx.AsyncClient) -> None:
        csrf = csrf_in((await client.get("/device")).text)
        for method, path in routes(here):
            if method in ("GET", "HEAD"):
                continue
            asked = {"csrf": csrf}
            for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
                answer = await client.request(method, filled(path), headers=headers, data=asked)
                assert answer.status_code == 400, (path, headers)
            if path.startswith("/api/"):
                assert (await client.request(method, filled(path), data=asked)).status_code == 415, (
                    "a form is no command"
                )
            else:
                answer = await client.request(method, filled(path), data={"csrf": csrf[:-1] + "g"})
                assert answer.status_code == 403, (path, answer.status_code)
        assert [entry.action for entry in here.logins.users.audit(5)] == ["signed in"], "nothing was done"

    _run(tmp_path, test, signed_in=True)


def _run(folder: Path, test: object, signed_in: bool) -> None:
    with site(folder, ("Ida", "reviewer"), ("Ian", "integrator")) as here:

        async def asked() -> None:
            async with here.client() as client:
                if signed_in:
                    await sign_in(client, "Ian")
                await test(here, client)  # type: ignore[operator]

        asyncio.run(asked())
