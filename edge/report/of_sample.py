"""The report of a camera's sample, from what is stored of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import SampleError
from edge.report.page import FIELDS_SHOWN, Fact, FieldLine, PictureOfCell, Report
from edge.report.review_words import review_sentences, signature
from edge.report.shared import SCALE_WORDS, counts_of, network_facts, quality, sentences, warnings
from edge.report.words import CELL_WORDS, breakable, digest, duration, headline, interval, number_of, percent, when
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
    "review": "read, and to be reviewed",
    "incomplete": "ended early",
    "final": "final, signed by a person",
    "discarded": "discarded: not to be used",
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


def report_of_sample(lifecycle: Lifecycle, sample: StoredSample) -> Report:
    """Return the report of a sample whose scanning has ended.

    Raises:
        SampleError: It is still scanned, or damaged.
    """
    found, review = findings(lifecycle, sample), SampleReview(lifecycle)
    record, counts = found.record, found.record.counts
    cells = lifecycle.store.cells(sample.id)
    lines = _field_lines(cells)
    return Report(
        name=sample.code,
        headline="Discarded: not to be used."
        if sample.state == "discarded"
        else headline(found.verdict, _reviewed(review, sample, found)),
        figure="" if found.fraction is None else percent(found.fraction),
        interval=interval(found.low, found.high),
        sentences=sentences(found.verdict, found.reviewed),
        facts=_facts(lifecycle, sample, record),
        warnings=warnings(found.verdict.flags, record.masked),
        counts=counts_of({**counts.by_class, **counts.excluded}, found.reviewed),
        quality=quality(
            counts.fields_read, counts.rejected, counts.fields_repeated, counts.islands, counts.area_mm2,
            counts.cells_seen,
        ),
        gallery=_gallery(lifecycle, sample, cells),
        gallery_words="Cells that were called sickle-like or not named, with the chance of being sickle-like that the "
        "network gives; most likely first.",
        details=_details(sample, record),
        fields=tuple(lines[:FIELDS_SHOWN]),
        fields_more=f"And {number_of(len(lines) - FIELDS_SHOWN, 'more field', 'more fields')}."
        if len(lines) > FIELDS_SHOWN
        else "",
        review=review_sentences(review, lifecycle.database, sample, found.reviewed),
        signed=signature(review, sample),
    )  # fmt: skip


def _reviewed(review: SampleReview, sample: StoredSample, found: Findings) -> str:
    """Return what people did with a sample; empty where nobody said anything of a cell."""
    if found.reviewed is None:
        return ""
    gallery = review.gallery(sample)
    return "Reviewed" if gallery.answered == len(gallery.cells) and not gallery.not_pictured else "Reviewed in part"


def _facts(lifecycle: Lifecycle, sample: StoredSample, record: SampleRecord) -> tuple[Fact, ...]:
    device, period = lifecycle.config.device, record.period
    history = lifecycle.store.history(sample.id)
    sure = bool(history and history[0]["clock_synchronised"])
    state = STATE_WORDS.get(sample.state, sample.state)
    return (
        Fact("code", breakable(sample.code)),
        Fact("site", device.site),
        Fact("device", device.device),
        Fact("state", f"{state}: {sample.reason}" if sample.reason else state),
        Fact("first picture", when(period.started_ms, sure)),
        Fact("last picture", when(period.ended_ms, sure)),
        Fact("scanned for", duration(period.duration_s)),
    )


def _gallery(lifecycle: Lifecycle, sample: StoredSample, cells: Sequence[StoredCell]) -> tuple[PictureOfCell, ...]:
    shown = [cell for cell in cells if cell.pictured and (cell.class_name in CALLED or cell.reviewed == "sickle")]
    shown.sort(key=lambda cell: -(_p_sickle(cell) or 0.0))
    pictures = []
    for cell in shown[:CELLS_SHOWN]:
        jpeg, p = lifecycle.store.crop(sample.id, cell.number), _p_sickle(cell)
        said = f"device: {CELL_WORDS[cell.class_name]}" if cell.reviewed else f"cell {cell.number}"
        words = CELL_WORDS.get(cell.reviewed or cell.class_name, "damaged")
        if jpeg is not None:
            pictures.append(PictureOfCell(jpeg, words, p, said))
    return tuple(pictures)


def _p_sickle(cell: StoredCell) -> float | None:
    return cell.prob[CLASSES.index("sickle")]


def _field_lines(cells: Sequence[StoredCell]) -> list[FieldLine]:
    """Return a line for each field, with the cells that it showed last."""
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        counts[cell.field][cell.reviewed or cell.class_name] += 1
    return [
        FieldLine(f"field {field}", sum(one[name] for name in RED_CELLS), one["sickle"], one[ABSTAINED_NAME])
        for field, one in sorted(counts.items())
    ]


def _details(sample: StoredSample, record: SampleRecord) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    networks, setup = record.networks, _setup(sample)
    limit = record.verdict.limit_of_blank
    rules: dict[str, Any] = setup.get("screening") or {}
    return (
        ("Size of a pixel", _scale(record, setup)),
        ("Detector", network_facts(
            networks.detector_name, networks.detector_version, networks.detector_sha256, networks.runtime,
            {"score": networks.threshold_score},
        )),
        ("Classifier", network_facts(
            networks.classifier_name, networks.classifier_version, networks.classifier_sha256, networks.runtime,
            {"sickle": networks.threshold_sickle, "abstain": networks.threshold_abstain},
        )),
        ("Rules", (
            Fact("red cells needed", str(rules.get("min_red_cells", "not kept"))),
            Fact("red cells aimed at", str(rules.get("target_red_cells", "not kept"))),
            Fact("limit of blank", "not stated by the model" if limit is None else percent(limit)),
        )),
        ("Program", (
            Fact("version", f"sicklescope {setup.get('sicklescope', 'not kept')}"),
            Fact("camera", str(setup.get("camera", "not kept"))),
            Fact("identifier of the sample", breakable(sample.id)),
        )),
    )  # fmt: skip


def _scale(record: SampleRecord, setup: dict[str, Any]) -> tuple[Fact, ...]:
    scale, calibration = record.scale, setup.get("calibration_sha256")
    facts = [Fact("size", "unknown: no field was read")]
    if scale is not None:
        facts = [
            Fact("µm per pixel", f"{scale.um_per_px:.4g}"),
            Fact("known because", SCALE_WORDS[scale.source]),
            Fact("how uncertain", percent(scale.spread)),
        ]
    if calibration:
        facts.append(Fact("digest of the optics calibration (SHA-256)", digest(str(calibration))))
    return tuple(facts)


def _setup(sample: StoredSample) -> dict[str, Any]:
    """Return what a sample was read with; the row's checksum was checked before."""
    found = json.loads(sample.setup)
    return found if isinstance(found, dict) else {}
