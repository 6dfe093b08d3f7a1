"""Review: one cell after the other, one key a cell; the field round it; missed cells; undo."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from edge.api.access import Identity
from edge.api.device import Device
from edge.api.http import identity_of, needs, require
from edge.errors import CommandError, EdgeError
from edge.page.render import form_of, html, is_htmx, line_of
from edge.page.views.samples import named
from edge.sample.commands import Review, made
from edge.sample.review.field_pictures import FieldPicture, load_picture
from edge.sample.review.review import GalleryCell, SampleReview
from edge.sample.review.rows import Reading, marks
from edge.sample.sample_row import StoredSample
from edge.types import CLASSES

KEYS = {"normal": "n", "sickle": "s", "other": "o", "wbc": "w", "platelet": "p", "artefact": "a"}
"""The key of each class."""

CONTEXT = 7.0
"""Side of the context of a cell, in sides of its box."""

Ordered = Literal["random", "sickle"]


class ReviewPages:
    """The pages on which people say what cells are."""

    def __init__(self, device: Device) -> None:
        self._device, self._lifecycle = device, device.lifecycle
        self._review = SampleReview(device.lifecycle)
        router = self.router = APIRouter(include_in_schema=False, dependencies=[needs("see")])
        router.get("/samples/{name}/review")(self.show)
        router.post("/samples/{name}/review")(self.answer)
        router.get("/samples/{name}/fields/{field}")(self.field)
        router.post("/samples/{name}/fields/{field}")(self.mark)
        router.get("/samples/{name}/fields/{field}/picture.jpg")(self.picture)
        router.post("/samples/{name}/notes")(self.note)

    def show(self, request: Request, name: str, reading: Reading = "first", order: Ordered = "random") -> Response:
        """Show the first cell that is not answered."""
        require(identity_of(request), "review")
        return self._shown(request, name, reading, order)

    def _shown(
        self, request: Request, name: str, reading: Reading, order: Ordered, error: str = "", code: int = 200
    ) -> Response:
        sample, who = named(self._lifecycle.store.find, name), identity_of(request)
        gallery = self._review.gallery(sample, reading, blind=order == "random")
        cell = next((one for one in gallery.cells if one.answer is None), None)
        last = self._review.last_answered(sample, reading, who.name)
        cells = {one.number: one for one in gallery.cells}
        return html(
            request, "review_card.html" if is_htmx(request) else "review.html", code,
            sample=sample, reading=reading, order=order, gallery=gallery, cell=cell, keys=KEYS, error=error,
            context=self._context(sample, cell), last=cells.get(last) if last is not None else None,
            others=[one for one in self._review.readers(sample)[reading] if one != who.name],
        )  # fmt: skip

    def _context(self, sample: StoredSample, cell: GalleryCell | None) -> dict[str, Any] | None:
        """Return the stored field of a cell, the part of it to show, and where the cell lies; in pixels."""
        if cell is None or cell.field is None:
            return None
        picture = load_picture(self._lifecycle.database, sample.id, cell.field)
        return None if picture is None or cell.number not in picture.boxes else _part(picture, cell.number)

    async def answer(self, request: Request, name: str) -> Response:
        """Store what a person says of a cell, or take the last answer back, and show the next cell."""
        fields = await form_of(request)
        who = require(identity_of(request), "review")
        reading, order = _reading(fields.get("reading", "")), _order(fields.get("order", ""))
        error = ""
        try:
            if "undo" in fields:
                await self._do(name, who, reading=reading, undo=[_number(fields["undo"])])
            else:
                await self._do(
                    name, who, reading=reading, cells={_number(fields.get("cell", "")): fields.get("class", "")}
                )
        except EdgeError as failed:
            error = str(failed)
        back = f"/samples/{name}/review?reading={reading}&order={order}"
        if not is_htmx(request) and not error:
            return RedirectResponse(back, 303)
        code = 409 if error else 200
        return await run_in_threadpool(self._shown, request, name, reading, order, error, code)

    async def _do(self, name: str, who: Identity, **said: Any) -> None:
        sample = await run_in_threadpool(named, self._lifecycle.store.find, name)
        command = made(Review, sample=sample.id, by=who.name, **said)
        await run_in_threadpool(self._device.commands.ask, command)

    # Fields.

    def field(self, request: Request, name: str, field: Annotated[int, "number"]) -> Response:
        """Show a stored field, on which missed cells can be marked."""
        sample = named(self._lifecycle.store.find, name)
        picture = self._loaded(sample, field)
        said = [one for one in marks(self._lifecycle.database, sample.id) if one.field == field and one.class_name]
        return html(request, "field.html", sample=sample, picture=picture, marks=said, classes=CLASSES, error="")

    async def mark(self, request: Request, name: str, field: Annotated[int, "number"]) -> Response:
        """Mark a cell that the detector missed, or take a mark back."""
        fields = await form_of(request)
        who = require(identity_of(request), "review")
        sample = await run_in_threadpool(named, self._lifecycle.store.find, name)
        picture = await run_in_threadpool(self._loaded, sample, field)
        if "unmark" in fields:
            await self._do(name, who, unmark=[_number(fields["unmark"])])
        else:
            # The browser tells where on the picture was pointed, in its pixels (an input of type image).
            x, y = (_number(fields.get(f"at.{axis}", "")) for axis in "xy")
            place = {"x": min(1.0, x / picture.width), "y": min(1.0, y / picture.height)}
            await self._do(name, who, missed=[{"field": field, **place, "class_name": fields.get("class", "")}])
        return RedirectResponse(f"/samples/{sample.id}/fields/{field}", 303)

    def picture(self, name: str, field: Annotated[int, "number"]) -> Response:
        """Return the picture of a stored field."""
        found = self._loaded(named(self._lifecycle.store.find, name), field)
        return Response(found.jpeg, media_type="image/jpeg")

    def _loaded(self, sample: StoredSample, field: int) -> FieldPicture:
        found = load_picture(self._lifecycle.database, sample.id, field) if 0 <= field < 1 << 40 else None
        if found is None:
            raise HTTPException(404, "no picture of this field is kept")
        return found

    async def note(self, request: Request, name: str) -> Response:
        """Store a note on a sample."""
        fields = await form_of(request)
        who = require(identity_of(request), "review")
        await self._do(name, who, note=line_of(fields, "note"))
        return RedirectResponse(f"/samples/{name}", 303)


def _part(picture: FieldPicture, number: int) -> dict[str, Any]:
    x0, y0, x1, y1 = picture.boxes[number]
    left, top, right, bottom = x0 * picture.width, y0 * picture.height, x1 * picture.width, y1 * picture.height
    side = min(max(right - left, bottom - top) * CONTEXT, picture.width, picture.height)
    x = min(max(0.0, (left + right - side) / 2), picture.width - side)
    y = min(max(0.0, (top + bottom - side) / 2), picture.height - side)
    return {"picture": picture, "view": (x, y, side), "box": (left, top, right - left, bottom - top)}


def _reading(text: str) -> Reading:
    return next((one for one in get_args(Reading) if one == text), "first")


def _order(text: str) -> Ordered:
    return "sickle" if text == "sickle" else "random"


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 13:
        raise CommandError("the form has no number of a cell. Load the page again; nothing was changed")
    return int(text)
