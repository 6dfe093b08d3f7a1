"""report.html: one page with everything in it, to be read on a phone, printed or sent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from edge.batch.annotate import COLOURS, GalleryCell
from edge.batch.reasons import LEFT_OUT, REASONS
from edge.batch.records import FieldRecord, Summary
from edge.screening.verdict import FLAGS, RESEARCH_USE

REJECTED_SHOWN = 200
"""Rejected fields listed one by one; the count by reason holds them all."""


def render(summary: Summary, gallery: Sequence[GalleryCell], rejected: Sequence[FieldRecord]) -> str:
    """Return the page.

    rejected: lines of rejected fields, of which the caller need keep no more than are shown.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.2f} %"
    environment.filters["number"] = lambda value: f"{value:.4g}"
    template = environment.from_string(files("edge.batch").joinpath("report.html").read_text(encoding="utf-8"))
    counts = {**summary.by_class, **summary.excluded}
    return template.render(
        summary=summary,
        verdict=summary.verdict,
        counts=counts,
        most=max(1, *counts.values()),
        colours={name: "#{:02x}{:02x}{:02x}".format(*rgb) for name, rgb in COLOURS.items()},
        flags={name: FLAGS[name] for name in summary.verdict.flags},
        gallery=[(cell, _data_uri(cell.picture)) for cell in gallery],
        rejected=rejected[:REJECTED_SHOWN],
        rejected_total=sum(summary.rejected.values()),
        reasons=REASONS,
        left_out=summary.left_out_files[:REJECTED_SHOWN],
        left_out_reasons={reason.value: words for reason, words in LEFT_OUT.items()},
        research_use=RESEARCH_USE,
    )


def _data_uri(picture: bytes) -> Markup:
    # Base64 of our own bytes has nothing to escape, and escaping would cost as much as the picture.
    return Markup("data:image/jpeg;base64," + b64encode(picture).decode("ascii"))  # noqa: S704
