"""A sample's result as a laboratory takes it: one list of observations, from which FHIR and HL7 are made.

docs/laboratory.md has the mapping in a table. A number is checked here: hl7apy takes any text in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import isfinite
from typing import Literal

from edge.errors import SampleError
from edge.report.of_sample import Findings, findings
from edge.report.words import CLASS_WORDS
from edge.sample.lifecycle import Lifecycle
from edge.sample.review.review import CALLED, SampleReview
from edge.sample.review.rows import marked
from edge.sample.sample_row import StoredSample
from edge.screening.review import concluded
from edge.screening.verdict import RESEARCH_USE

Status = Literal["preliminary", "final", "corrected", "entered-in-error"]
"""Of a result: not reviewed or not signed, reviewed and signed, so again after a reopening, discarded."""

LOCAL = "urn:sicklescope:codes"
"""Code system of the local codes."""

LOINC_PRESENCE = "801-1"
LOINC_PRESENCE_NAME = "Sickle cells [Presence] in Blood by Light microscopy"

PERCENT, PERCENT_NAME = "sickle-like-percent", "Sickle-like cells of red cells"

RED_CELLS, RED_CELLS_NAME = "red-cells", "Red cells counted"

COUNTED = {f"cells-{name}": f"Cells: {words}" for name, words in CLASS_WORDS.items()}
"""Counts of cells and their names."""

CLOCK_NOT_SET = "The device's clock was not set: times may be wrong."

REPORT_CODE, REPORT_NAME = "sickle-like-cells", "Sickle-like cells in a blood smear, counted by a device"

ANSWERS = {True: ("LA9633-4", "Present"), False: ("LA9634-2", "Absent")}
"""LOINC answers to a presence."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One observation.

    Attributes:
        code: local, or LOINC_PRESENCE.
        name: in words.
        value: a number with a unit, words, or a presence; None takes back what an earlier revision may have said.
        unit: UCUM; empty for words and presences.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    code: str
    name: str
    value: float | int | str | bool | None
    unit: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number where one is meant."""
        if self.unit:
            for number in (self.value, self.low, self.high):
                if number is not None and not _is_number(number):
                    raise ValueError(f"{self.code} is {number!r}; expected a finite number in {self.unit}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


@dataclass(frozen=True, slots=True)
class LaboratoryResult:
    """All that leaves for a laboratory.

    Attributes:
        sample_id: identifier of the sample.
        code: the clinic's own.
        revision: of the result.
        status: of report and observations.
        site: of the device.
        device: its name.
        software: version of the program.
        began: first picture, with zone.
        ended: last picture, with zone.
        issued: when the sample was last changed, with zone.
        clock_set: whether the device's clock could be believed.
        signed_by: who signed; empty where nobody has.
        conclusion: banner and verdict in words.
        observations: in the order in which they are shown.
    """

    sample_id: str
    code: str
    revision: int
    status: Status
    site: str
    device: str
    software: str
    began: datetime
    ended: datetime
    issued: datetime
    clock_set: bool
    signed_by: str
    conclusion: str
    observations: tuple[Observed, ...]


def laboratory_result(lifecycle: Lifecycle, sample: StoredSample, software: str) -> LaboratoryResult:
    """Return what leaves of a sample.

    Args:
        lifecycle: of the device's samples.
        sample: whose scanning has ended.
        software: version of the program.

    Raises:
        SampleError: It is still scanned, damaged, or a reading of a control slide.
    """
    found, review = findings(lifecycle, sample), SampleReview(lifecycle)
    if "control" in found.verdict.flags:
        raise SampleError(f"{sample.code} is a reading of a control slide; it is no result for a laboratory")
    history = lifecycle.store.history(sample.id)
    states = [str(step["state"]) for step in history]
    observations = _observations(found, _presence(lifecycle, sample, found))
    signature, period = review.signed_by(sample), found.record.period
    device = lifecycle.config.device
    return LaboratoryResult(
        sample_id=sample.id,
        code=sample.code,
        revision=max(1, len(lifecycle.store.result_ids(sample.id))),
        status=_status(sample, states, found),
        site=device.site,
        device=device.device,
        software=software,
        began=_time(period.started_ms),
        ended=_time(period.ended_ms),
        issued=_time(sample.changed_ms),
        clock_set=bool(history) and all(step["clock_synchronised"] for step in history),
        signed_by="" if signature is None else str(signature["by"]),
        conclusion=f"{RESEARCH_USE} {_words(lifecycle, found, sample)}",
        observations=observations + _taken_back(observations, states),
    )


def _status(sample: StoredSample, states: list[str], found: Findings) -> Status:
    """Return the status; a signature alone does not make counts final that nobody looked at."""
    if sample.state == "discarded":
        return "entered-in-error"
    if sample.state != "final" or found.reviewed is None:
        return "preliminary"
    return "corrected" if states.count("final") > 1 else "final"


def _time(made_ms: int) -> datetime:
    return datetime.fromtimestamp(made_ms // 1000, timezone.utc)


def _words(lifecycle: Lifecycle, found: Findings, sample: StoredSample) -> str:
    """Return the verdict in words, which have a fraction only where there is one."""
    if sample.state == "discarded":
        return f"Discarded, not to be used: {sample.reason}"
    if found.verdict.status == "insufficient":
        least = lifecycle.config.screening.min_red_cells
        return concluded(found.record.verdict, found.reviewed, signed=True, min_red_cells=least).text
    return found.verdict.text


def _presence(lifecycle: Lifecycle, sample: StoredSample, found: Findings) -> bool | None:
    """Return whether a person who signed found sickle-like cells; None where that cannot be said.

    Present: the person called a cell so. Absent: the person looked at every cell that the device called, and none is.
    """
    if sample.state != "final" or found.reviewed is None or found.verdict.status != "reported":
        return None
    cells = lifecycle.store.cells(sample.id)
    if any(cell.reviewed == "sickle" for cell in cells) or marked(lifecycle.database, sample.id).get("sickle"):
        return True
    called = [cell for cell in cells if cell.class_name in CALLED]
    looked_at_all = all(cell.reviewed for cell in called)
    return False if looked_at_all and not found.reviewed.counts["sickle"] else None


def _taken_back(said: Sequence[Observed], states: Sequence[str]) -> tuple[Observed, ...]:
    """Return what an earlier revision may have told a laboratory and this one does not: it would stand there."""
    before = set(states[:-1])
    told = [(LOINC_PRESENCE, LOINC_PRESENCE_NAME, "")] if "final" in before else []
    if {"review", "incomplete", "final"} & before:
        told += [(PERCENT, PERCENT_NAME, "%"), (RED_CELLS, RED_CELLS_NAME, "{cells}")]
        told += [(code, name, "{cells}") for code, name in COUNTED.items()]
    codes = {one.code for one in said}
    return tuple(Observed(code, name, None, unit) for code, name, unit in told if code not in codes)


def _observations(found: Findings, presence: bool | None) -> tuple[Observed, ...]:
    counts = found.record.counts
    said = [] if presence is None else [Observed(LOINC_PRESENCE, LOINC_PRESENCE_NAME, presence)]
    if found.fraction is not None:
        low, high = (None if end is None else round(100 * end, 4) for end in (found.low, found.high))
        said.append(Observed(PERCENT, PERCENT_NAME, round(100 * found.fraction, 4), "%", low, high))
    if found.verdict.status != "withheld":  # these counts are not to be used
        said += _counts(found)
    said += [
        Observed("fields-read", "Fields read", counts.fields_read, "{fields}"),
        Observed("fields-not-read", "Fields not read", sum(counts.rejected.values()), "{fields}"),
        Observed("area", "Area of slide read", round(counts.area_mm2, 6), "mm2"),
    ]
    blank = found.verdict.limit_of_blank
    if blank is not None:
        said.append(Observed("limit-of-blank", "Limit of blank of the device", round(100 * blank, 4), "%"))
    said.append(Observed("verdict", "Verdict", found.verdict.status))
    return tuple(said)


def _counts(found: Findings) -> list[Observed]:
    """Return the counts of cells; after review those of the person, and the device's own beside them."""
    counts, reviewed = found.record.counts, found.reviewed
    device = {**counts.by_class, **counts.excluded}
    standing = device if reviewed is None else {**device, **reviewed.counts}
    red = counts.red_cells if reviewed is None else reviewed.red_cells
    said = [Observed(RED_CELLS, RED_CELLS_NAME, red, "{cells}")]
    said += [Observed(f"cells-{name}", COUNTED[f"cells-{name}"], standing.get(name, 0), "{cells}")
             for name in CLASS_WORDS]  # fmt: skip
    if reviewed is not None:
        said += [
            Observed("reviewed-cells", "Cells that a person looked at", reviewed.cells, "{cells}"),
            Observed("missed-cells", "Cells that the detector missed", reviewed.missed, "{cells}"),
            Observed("device-sickle", "Sickle-like cells by the device alone", device["sickle"], "{cells}"),
            Observed("device-red-cells", "Red cells by the device alone", counts.red_cells, "{cells}"),
        ]
    return said
