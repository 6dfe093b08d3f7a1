"""The list of samples, and the page of each: verdict, counts, map, history."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from edge.api.device import Device
from edge.api.guard import POLICY, SECURITY_HEADERS
from edge.api.http import needs
from edge.errors import SampleError
from edge.page.acting import version_of
from edge.page.listing import LISTED, figures_now, listing
from edge.page.render import html, language_of
from edge.report.of_sample import report_of_sample
from edge.report.page import render, style_source
from edge.report.review_words import normals_words, speed_words
from edge.report.slide_map import slide_map, squares
from edge.sample.review.field_pictures import pictured_fields
from edge.sample.review.review import SampleReview
from edge.sample.review.rows import Reading, marks, notes
from edge.sample.sample_row import State, StoredSample
from edge.screening.agreement import MissedBound
from edge.screening.verdict import FLAGS

SHOWN_CROPS = 60
"""Pictures of sickle-like and unnamed cells on a sample's page."""

Offset = Annotated[int, Query(ge=0, le=1_000_000)]
Part = Annotated[str, Query(max_length=63)]


class SamplePages:
    """The pages of samples."""

    def __init__(self, device: Device) -> None:
        self._lifecycle = device.lifecycle
        self._review = SampleReview(device.lifecycle)
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("see")])
        router.get("/samples")(self.list)
        router.get("/samples/{name}")(self.show)
        router.get("/samples/{name}/report")(self.report)
        router.get("/samples/{name}/cells/{number}.jpg")(self.crop)

    def list(self, request: Request, q: Part = "", state: Part = "", offset: Offset = 0) -> Response:
        """Show a page of the list."""
        if state not in get_args(State):
            state = ""
        total, found = listing(self._lifecycle.database, q.strip(), state, offset)
        return html(
            request, "samples.html", total=total, samples=found, q=q, state=state, states=get_args(State),
            offset=offset, step=LISTED,
            normals=self._normals(request, self._review.normals_of_device()),
        )  # fmt: skip

    def show(self, request: Request, name: str) -> Response:
        """Show a sample."""
        sample = named(self._lifecycle.store.find, name)
        described = self._lifecycle.described(sample)
        figures = figures_now(self._lifecycle, sample)
        database = self._lifecycle.database
        ended = sample.state in ("review", "incomplete", "final")
        called = [
            *self._lifecycle.store.cells(sample.id, "sickle"),
            *self._lifecycle.store.cells(sample.id, "abstained"),
        ]
        return html(
            request, "sample.html", sample=sample, described=described, figures=figures,
            seen=version_of(database, sample),
            slide=slide_map(squares(database, sample.id)),
            crops=[cell for cell in called if cell.pictured][:SHOWN_CROPS],
            flags=[(flag, FLAGS[flag]) for flag in (figures.flags if figures else ()) if flag in FLAGS],
            readers=self._review.readers(sample) if ended else {}, signed=self._review.signed_by(sample),
            agreement=self._review.agreement(sample) if ended else None, speed=self._speed(request, sample, ended),
            unsettled=len(self._review.unsettled(sample)) if ended else 0,
            normals=self._normals(request, self._review.normals(sample)) if ended else "",
            attempts=self._review.attempts(sample),
            notes=notes(database, sample.id), marks=[one for one in marks(database, sample.id) if one.class_name],
            fields=pictured_fields(database, sample.id),
        )  # fmt: skip

    def _normals(self, request: Request, found: MissedBound) -> str:
        """Return what random normal cells say of the others; empty where none was looked at."""
        return normals_words(language_of(request), found) if found.looked else ""

    def _speed(self, request: Request, sample: StoredSample, ended: bool) -> tuple[str, ...]:
        """Return how fast and how right the readers were, by their words."""
        readings: tuple[Reading, ...] = ("first", "second") if ended else ()
        said = language_of(request)
        names = {"first": said.told("First reader"), "second": said.told("Second reader")}
        found = [(one, " ".join(speed_words(said, self._review, sample, one))) for one in readings]
        return tuple(names[one] + said.told(":") + " " + words for one, words in found if words)

    def report(self, request: Request, name: str) -> Response:
        """Show the page that is printed, which is whole in itself."""
        sample = named(self._lifecycle.store.find, name)
        report = report_of_sample(self._lifecycle, sample, language_of(request))
        policy = SECURITY_HEADERS[POLICY].replace("style-src 'self'", f"style-src {style_source()}")
        return HTMLResponse(render(report), headers={POLICY: policy})

    def crop(self, name: str, number: Annotated[int, "of the cell"]) -> Response:
        """Return the picture of a cell."""
        sample = named(self._lifecycle.store.find, name)
        jpeg = self._review.crop(sample, number) if 0 <= number < 1 << 40 else None
        if jpeg is None:
            raise HTTPException(404, "no picture of this cell is kept")
        return Response(jpeg, media_type="image/jpeg")


def named(find: Any, name: str) -> StoredSample:
    """Return a sample by its identifier or code.

    Raises:
        HTTPException: There is none.
    """
    try:
        found: StoredSample = find(name)
    except SampleError as error:
        raise HTTPException(404, str(error)) from error
    return found
