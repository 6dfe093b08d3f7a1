"""report.html of a scan: what its summary and its fields say, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from edge.batch.annotate import GalleryCell
from edge.batch.records import FieldRecord, ModelRecord, Summary
from edge.report.page import FIELDS_SHOWN, Fact, FieldLine, PictureOfCell, Report
from edge.report.reasons import LEFT_OUT
from edge.report.shared import SCALE_WORDS, counts_of, network_facts, quality, sentences, warnings
from edge.report.words import CELL_WORDS, breakable, headline, interval, number_of, percent, when
from edge.types import Masked, Verdict


def report_of_scan(summary: Summary, gallery: Sequence[GalleryCell], fields: Path) -> Report:
    """Return the report of a scan.

    Args:
        summary: of the scan.
        gallery: the most sickle-like cells.
        fields: its fields.jsonl.
    """
    verdict = Verdict(**{**summary.verdict.model_dump(), "flags": tuple(summary.verdict.flags)})
    masked = Masked(summary.masked.share, summary.masked.where) if summary.masked else None
    lines, left = _field_lines(fields)
    return Report(
        name=summary.name,
        headline=headline(verdict),
        figure=percent(verdict.fraction) if verdict.status == "reported" else "",
        interval=interval(verdict.low, verdict.high) if verdict.status == "reported" else "",
        sentences=sentences(verdict, None),
        facts=_facts(summary),
        warnings=_stopped(summary) + warnings(verdict.flags, masked),
        counts=counts_of({**summary.by_class, **summary.excluded}),
        quality=quality(
            summary.fields_read, summary.rejected, summary.fields_repeated, summary.islands, summary.area_mm2,
            summary.cells_seen,
        ) + _left_out(summary),
        gallery=tuple(
            PictureOfCell(cell.picture, CELL_WORDS[cell.name], cell.p_sickle, Path(cell.image).name)
            for cell in gallery
        ),
        gallery_words="The most sickle-like cells, with the chance that the network gives, whatever the cell was then "
        "called. Look for yourself." if gallery else "No cell was found.",
        details=_details(summary),
        fields=lines,
        fields_more=f"And {number_of(left, 'more field', 'more fields')}: see fields.jsonl." if left else "",
        left_out=tuple(
            Fact(one.cause + (f": {one.instead}" if one.instead else ""), breakable(one.file))
            for one in summary.left_out_files[:FIELDS_SHOWN]
        ),
    )  # fmt: skip


def _facts(summary: Summary) -> tuple[Fact, ...]:
    begun = datetime.fromisoformat(summary.started_at)
    ended = begun + timedelta(seconds=summary.seconds)
    return (
        Fact("name", breakable(summary.name)),
        Fact("site", summary.site),
        Fact("device", summary.device),
        Fact("scan begun", when(int(begun.timestamp() * 1000))),
        Fact("scan ended", when(int(ended.timestamp() * 1000))),
        Fact("files", f"{summary.inputs_done} of {number_of(summary.inputs, 'file')}"),
    )


def _stopped(summary: Summary) -> tuple[str, ...]:
    if summary.complete:
        return ()
    return (f"The scan was stopped early: {summary.inputs_done} of {number_of(summary.inputs, 'file')} are in it.",)


def _left_out(summary: Summary) -> tuple[str, ...]:
    words = {reason.value: text for reason, text in LEFT_OUT.items()}
    return tuple(
        f"{number_of(count, 'file')} left out: {words[reason]}." for reason, count in summary.left_out.items() if count
    )


def _field_lines(path: Path) -> tuple[tuple[FieldLine, ...], int]:
    """Return a line for each of the first fields, and how many there are more."""
    lines: list[FieldLine] = []
    left = 0
    with path.open(encoding="utf-8") as file:
        for text in file:
            if len(lines) == FIELDS_SHOWN:
                left += 1
                continue
            field = FieldRecord.model_validate(json.loads(text))
            why = "" if field.rejected is None else field.rejected.cause
            counts = field.counts
            lines.append(FieldLine(field.image, field.rbc, counts["sickle"], counts["abstained"], why))
    return tuple(lines), left


def _details(summary: Summary) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    return (
        ("Size of a pixel", _scale_facts(summary)),
        ("Detector", _network(summary.models["detector"])),
        ("Classifier", _network(summary.models["classifier"])),
        ("Rules", _rules(summary)),
        ("Program", (Fact("version", f"sicklescope {summary.sicklescope}"), Fact("seconds", f"{summary.seconds:.1f}"))),
    )


def _scale_facts(summary: Summary) -> tuple[Fact, ...]:
    scale = summary.scale
    if scale is None:
        return (Fact("size", "unknown: no field was read"),)
    return (
        Fact("µm per pixel, median", f"{scale.median:.4g}"),
        Fact("over the fields", f"{scale.lowest:.4g} to {scale.highest:.4g}"),
        Fact("known because", "; ".join(SCALE_WORDS[source] for source in scale.sources)),
        Fact("how uncertain", percent(scale.spread)),
    )


def _network(model: ModelRecord) -> tuple[Fact, ...]:
    return network_facts(model.name, model.version, model.sha256, model.runtime, model.thresholds)


def _rules(summary: Summary) -> tuple[Fact, ...]:
    screening, limits = summary.settings["screening"], summary.settings["quality"]
    blank = summary.verdict.limit_of_blank
    return (
        Fact("pictures are", str(summary.settings["reading"])),
        Fact("red cells needed", str(screening["min_red_cells"])),
        Fact("red cells aimed at", str(screening["target_red_cells"])),
        Fact("cells cut by the border", "counted" if screening["keep_border"] else "not counted"),
        Fact("blurred, dark, empty or crowded fields", "refused" if limits["gate"] else "read too"),
        Fact("limit of blank", "not stated by the model" if blank is None else percent(blank)),
    )
