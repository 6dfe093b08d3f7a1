"""One page of a result with everything in it, to be read on a phone, printed on A4, or sent."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from jinja2 import FunctionLoader
from markupsafe import Markup

from edge.language.languages import Language
from edge.language.templates import environment
from edge.report.slide_map import SlideMap
from edge.report.words import breakable
from edge.screening.verdict import NOT_A_DIAGNOSIS, RESEARCH_USE

_HYPHENATED = re.compile(r"[^\W_]+(?:-[^\W_]+)+")

FIELDS_SHOWN = 500
"""Fields listed one by one."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of two columns; value: words, or a name in which a line may be broken."""

    label: str
    value: str | Markup


@dataclass(frozen=True, slots=True)
class Count:
    """A count of cells; reviewed: after review, None where nobody reviewed."""

    words: str
    automatic: int
    reviewed: int | None = None


@dataclass(frozen=True, slots=True)
class FieldLine:
    """A field: its cells, or why it was not read."""

    name: str
    red_cells: int
    sickle: int
    not_named: int
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class PictureOfCell:
    """A small picture.

    Attributes:
        jpeg: the picture.
        words: what the cell is called.
        chance: of being sickle-like, in figures; empty where that is not known.
        below: where it lies, or what the device called it.
    """

    jpeg: bytes
    words: str
    chance: str
    below: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the page says, in words.

    Attributes:
        language: in which it is written.
        name: of the sample, or of what was scanned.
        headline: the verdict, first of all.
        headline_in_english: the same where no native speaker has read the language's catalogue; else empty.
        figure: the percentage, or empty.
        interval: its interval, or empty.
        sentences: what follows, such as the counts in words.
        facts: sample, site, device, dates.
        warnings: to be kept in mind.
        counts: cells by class.
        quality: sentences on fields read and not read, area, coverage.
        slide: what of the slide was read and where sickle-like cells lay; None where that is not known.
        gallery: small pictures.
        gallery_words: what they are and in which order.
        review: sentences on what people looked at and who signed; empty where there is no review.
        signed: who signed and when, or empty: then there is a line to sign on.
        details: sections of the fold-out.
        fields: one line each.
        read_with: program and networks in a line, which is printed: a fold-out is not.
        fields_more: how many are not listed, and where they are.
        left_out: files that were not read, with the cause.
    """

    language: Language
    name: str
    headline: str
    headline_in_english: str
    figure: str
    interval: str
    sentences: tuple[str, ...]
    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]
    counts: tuple[Count, ...]
    quality: tuple[str, ...]
    slide: SlideMap | None
    gallery: tuple[PictureOfCell, ...]
    gallery_words: str
    details: tuple[tuple[str, tuple[Fact, ...]], ...]
    fields: tuple[FieldLine, ...]
    read_with: str
    fields_more: str = ""
    review: tuple[str, ...] = ()
    signed: str = ""
    left_out: tuple[Fact, ...] = ()


def render(report: Report) -> str:
    """Return the page. It takes nothing from anywhere, has no script and no style attribute."""
    made = environment(report.language, FunctionLoader(_text))
    made.filters |= {"breakable": breakable, "data_uri": _data_uri}
    counted = [count for one in report.counts for count in (one.automatic, one.reviewed or 0)]
    page = made.get_template("page.html").render(
        report=report,
        style=Markup(_text("page.css")),  # noqa: S704 - our own file
        most=max(1, *counted) if counted else 1,
        any_reviewed=any(one.reviewed is not None for one in report.counts),
        research_use=RESEARCH_USE,
        not_a_diagnosis=NOT_A_DIAGNOSIS,
    )
    head, body, rest = page.partition("<body>")
    return head + body + re.sub(r">[^<]+", _unbroken, rest)


def _unbroken(text: re.Match[str]) -> str:
    """Keep words with a hyphen on one line, such as `sickle-like` and dates, and a number with its per cent."""
    return _HYPHENATED.sub(r'<span class="w">\g<0></span>', text[0].replace(" %", "\N{NO-BREAK SPACE}%"))


def style_source() -> str:
    """Return what a content security policy must allow for the style, `'sha256-…'`."""
    return f"'sha256-{b64encode(sha256(_text('page.css').encode()).digest()).decode('ascii')}'"


def _text(name: str) -> str:
    return files("edge.report").joinpath(name).read_text(encoding="utf-8")


def _data_uri(picture: bytes) -> Markup:
    # Base64 of our own bytes has nothing to escape, and escaping would cost as much as the picture.
    return Markup("data:image/jpeg;base64," + b64encode(picture).decode("ascii"))  # noqa: S704
