"""The report of a camera's sample, from what is stored of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import SampleError
from edge.language.languages import ENGLISH, N_, Language, language
from edge.report.page import FIELDS_SHOWN, Fact, FieldLine, PictureOfCell, Report
from edge.report.review_words import review_sentences, signature
from edge.report.sentences import SENTENCES
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
from edge.report.slide_map import slide_map, squares
from edge.report.words import CELL_WORDS, Looked, breakable, digest, duration, headline, interval, when
from edge.sample.cell_rows import ABSTAINED_NAME, StoredCell
from edge.sample.lifecycle import Lifecycle
from edge.sample.review.review import CALLED, SampleReview
from edge.sample.sample_row import StoredSample
from edge.screening.review import ReviewedCounts
from edge.screening.sample_record import SampleRecord
from edge.types import CLASSES, RED_CELLS, Verdict

CELLS_SHOWN = 36
"""Small pictures in the gallery."""

STATE_WORDS = {
    "review": N_("read, and to be reviewed"),
    "incomplete": N_("ended early"),
    "final": N_("final, signed by a person"),
    "discarded": N_("discarded: not to be used"),
}
"""What a sample is in, in words."""


@dataclass(frozen=True, slots=True)
class Findings:
    """A sample as it stands.

    Attributes:
        record: what was counted, without review.
        reviewed: the counts after review, None without one.
        verdict: what may be said now.
        fraction: of sickle-like cells that stands for the sample, None where none may be quoted.
        low: lower end of its interval.
        high: upper end of its interval.
    """

    record: SampleRecord
    reviewed: ReviewedCounts | None
    verdict: Verdict
    fraction: float | None
    low: float | None
    high: float | None


def findings(lifecycle: Lifecycle, sample: StoredSample) -> Findings:
    """Return a sample as it stands.

    Raises:
        SampleError: It is still scanned, or damaged.
    """
    if sample.state == "scanning":
        raise SampleError(f"sample {sample.code} is being scanned: stop it first")
    record = lifecycle.record(sample)
    reviewed, verdict = lifecycle.concluded(sample, record, sample.state == "final")
    quoted = reviewed or verdict
    if verdict.status != "reported" or sample.state == "discarded":
        return Findings(record, reviewed, verdict, None, None, None)
    return Findings(record, reviewed, verdict, quoted.fraction, quoted.low, quoted.high)


def report_of_sample(lifecycle: Lifecycle, sample: StoredSample, say: Language) -> Report:
    """Return the report of a sample whose scanning has ended, in a language.

    Raises:
        SampleError: It is still scanned, or damaged.
    """
    found, review = findings(lifecycle, sample), SampleReview(lifecycle)
    record, counts = found.record, found.record.counts
    cells = lifecycle.store.cells(sample.id)
    lines = _field_lines(say, cells)
    looked = _looked(review, sample, found)
    return Report(
        language=say,
        name=sample.code,
        headline=_headline(lifecycle, say, sample, found, looked),
        headline_in_english="" if say.reviewed else _headline(lifecycle, language(ENGLISH), sample, found, looked),
        figure="" if found.fraction is None else say.percent(found.fraction),
        interval=interval(say, found.low, found.high),
        sentences=sentences(say, found.verdict, found.reviewed),
        facts=_facts(lifecycle, say, sample, record),
        warnings=warnings(say, found.verdict.flags, record.masked),
        counts=counts_of(say, {**counts.by_class, **counts.excluded}, found.reviewed),
        quality=quality(
            say, counts.fields_read, counts.rejected, counts.fields_repeated, counts.islands, counts.area_mm2,
            counts.cells_seen,
        ),
        slide=slide_map(squares(lifecycle.database, sample.id)),
        gallery=_gallery(lifecycle, say, sample, cells),
        gallery_words=say.told(
            "Cells that were called sickle-like or not named, with the chance of being sickle-like that the network "
            "gives; most likely first."
        ),
        details=_details(say, sample, record),
        read_with=_read_with(sample, record),
        fields=tuple(lines[:FIELDS_SHOWN]),
        fields_more=say.count("And %(num)s more field.", "And %(num)s more fields.", len(lines) - FIELDS_SHOWN)
        if len(lines) > FIELDS_SHOWN
        else "",
        review=review_sentences(say, review, lifecycle.database, sample, found.reviewed),
        signed=signature(say, review, sample),
    )  # fmt: skip


def _headline(lifecycle: Lifecycle, say: Language, sample: StoredSample, found: Findings, looked: Looked) -> str:
    if sample.state == "discarded":
        return say.told("Discarded: not to be used.")
    red = found.reviewed.red_cells if found.reviewed else found.verdict.red_cells
    return headline(say, found.verdict, lifecycle.config.screening.min_red_cells, red, looked)


def _looked(review: SampleReview, sample: StoredSample, found: Findings) -> Looked:
    """Return how much of what was offered people looked at."""
    if found.reviewed is None or sample.state == "discarded":
        return ""
    gallery = review.gallery(sample)
    return "all" if gallery.answered == len(gallery.cells) and not gallery.not_pictured else "part"


def _facts(lifecycle: Lifecycle, say: Language, sample: StoredSample, record: SampleRecord) -> tuple[Fact, ...]:
    device, period = lifecycle.config.device, record.period
    history = lifecycle.store.history(sample.id)
    sure = bool(history and history[0]["clock_synchronised"])
    state = say.told(STATE_WORDS[sample.state])
    if sample.reason:
        state += say.told(":") + " " + say.recognised(sample.reason, SENTENCES)
    return (
        Fact(say.told("code"), breakable(sample.code)),
        Fact(say.told("site"), device.site),
        Fact(say.told("device"), device.device),
        Fact(say.told("state"), state),
        Fact(say.told("first picture"), when(say, period.started_ms, sure)),
        Fact(say.told("last picture"), when(say, period.ended_ms, sure)),
        Fact(say.told("scanned for"), duration(say, period.duration_s)),
    )


def _gallery(
    lifecycle: Lifecycle, say: Language, sample: StoredSample, cells: Sequence[StoredCell]
) -> tuple[PictureOfCell, ...]:
    shown = [cell for cell in cells if cell.pictured and (cell.class_name in CALLED or cell.reviewed == "sickle")]
    shown.sort(key=lambda cell: -(_p_sickle(cell) or 0.0))
    pictures = []
    for cell in shown[:CELLS_SHOWN]:
        jpeg, p = lifecycle.store.crop(sample.id, cell.number), _p_sickle(cell)
        by_device = say.told(CELL_WORDS[cell.class_name])
        said = (
            say.told("device: %(words)s", words=by_device)
            if cell.reviewed
            else say.told("cell %(n)s", n=str(cell.number))
        )
        words = say.told(CELL_WORDS[cell.reviewed]) if cell.reviewed else by_device
        if jpeg is not None:
            pictures.append(PictureOfCell(jpeg, words, "" if p is None else say.number(p, 2), said))
    return tuple(pictures)


def _p_sickle(cell: StoredCell) -> float | None:
    return cell.prob[CLASSES.index("sickle")]


def _field_lines(say: Language, cells: Sequence[StoredCell]) -> list[FieldLine]:
    """Return a line for each field, with the cells that it showed last."""
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        counts[cell.field][cell.reviewed or cell.class_name] += 1
    return [
        FieldLine(
            say.told("field %(n)s", n=str(field)), sum(one[name] for name in RED_CELLS), one["sickle"],
            one[ABSTAINED_NAME],
        )
        for field, one in sorted(counts.items())
    ]  # fmt: skip


def _details(say: Language, sample: StoredSample, record: SampleRecord) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    networks, setup = record.networks, _setup(sample)
    limit = record.verdict.limit_of_blank
    rules: dict[str, Any] = setup.get("screening") or {}
    not_kept = say.told("not kept")
    return (
        (say.told("Size of a pixel"), _scale(say, record, setup)),
        (say.told("Detector"), network_facts(
            say, networks.detector_name, networks.detector_version, networks.detector_sha256, networks.runtime,
            {"score": networks.threshold_score},
        )),
        (say.told("Classifier"), network_facts(
            say, networks.classifier_name, networks.classifier_version, networks.classifier_sha256, networks.runtime,
            {"sickle": networks.threshold_sickle, "abstain": networks.threshold_abstain},
        )),
        (say.told("Rules"), (
            Fact(say.told("red cells needed"), str(rules.get("min_red_cells", not_kept))),
            Fact(say.told("red cells aimed at"), str(rules.get("target_red_cells", not_kept))),
            Fact(say.told("limit of blank"), limit_words(say, limit)),
        )),
        (say.told("Program"), (
            Fact(say.told("version"), f"sicklescope {setup.get('sicklescope', not_kept)}"),
            Fact(say.told("camera"), str(setup.get("camera", not_kept))),
            Fact(say.told("identifier of the sample"), breakable(sample.id)),
        )),
    )  # fmt: skip


def _read_with(sample: StoredSample, record: SampleRecord) -> str:
    used = record.networks
    return read_with(
        f"{_setup(sample).get('sicklescope', '?')}, {sample.id}",
        [
            (used.detector_name, used.detector_version, used.detector_sha256),
            (used.classifier_name, used.classifier_version, used.classifier_sha256),
        ],
    )


def _scale(say: Language, record: SampleRecord, setup: dict[str, Any]) -> tuple[Fact, ...]:
    scale, calibration = record.scale, setup.get("calibration_sha256")
    facts = [Fact(say.told("size"), say.told("unknown: no field was read"))]
    if scale is not None:
        facts = [
            Fact(say.told("µm per pixel"), say.number(scale.um_per_px, 4)),
            Fact(say.told("known because"), say.told(SCALE_WORDS[scale.source])),
            Fact(say.told("how uncertain"), say.percent(scale.spread)),
        ]
    if calibration:
        facts.append(Fact(say.told("digest of the optics calibration (SHA-256)"), digest(str(calibration))))
    return tuple(facts)


def _setup(sample: StoredSample) -> dict[str, Any]:
    """Return what a sample was read with; the row's checksum was checked before."""
    found = json.loads(sample.setup)
    return found if isinstance(found, dict) else {}
