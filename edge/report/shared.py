"""Parts of a report that a scan and a camera's sample have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge.report.page import Count, Fact
from edge.report.reasons import REASONS
from edge.report.words import CLASS_WORDS, digest, interval, number_of, percent
from edge.screening.review import ReviewedCounts
from edge.screening.verdict import FLAGS
from edge.types import Masked, Verdict

SCALE_WORDS = {
    "configured": "set in the configuration",
    "calibrated": "measured with a stage micrometer",
    "estimated": "estimated from the red cells of each field",
    "locked": "estimated from red cells and then kept",
    "file": "stated by the pictures' files",
}
"""Where the size of a pixel is known from."""

THRESHOLD_WORDS = {
    "score": "a cell is one from a detector's score of",
    "sickle": "called sickle-like from a probability of",
    "abstain": "not named below a probability of",
    "second_look": "looked at again from eight sides from a probability of",
    "novelty_cell": "a cell is unfamiliar from a novelty of",
    "novelty_field": "a field is unfamiliar from a median novelty of",
}
"""What each threshold of a network decides."""


def counts_of(counts: Mapping[str, int], reviewed: ReviewedCounts | None = None) -> tuple[Count, ...]:
    """Return the counts in words; counts: by class and by reason of exclusion."""
    after = reviewed.counts if reviewed else {}
    return tuple(Count(words, counts.get(name, 0), after.get(name)) for name, words in CLASS_WORDS.items())


def sentences(verdict: Verdict, reviewed: ReviewedCounts | None) -> tuple[str, ...]:
    """Return what stands below the percentage."""
    said = [f"{number_of(verdict.sickle, 'sickle-like cell')} of {number_of(verdict.red_cells, 'red cell')}."]
    if verdict.status == "insufficient" and reviewed is None and verdict.fraction is not None:
        spread = interval(verdict.low, verdict.high)
        said = [f"{said[0][:-1]}: {percent(verdict.fraction)}, {spread}. So few cells say little."]
    if reviewed is not None:
        after, red = reviewed.counts["sickle"], reviewed.red_cells
        said = [
            f"After review {number_of(after, 'sickle-like cell')} of {number_of(red, 'red cell')}; the device alone "
            f"counted {verdict.sickle} of {verdict.red_cells}."
        ]
    elif verdict.limit_of_blank is not None and verdict.above_blank is not None:
        where = "above" if verdict.above_blank else "not above"
        said.append(
            f"The lower end of the interval is {where} the limit of blank, {percent(verdict.limit_of_blank)}: what "
            "this model finds on smears without sickle cells."
        )
    if verdict.fraction_if_none is not None and reviewed is None:
        said.append(
            f"If no cell that the classifier did not name were sickle-like: {percent(verdict.fraction_if_none)}; if "
            f"all were: {percent(verdict.fraction_if_all)}."
        )
    if verdict.fraction is not None:
        said.append("The interval is of sampling only: it says nothing of wrongly named cells.")
    return tuple(said)


def quality(
    fields_read: int, rejected: Mapping[str, int], repeated: int, islands: int, area_mm2: float, cells_seen: int
) -> tuple[str, ...]:
    """Return sentences on what was read."""
    said = [f"{number_of(cells_seen, 'cell')} seen in {number_of(fields_read, 'field')}, {area_mm2:.3g} mm² of slide."]
    if repeated:
        said.append(f"{number_of(repeated, 'field')} showed no new cell.")
    if islands > 1:
        said.append(f"The slide was read in {islands} regions with no known overlap between them.")
    not_read = {reason: count for reason, count in rejected.items() if count}
    if not not_read:
        said.append("No field was refused.")
    for reason, count in not_read.items():
        said.append(f"{number_of(count, 'field')} not read: {REASONS[reason]}.")
    return tuple(said)


def warnings(flags: Iterable[str], masked: Masked | None) -> tuple[str, ...]:
    """Return what dirt hides, and the meaning of each flag."""
    dirt = [f"Dirt or a pointer, {masked.where}: {percent(masked.share)} of each field was left out."] if masked else []
    return tuple(dirt + [FLAGS[name] for name in flags if name in FLAGS])


def network_facts(
    name: str, version: str, sha256: str, runtime: str, thresholds: Mapping[str, float]
) -> tuple[Fact, ...]:
    """Return what is said of a network."""
    return (
        Fact("name and version", f"{name} {version}"),
        Fact("run by", runtime),
        *(Fact(THRESHOLD_WORDS.get(key, key.replace("_", " ")), f"{value:.4g}") for key, value in thresholds.items()),
        Fact("digest of its file (SHA-256)", digest(sha256)),
    )
