"""The words of a report: classes, verdicts, numbers and times as a person reads them."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from markupsafe import Markup, escape

from edge.types import Verdict

CLASS_WORDS = {
    "normal": "normal red cells",
    "sickle": "sickle-like red cells",
    "other": "other abnormal red cells",
    "wbc": "white cells",
    "platelet": "platelets",
    "artefact": "no cells (dirt, stain)",
    "abstained": "not named by the classifier",
    "border": "cut by the edge of the picture",
}
"""Each count in words, in the order in which they are shown."""

CELL_WORDS = {
    "normal": "normal",
    "sickle": "sickle-like",
    "other": "other abnormal",
    "wbc": "white cell",
    "platelet": "platelet",
    "artefact": "no cell",
    "abstained": "not named",
}
"""What a single cell is called."""

NOT_ABOVE = "Not above this device's blank. Does not exclude sickle-cell disease or trait."


def headline(verdict: Verdict, reviewed: str = "") -> str:
    """Return the verdict in words, the first line of a report.

    Args:
        verdict: on the sample.
        reviewed: what a person did with it, such as `Reviewed`; empty where nobody said anything of a cell.
    """
    if verdict.status == "withheld":
        return "Withheld: these counts are not to be used."
    if verdict.status == "insufficient":
        return verdict.text.partition(". ")[0] + "."  # it says how many are needed
    if reviewed:
        return f"{reviewed} by a person. Does not exclude sickle-cell disease or trait."
    if verdict.above_blank is None:
        return "No limit of blank is known. Does not exclude sickle-cell disease or trait."
    return "Above this device's blank. Not a diagnosis." if verdict.above_blank else NOT_ABOVE


def number_of(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, such as `1 field` and `2 fields`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def percent(fraction: float | None) -> str:
    """Return a fraction as a percentage."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def interval(low: float | None, high: float | None) -> str:
    """Return a 95 % interval as percentages, empty where there is none."""
    return "" if low is None or high is None else f"95 % interval {100 * low:.2f} to {100 * high:.2f} %"


def when(made_ms: int, synchronised: bool = True) -> str:
    """Return a wall time in this machine's zone, and whether its clock could be believed."""
    local = datetime.fromtimestamp(made_ms / 1000, timezone.utc).astimezone()
    return f"{local:%Y-%m-%d %H:%M %Z}" + ("" if synchronised else " (clock not set)")


def duration(seconds: float) -> str:
    """Return a duration in seconds or minutes."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def digest(sha256: str) -> str:
    """Return a digest in groups that a line can be broken between."""
    return " ".join(sha256[i : i + 8] for i in range(0, len(sha256), 8))


def breakable(name: str) -> Markup:
    """Return a file name in which a line may be broken after its signs, and nowhere else."""
    return Markup(re.sub(r"([/_.#\\-]+)", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped before
