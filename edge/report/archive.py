"""One page over the samples of an archive."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from edge.report.page import Fact
from edge.screening.verdict import NOT_A_DIAGNOSIS, RESEARCH_USE


@dataclass(frozen=True, slots=True)
class SampleLine:
    """A sample: its verdict in words, and what it rests on.

    Figure and interval are empty where none is reported.
    """

    name: Markup
    headline: str
    figure: str
    interval: str
    red_cells: int
    fields_read: int
    fields_rejected: int
    flags: str


@dataclass(frozen=True, slots=True)
class Archive:
    """What the page says: facts over all samples, and a line for each."""

    name: str
    facts: tuple[Fact, ...]
    samples: tuple[SampleLine, ...]


def render_archive(archive: Archive) -> str:
    """Return the page. It takes nothing from anywhere and has no script."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room = files("edge.report")
    return environment.from_string(room.joinpath("archive.html").read_text("utf-8")).render(
        archive=archive,
        style=Markup(room.joinpath("page.css").read_text("utf-8")),  # noqa: S704 - our own file
        research_use=RESEARCH_USE,
        not_a_diagnosis=NOT_A_DIAGNOSIS,
    )
