"""Makes pages from templates: who asks, in which language, and the form's token."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader
from starlette.exceptions import HTTPException

from edge.api.access import Identity
from edge.api.http import identity_of
from edge.language.languages import Language, chosen, codes, language
from edge.language.templates import environment as templates
from edge.page.guidance import PICTURE_WORDS
from edge.page.static_files import address, program
from edge.report.sentences import SENTENCES
from edge.sample.commands import LONGEST_BYTES
from edge.screening.verdict import NOT_A_DIAGNOSIS, RESEARCH_USE

LANGUAGE_COOKIE = "language"

_NO_SIGNS = re.compile(r"[\x00-\x1f\x7f]")

HTMX = "HX-Request"
"""Header of the requests that htmx makes, which are answered with a part of a page."""


def is_htmx(request: Request) -> bool:
    """Return whether a part of a page is asked for."""
    return HTMX in request.headers


def language_of(request: Request) -> Language:
    """Return the language in which a request is answered."""
    return chosen(request.cookies.get(LANGUAGE_COOKIE, ""), request.headers.get("accept-language", ""))


def html(request: Request, template: str, code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        request: what is answered.
        template: its file's name.
        code: HTTP status.
        values: what the template shows.
    """
    return HTMLResponse(text(request, template, **values), code)


def text(request: Request, template: str, **values: Any) -> str:
    """Return the HTML of a template; see `html`."""
    spoken = language_of(request)
    found = request.scope.get("identity")
    return environment(spoken.code).get_template(template).render(
        identity=found if isinstance(found, Identity) else None,
        path=request.url.path,
        htmx=is_htmx(request),
        **values,
    )  # fmt: skip


@cache
def environment(code: str) -> Environment:
    """Return the templates in a language."""
    made = templates(language(code), FileSystemLoader(str(files("edge.page").joinpath("templates"))))
    made.filters["told"] = lambda words: language(code).recognised(words, SENTENCES)
    made.filters["unbroken"] = unbroken
    made.filters["percent"] = lambda fraction, digits=2: unbroken(language(code).percent(fraction, digits))
    made.globals |= {
        "languages": [language(one) for one in codes()],
        "version": version("sicklescope"),
        "asset": address,
        "program": program(),
        "research_use": RESEARCH_USE,
        "not_a_diagnosis": NOT_A_DIAGNOSIS,
        "picture_words": PICTURE_WORDS,
    }
    return made


def unbroken(words: str) -> str:
    """Return words in which a number and its per cent stay on one line."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%")


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that this device made for this person.

    Raises:
        HTTPException: It is too long, or not of this device or person.
    """
    fields = await fields_of(request)
    if not identity_of(request).csrf or fields.get("csrf") != identity_of(request).csrf:
        raise HTTPException(403, "the form is of another login. Load the page again; nothing was changed")
    return fields


async def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, whoever made it.

    Raises:
        HTTPException: It is too long, or no form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "expected a form")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BYTES:
            raise HTTPException(413, "the form is too long")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise HTTPException(400, "the form has too many fields") from error


def line_of(fields: dict[str, str], name: str) -> str:
    """Return what was typed into a field of one line; a tab that was pasted is a space."""
    return " ".join(_NO_SIGNS.sub(" ", fields.get(name, "")).split())[:500]


def see_other(request: Request, address: str) -> Response:
    """Lead to another page after something was done."""
    if is_htmx(request):
        return Response(status_code=204, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)
