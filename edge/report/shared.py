"""Parts of a report that a scan and a camera's sample have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge.language.languages import N_, Language
from edge.report.page import Count, Fact
from edge.report.reasons import REASONS
from edge.report.words import CLASS_WORDS, digest, interval
from edge.screening.review import ReviewedCounts
from edge.screening.verdict import FLAGS
from edge.types import Masked, Verdict

SCALE_WORDS = {
    "configured": N_("set in the configuration"),
    "calibrated": N_("measured with a stage micrometer"),
    "estimated": N_("estimated from the red cells of each field"),
    "locked": N_("estimated from red cells and then kept"),
    "file": N_("stated by the pictures' files"),
}
"""Where the size of a pixel is known from."""

THRESHOLD_WORDS = {
    "score": N_("a cell is one from a detector's score of"),
    "sickle": N_("called sickle-like from a probability of"),
    "abstain": N_("not named, as it may be sickle-like, from a probability of"),
    "second_look": N_("looked at again from other sides from a probability of"),
    "novelty_cell": N_("a cell is unfamiliar from a novelty of"),
    "novelty_field": N_("a field is unfamiliar from a median novelty of"),
}
"""What each threshold of a network decides."""


def counts_of(say: Language, counts: Mapping[str, int], reviewed: ReviewedCounts | None = None) -> tuple[Count, ...]:
    """Return the counts in words; counts: by class and by reason of exclusion."""
    after = reviewed.counts if reviewed else {}
    return tuple(Count(say.told(words), counts.get(name, 0), after.get(name)) for name, words in CLASS_WORDS.items())


def sentences(say: Language, verdict: Verdict, reviewed: ReviewedCounts | None) -> tuple[str, ...]:
    """Return what stands below the percentage."""
    said = [_counted(say, verdict, reviewed)]
    if reviewed is None:
        said += _against_the_blank(say, verdict)
        if verdict.fraction_if_none is not None:
            said.append(
                say.told(
                    "If no cell that the classifier did not name were sickle-like: %(none)s; if all were: %(all)s.",
                    none=say.percent(verdict.fraction_if_none), all=say.percent(verdict.fraction_if_all),
                )
            )  # fmt: skip
    if verdict.fraction is not None:
        said.append(say.told("The interval is of sampling only: it says nothing of wrongly named cells."))
    return tuple(said)


def _counted(say: Language, verdict: Verdict, reviewed: ReviewedCounts | None) -> str:
    if reviewed is not None:
        return say.count(
            "After review %(sickle)s sickle-like of %(num)s red cell; the device alone counted %(before)s of %(red)s.",
            "After review %(sickle)s sickle-like of %(num)s red cells; the device alone counted %(before)s of %(red)s.",
            reviewed.red_cells, sickle=say.number(reviewed.counts["sickle"]), before=say.number(verdict.sickle),
            red=say.number(verdict.red_cells),
        )  # fmt: skip
    sickle = say.number(verdict.sickle)
    if verdict.status == "insufficient" and verdict.fraction is not None:
        return say.count(
            "%(sickle)s sickle-like of %(num)s red cell: %(share)s, %(interval)s. So few cells say little.",
            "%(sickle)s sickle-like of %(num)s red cells: %(share)s, %(interval)s. So few cells say little.",
            verdict.red_cells, sickle=sickle, share=say.percent(verdict.fraction),
            interval=interval(say, verdict.low, verdict.high),
        )  # fmt: skip
    return say.count(
        "%(sickle)s sickle-like of %(num)s red cell.", "%(sickle)s sickle-like of %(num)s red cells.",
        verdict.red_cells, sickle=sickle,
    )  # fmt: skip


def _against_the_blank(say: Language, verdict: Verdict) -> list[str]:
    if verdict.limit_of_blank is None or verdict.above_blank is None:
        return []
    words = (
        N_("The lower end of the interval is above the limit of blank, %(limit)s.")
        if verdict.above_blank
        else N_("The lower end of the interval is not above the limit of blank, %(limit)s.")
    )
    what = say.told("The limit of blank is what is found on smears without sickle cells.")
    return [f"{say.told(words, limit=say.percent(verdict.limit_of_blank))} {what}"]


def quality(
    say: Language, fields_read: int, rejected: Mapping[str, int], repeated: int, islands: int, area_mm2: float,
    cells_seen: int,
) -> tuple[str, ...]:  # fmt: skip
    """Return sentences on what was read."""
    fields = say.count("%(num)s field", "%(num)s fields", fields_read)
    said = [
        say.count(
            "%(num)s cell seen in %(fields)s, %(area)s mm² of slide.",
            "%(num)s cells seen in %(fields)s, %(area)s mm² of slide.",
            cells_seen, fields=fields, area=say.number(area_mm2, 3),
        )
    ]  # fmt: skip
    if repeated:
        said.append(say.count("%(num)s field showed no new cell.", "%(num)s fields showed no new cell.", repeated))
    if islands > 1:
        said.append(
            say.told("The slide was read in %(n)s regions with no known overlap between them.", n=say.number(islands))
        )
    not_read = {reason: count for reason, count in rejected.items() if count}
    if not not_read:
        said.append(say.told("No field was refused."))
    for reason, count in not_read.items():
        why = say.told(REASONS[reason])
        said.append(say.count("%(num)s field not read: %(why)s.", "%(num)s fields not read: %(why)s.", count, why=why))
    return tuple(said)


def warnings(say: Language, flags: Iterable[str], masked: Masked | None) -> tuple[str, ...]:
    """Return what dirt hides, and the meaning of each flag."""
    dirt = []
    if masked:
        where = ", ".join(say.told(part) for part in masked.where.split(", "))
        dirt = [
            say.told(
                "Dirt or a pointer, %(where)s: %(share)s of each field was left out.",
                where=where, share=say.percent(masked.share),
            )
        ]  # fmt: skip
    return tuple(dirt + [say.told(FLAGS[name]) for name in flags if name in FLAGS])


def network_facts(
    say: Language, name: str, version: str, sha256: str, runtime: str, thresholds: Mapping[str, float]
) -> tuple[Fact, ...]:
    """Return what is said of a network."""
    return (
        Fact(say.told("name and version"), f"{name} {version}"),
        Fact(say.told("run by"), runtime),
        *(
            Fact(say.told(THRESHOLD_WORDS.get(key, key.replace("_", " "))), say.number(value, 3))
            for key, value in thresholds.items()
        ),
        Fact(say.told("digest of its file (SHA-256)"), digest(sha256)),
    )


def read_with(program: str, networks: Iterable[tuple[str, str, str]]) -> str:
    """Return in a line which program and networks read a sample; the latter by name and digest."""
    named = (f"{name} {version} {sha256[:8]}" for name, version, sha256 in networks)
    return " · ".join((f"sicklescope {program}", *named))


def limit_words(say: Language, limit: float | None) -> str:
    """Return a limit of blank."""
    return say.told("not stated by the model") if limit is None else say.percent(limit)
