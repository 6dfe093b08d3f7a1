"""The words of a report: classes, verdicts, numbers and times as a person reads them."""

from __future__ import annotations

import re
from typing import Literal

from markupsafe import Markup, escape

from edge.language.languages import N_, Language
from edge.types import Verdict

CLASS_WORDS = {
    "normal": N_("normal red cells"),
    "sickle": N_("sickle-like red cells"),
    "other": N_("other abnormal red cells"),
    "wbc": N_("white cells"),
    "platelet": N_("platelets"),
    "artefact": N_("no cells (dirt, stain)"),
    "abstained": N_("not named by the classifier"),
    "border": N_("cut by the edge of the picture"),
}
"""Each count in words, in the order in which they are shown."""

CELL_WORDS = {
    "normal": N_("normal"),
    "sickle": N_("sickle-like"),
    "other": N_("other abnormal"),
    "wbc": N_("white cell"),
    "platelet": N_("platelet"),
    "artefact": N_("no cell"),
    "abstained": N_("not named"),
}
"""What a single cell is called."""

NOT_ABOVE = N_("Not above this device's blank. Does not exclude sickle-cell disease or trait.")

Looked = Literal["", "part", "all"]
"""How much of what was offered people looked at."""

_REVIEWED = {
    "part": N_("Reviewed in part by a person. Does not exclude sickle-cell disease or trait."),
    "all": N_("Reviewed by a person. Does not exclude sickle-cell disease or trait."),
}


def headline(say: Language, verdict: Verdict, min_red_cells: int, red_cells: int, looked: Looked = "") -> str:
    """Return the verdict in words, the first line of a report.

    Args:
        say: the language.
        verdict: on the sample.
        min_red_cells: red cells that are needed.
        red_cells: that were counted, after review where there was one.
        looked: how much of what was offered people looked at.
    """
    if verdict.status == "withheld":
        return say.told(N_("Withheld: these counts are not to be used."))
    if verdict.status == "insufficient":
        return say.told(
            N_("Insufficient: %(red)s red cells counted, at least %(least)s needed."),
            red=say.number(min(red_cells, verdict.red_cells)), least=say.number(min_red_cells),
        )  # fmt: skip
    if looked:
        return say.told(_REVIEWED[looked])
    if verdict.above_blank is None:
        return say.told(N_("No limit of blank is known. Does not exclude sickle-cell disease or trait."))
    return say.told(N_("Above this device's blank. Not a diagnosis.") if verdict.above_blank else NOT_ABOVE)


def interval(say: Language, low: float | None, high: float | None) -> str:
    """Return a 95 % interval as percentages, empty where there is none."""
    if low is None or high is None:
        return ""
    return say.told("95 %% interval %(low)s to %(high)s", low=say.percent(low), high=say.percent(high))


def when(say: Language, made_ms: int, synchronised: bool = True) -> str:
    """Return a wall time in this machine's zone, and whether its clock could be believed."""
    time = say.minute(made_ms)
    return time if synchronised else say.told(N_("%(time)s (clock not set)"), time=time)


def duration(say: Language, seconds: float) -> str:
    """Return a duration in seconds or minutes."""
    return f"{say.number(seconds)} s" if seconds < 60 else f"{say.number(seconds / 60)} min"


def digest(sha256: str) -> str:
    """Return a digest in groups that a line can be broken between."""
    return " ".join(sha256[i : i + 8] for i in range(0, len(sha256), 8))


def breakable(name: str) -> Markup:
    """Return a file name that a line may break after its signs, not before its ending."""
    return Markup(re.sub(r"([/_#\\-]+|\.(?=.*\.))", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped before
