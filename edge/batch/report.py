"""report.html of a scan: what its summary and its fields say, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from edge.batch.annotate import GalleryCell
from edge.batch.records import FieldRecord, ModelRecord, Summary
from edge.language.languages import ENGLISH, N_, Language, language
from edge.report.page import FIELDS_SHOWN, Fact, FieldLine, PictureOfCell, Report
from edge.report.reasons import LEFT_OUT
from edge.report.shared import (
    SCALE_WORDS,
    counts_of,
    limit_words,
    network_facts,
    quality,
    read_with,
    sentences,
    warnings,
)
from edge.report.slide_map import SlideMap
from edge.report.words import CELL_WORDS, breakable, headline, interval, when
from edge.types import Masked, Verdict


def report_of_scan(
    summary: Summary, gallery: Sequence[GalleryCell] | None, fields: Iterable[FieldRecord], slide: SlideMap | None,
    say: Language,
) -> Report:  # fmt: skip
    """Return the report of a scan.

    Args:
        summary: of the scan.
        gallery: the most sickle-like cells; None where their pictures are not at hand.
        fields: its fields, of which the first are listed.
        slide: where its fields lie; None where that is not known.
        say: the language.
    """
    verdict = Verdict(**{**summary.verdict.model_dump(), "flags": tuple(summary.verdict.flags)})
    masked = Masked(summary.masked.share, summary.masked.where) if summary.masked else None
    lines = tuple(_field_line(say, field) for field in islice(fields, FIELDS_SHOWN))
    left = summary.fields_read + sum(summary.rejected.values()) - len(lines)
    more = say.count("And %(num)s more field: see fields.jsonl.", "And %(num)s more fields: see fields.jsonl.", left)
    needed = summary.settings["screening"]["min_red_cells"]
    reported = verdict.status == "reported"
    return Report(
        language=say,
        name=summary.name,
        headline=headline(say, verdict, needed, verdict.red_cells),
        headline_in_english="" if say.reviewed else headline(language(ENGLISH), verdict, needed, verdict.red_cells),
        figure=say.percent(verdict.fraction) if reported else "",
        interval=interval(say, verdict.low, verdict.high) if reported else "",
        sentences=sentences(say, verdict, None),
        facts=_facts(say, summary),
        warnings=_stopped(say, summary) + warnings(say, verdict.flags, masked),
        counts=counts_of(say, {**summary.by_class, **summary.excluded}),
        quality=quality(
            say, summary.fields_read, summary.rejected, summary.fields_repeated, summary.islands, summary.area_mm2,
            summary.cells_seen,
        ) + _left_out(say, summary),
        slide=slide,
        gallery=tuple(
            PictureOfCell(
                cell.picture, say.told(CELL_WORDS[cell.name]), say.number(cell.p_sickle, 2), Path(cell.image).name
            )
            for cell in gallery or ()
        ),
        gallery_words="" if gallery is None else _gallery_words(say, gallery),
        details=_details(say, summary),
        read_with=read_with(
            summary.sicklescope, [(one.name, one.version, one.sha256) for one in summary.models.values()]
        ),
        fields=lines,
        fields_more=more if left else "",
        left_out=tuple(
            Fact(say.told(one.cause) + (f": {one.instead}" if one.instead else ""), breakable(one.file))
            for one in summary.left_out_files[:FIELDS_SHOWN]
        ),
    )  # fmt: skip


def _gallery_words(say: Language, gallery: Sequence[GalleryCell]) -> str:
    return say.told(
        "The most sickle-like cells, with the chance that the network gives, whatever the cell was then called. "
        "Look for yourself."
    ) if gallery else say.told("No cell was found.")  # fmt: skip


def _facts(say: Language, summary: Summary) -> tuple[Fact, ...]:
    begun = datetime.fromisoformat(summary.started_at)
    ended = begun + timedelta(seconds=summary.seconds)
    return (
        Fact(say.told("name"), breakable(summary.name)),
        Fact(say.told("site"), summary.site),
        Fact(say.told("device"), summary.device),
        Fact(say.told("scan begun"), when(say, int(begun.timestamp() * 1000))),
        Fact(say.told("scan ended"), when(say, int(ended.timestamp() * 1000))),
        Fact(say.told("files"), _files_done(say, summary)),
    )


def _files_done(say: Language, summary: Summary) -> str:
    done = say.number(summary.inputs_done)
    return say.count("%(done)s of %(num)s file", "%(done)s of %(num)s files", summary.inputs, done=done)


def _stopped(say: Language, summary: Summary) -> tuple[str, ...]:
    if summary.complete:
        return ()
    return (say.told("The scan was stopped early, after %(files)s.", files=_files_done(say, summary)),)


def _left_out(say: Language, summary: Summary) -> tuple[str, ...]:
    words = {reason.value: text for reason, text in LEFT_OUT.items()}
    return tuple(
        say.count(
            "%(num)s file left out: %(why)s.", "%(num)s files left out: %(why)s.", count, why=say.told(words[one])
        )
        for one, count in summary.left_out.items()
        if count
    )


def _field_line(say: Language, field: FieldRecord) -> FieldLine:
    why = "" if field.rejected is None else say.told(field.rejected.cause)
    return FieldLine(field.image, field.rbc, field.counts["sickle"], field.counts["abstained"], why)


def _details(say: Language, summary: Summary) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    program = (
        Fact(say.told("version"), f"sicklescope {summary.sicklescope}"),
        Fact(say.told("seconds"), say.number(summary.seconds, 1)),
    )
    return (
        (say.told("Size of a pixel"), _scale_facts(say, summary)),
        (say.told("Detector"), _network(say, summary.models["detector"])),
        (say.told("Classifier"), _network(say, summary.models["classifier"])),
        (say.told("Rules"), _rules(say, summary)),
        (say.told("Program"), program),
    )


def _scale_facts(say: Language, summary: Summary) -> tuple[Fact, ...]:
    scale = summary.scale
    if scale is None:
        return (Fact(say.told("size"), say.told("unknown: no field was read")),)
    lowest, highest = say.number(scale.lowest, 4), say.number(scale.highest, 4)
    return (
        Fact(say.told("µm per pixel, median"), say.number(scale.median, 4)),
        Fact(say.told("over the fields"), say.told("%(low)s to %(high)s", low=lowest, high=highest)),
        Fact(say.told("known because"), "; ".join(say.told(SCALE_WORDS[source]) for source in scale.sources)),
        Fact(say.told("how uncertain"), say.percent(scale.spread)),
    )


def _network(say: Language, model: ModelRecord) -> tuple[Fact, ...]:
    return network_facts(say, model.name, model.version, model.sha256, model.runtime, model.thresholds)


READING_WORDS = {
    "fields": N_("fields"),
    "fields of one sample": N_("fields of one sample"),
    "one cell an image": N_("one cell an image"),
}
"""How pictures are read, by the words of `ScanOptions.reading`."""


def _rules(say: Language, summary: Summary) -> tuple[Fact, ...]:
    screening, limits = summary.settings["screening"], summary.settings["quality"]
    border = N_("counted") if screening["keep_border"] else N_("not counted")
    refused = N_("refused") if limits["gate"] else N_("read too")
    return (
        Fact(say.told("pictures are"), say.told(READING_WORDS[summary.settings["reading"]])),
        Fact(say.told("red cells needed"), str(screening["min_red_cells"])),
        Fact(say.told("red cells aimed at"), str(screening["target_red_cells"])),
        Fact(say.told("cells cut by the border"), say.told(border)),
        Fact(say.told("blurred, dark, empty or crowded fields"), say.told(refused)),
        Fact(say.told("limit of blank"), limit_words(say, summary.verdict.limit_of_blank)),
    )
