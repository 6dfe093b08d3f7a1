"""Signing in and out, and the choice of a language."""

from __future__ import annotations

import hmac
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from edge.api.guard import cookie_name
from edge.api.logins import Logins
from edge.errors import CommandError
from edge.language.languages import codes
from edge.page.render import LANGUAGE_COOKIE, fields_of, form_of, html

YEAR_S = 366 * 86_400


class LoginPages:
    """The pages that one needs before one is signed in."""

    def __init__(self, logins: Logins, secure: bool) -> None:
        self._logins, self._secure = logins, secure
        router = self.router = APIRouter(include_in_schema=False)
        router.get("/login")(self.show)
        router.post("/login")(self.sign_in)
        router.post("/logout")(self.sign_out)
        router.get("/language/{code}")(self.choose)

    def show(self, request: Request) -> Response:
        """Show the form that signs in."""
        return self._shown(request)

    def _shown(self, request: Request, error: str = "", name: str = "", code: int = 200) -> Response:
        target = safe_target(request.query_params.get("to", ""))
        csrf = self._logins.login_csrf()
        return html(request, "login.html", code, error=error, name=name, target=target, csrf=csrf)

    async def sign_in(self, request: Request) -> Response:
        """Sign a person in."""
        fields = await fields_of(request)
        # That somebody else's page signs a person in under another name is kept out too.
        if not hmac.compare_digest(fields.get("csrf", "").encode(), self._logins.login_csrf().encode()):
            return self._shown(request, "the form is not this device's; try again", code=403)
        address = request.client.host if request.client else ""
        name = fields.get("name", "")[:64]
        try:
            token = await run_in_threadpool(self._logins.sign_in, name, fields.get("password", ""), address)
        except CommandError as error:
            return self._shown(request, str(error), name, 403)
        # A new token with every login: one that was planted before it is worth nothing.
        response = RedirectResponse(safe_target(fields.get("to", "")), 303)
        response.set_cookie(
            cookie_name(self._secure), token, secure=self._secure, httponly=True, samesite="strict", path="/"
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """Sign a person out."""
        await form_of(request)
        await run_in_threadpool(self._logins.sign_out, request.scope["token"])
        response = RedirectResponse("/login", 303)
        response.delete_cookie(cookie_name(self._secure), secure=self._secure, httponly=True, samesite="strict")
        return response

    def choose(self, request: Request, code: str) -> Response:
        """Choose the language of the page."""
        response = RedirectResponse(safe_target(urlsplit(request.headers.get("referer", "")).path), 303)
        if code in codes():
            response.set_cookie(
                LANGUAGE_COOKIE, code, max_age=YEAR_S, secure=self._secure, httponly=True, samesite="lax"
            )
        return response


def safe_target(text: str) -> str:
    """Return the address of a page of this device; of anything else that of the first page."""
    parts = urlsplit(text) if text.isascii() and text.isprintable() else None
    if parts is None or parts.scheme or parts.netloc or not text.startswith("/") or "\\" in text or text[1:2] == "/":
        return "/"
    return quote(parts.path, safe="/-._~") + (f"?{quote(parts.query, safe='=&-._~%')}" if parts.query else "")
