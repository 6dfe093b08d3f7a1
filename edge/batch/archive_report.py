"""The report of many scans: a line for each sample and no figure over all, since samples are of different people."""

from __future__ import annotations

from collections.abc import Sequence

from edge.batch.results import ScanResult
from edge.language.languages import ENGLISH, language
from edge.report.archive import Archive, SampleLine
from edge.report.page import Fact
from edge.report.reasons import LEFT_OUT, REASONS
from edge.report.words import breakable, headline, interval
from edge.types import Verdict


def report_of_results(name: str, results: Sequence[ScanResult]) -> Archive:
    """Return the report of the results of many scans."""
    summaries = [result.summary for result in results]
    rejected = {reason: sum(one.rejected[reason] for one in summaries) for reason in REASONS}
    left_out = {reason.value: sum(one.left_out[reason.value] for one in summaries) for reason in LEFT_OUT}
    networks = sorted({f"{model.name} {model.version}" for one in summaries for model in one.models.values()})
    facts = [
        Fact("samples", str(len(results))),
        Fact("stopped before their end", str(sum(not one.complete for one in summaries))),
        Fact("fields read", str(sum(one.fields_read for one in summaries))),
        *(Fact(f"not read: {REASONS[reason]}", str(count)) for reason, count in rejected.items() if count),
        *(
            Fact(f"left out: {words}", str(left_out[reason.value]))
            for reason, words in LEFT_OUT.items()
            if left_out[reason.value]
        ),
        Fact("read by", ", ".join(networks)),
        Fact("program", ", ".join(sorted({f"sicklescope {one.sicklescope}" for one in summaries}))),
    ]
    return Archive(name, tuple(facts), tuple(_line(result) for result in results))


def _line(result: ScanResult) -> SampleLine:
    summary = result.summary
    verdict = Verdict(**{**summary.verdict.model_dump(), "flags": tuple(summary.verdict.flags)})
    reported, say = verdict.status == "reported", language(ENGLISH)
    name = summary.name if result.place.as_posix() == "." else result.place.as_posix()
    return SampleLine(
        name=breakable(name),
        headline=headline(say, verdict, summary.settings["screening"]["min_red_cells"], verdict.red_cells),
        figure=say.percent(verdict.fraction) if reported else "",
        interval=interval(say, verdict.low, verdict.high) if reported else "",
        red_cells=summary.red_cells,
        fields_read=summary.fields_read,
        fields_rejected=sum(summary.rejected.values()),
        flags=" ".join(verdict.flags) + ("" if summary.complete else " stopped_early"),
    )
