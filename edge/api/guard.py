"""Stands before every request from the network: who asks, by which name, and from which page."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.api.logins import Logins

POLICY = "Content-Security-Policy"

SECURITY_HEADERS = {
    # Nothing inline, nothing from elsewhere; data: is a page's own small pictures.
    POLICY: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

SAFE_METHODS = ("GET", "HEAD")

STATIC = "/static/"
"""Files that anyone may have: they are the same on every device."""


class Guard:
    """Refuses requests of other pages and names; tells in scope["identity"] who asks."""

    def __init__(self, app: ASGIApp, logins: Logins, names: frozenset[str], secure: bool) -> None:
        """Stand before an application.

        Args:
            app: the application.
            logins: who is signed in.
            names: host names of this device.
            secure: whether it is reached by TLS.
        """
        self._app, self._logins, self._names, self._secure = app, logins, names, secure
        self.cookie = cookie_name(secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in self._headers(scope["path"]).items():
                    given.setdefault(name, value)
            await send(message)

        why = self._foreign(scope, headers)
        if why:
            await JSONResponse({"error": why, "kind": "CommandError"}, 400)(scope, receive, send_guarded)
            return
        scope["token"] = cookie(headers, self.cookie)
        if not scope["path"].startswith(STATIC):
            scope["identity"] = await run_in_threadpool(self._logins.identify, scope["token"])
        await self._app(scope, receive, send_guarded)

    def _headers(self, path: str) -> dict[str, str]:
        found = dict(SECURITY_HEADERS)
        if self._secure:
            found["Strict-Transport-Security"] = "max-age=31536000"
        # A page shows what only some may see, and must not stay on a shared computer.
        found["Cache-Control"] = "max-age=31536000, immutable" if path.startswith(STATIC) else "no-store"
        return found

    def _foreign(self, scope: Scope, headers: Headers) -> str:
        """Return why a request is not of this device's own pages; empty when it is."""
        host = headers.get("host", "")
        if not self._is_ours(host, scope):
            return "this device has another name: call it by its own, web.names, or by its address"
        if scope["method"] in SAFE_METHODS:
            return ""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin)[:2] != ("https" if self._secure else "http", host):
            return "the request comes from another page"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "the request comes from another page"
        return ""

    def _is_ours(self, host: str, scope: Scope) -> bool:
        """Return whether a Host header names this device, or the address to which the connection was made.

        A page from elsewhere that has its own name led here is turned away: a name is no address.
        """
        name = urlsplit(f"//{host}").hostname if host.isascii() else None
        if name is None:
            return False
        if name in self._names:
            return True
        try:
            return scope["server"] is not None and ip_address(name) == ip_address(scope["server"][0])
        except ValueError:
            return False


def cookie_name(secure: bool) -> str:
    """Return the cookie's name; with TLS one that no other host can set."""
    return "__Host-sicklescope" if secure else "sicklescope"


def cookie(headers: Headers, name: str) -> str:
    """Return the value of a cookie; empty when there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
