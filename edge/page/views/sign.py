"""Signing: by name, with the password again; the sample is final, published and locked."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from edge.api.device import Device
from edge.api.http import identity_of, needs, require
from edge.api.logins import Logins
from edge.errors import EdgeError
from edge.page.acting import Acting, version_of
from edge.page.listing import figures_now
from edge.page.render import form_of, html, language_of, line_of
from edge.page.views.samples import named
from edge.report.review_words import normals_words
from edge.sample.commands import Review, made
from edge.sample.review.review import SampleReview


class SignPages:
    """The page that signs a sample."""

    def __init__(self, device: Device, logins: Logins, acting: Acting) -> None:
        self._lifecycle, self._logins, self._acting = device.lifecycle, logins, acting
        self._review = SampleReview(device.lifecycle)
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("review")])
        router.get("/samples/{name}/sign")(self.show)
        router.post("/samples/{name}/sign")(self.sign)

    def show(self, request: Request, name: str) -> Response:
        """Ask for the password, beside what is signed."""
        return self._shown(request, name)

    def _shown(self, request: Request, name: str, error: str = "", reason: str = "", code: int = 200) -> Response:
        sample = named(self._lifecycle.store.find, name)
        normals = self._review.normals(sample)
        return html(
            request, "sign.html", code, sample=sample, error=error, reason=reason,
            seen=version_of(self._lifecycle.database, sample),
            figures=figures_now(self._lifecycle, sample), gallery=self._review.gallery(sample),
            normals=normals_words(language_of(request), normals) if normals.looked else "",
            unsettled=len(self._review.unsettled(sample)),
            attempts=self._review.attempts(sample), has_users=self._logins.users.any(),
        )  # fmt: skip

    async def sign(self, request: Request, name: str) -> Response:
        """Sign a sample."""
        fields = await form_of(request)
        who = require(identity_of(request), "review")
        address = request.client.host if request.client else ""
        reason = line_of(fields, "reason")
        sample = await run_in_threadpool(named, self._lifecycle.store.find, name)
        try:
            await run_in_threadpool(self._logins.check, who.name, fields.get("password", ""), address)
            command = made(Review, sample=sample.id, by=who.name, reason=reason, done=True)
            await run_in_threadpool(self._acting.do, command, fields.get("seen", ""))
        except EdgeError as error:
            return await run_in_threadpool(self._shown, request, name, str(error), reason, 409)
        return RedirectResponse(f"/samples/{sample.id}", 303)
