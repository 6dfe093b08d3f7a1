"""A site's own slides counted by hand, against what the device counted on them: one page, signed by name."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, select_autoescape
from markupsafe import Markup

from edge.errors import DamagedSampleError
from edge.report.manual_counts import ManualCount, Mistakes, read_manual_counts
from edge.sample.lifecycle import Lifecycle
from edge.sample.sample_row import StoredSample
from edge.screening.agreement import Agreement
from edge.screening.method_comparison import SLIDES_ADVISED, CountedSlide, Differences, at_cut_off, differences
from edge.screening.sample_record import SampleRecord
from edge.screening.verdict import NOT_A_DIAGNOSIS, RESEARCH_USE
from edge.system.digest import sha256_file


@dataclass(frozen=True, slots=True)
class ComparedSlide:
    """A slide of the file with what the device has of it.

    Attributes:
        slide: code of the sample.
        sample_id: identifier of the sample.
        counts: both methods'; None where the device gives no fraction.
        why_not: why it gives none, in words; else empty.
    """

    slide: str
    sample_id: str
    counts: CountedSlide | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """What the page says.

    Attributes:
        slides: every slide of the file.
        cut_off: fraction from which a slide counts as above.
        apart: how far the methods lie apart; None for too few slides.
        agreement: at the cut-off; None without a slide.
        networks: names, versions, digests and number of slides of each pair of networks that read them.
        facts: versions, digests, who and when, by name.
    """

    slides: tuple[ComparedSlide, ...]
    cut_off: float
    apart: Differences | None
    agreement: Agreement | None
    networks: tuple[tuple[str, int], ...]
    facts: dict[str, str]

    @property
    def compared(self) -> list[CountedSlide]:
        """The counts of the slides that both methods gave."""
        return [one.counts for one in self.slides if one.counts is not None]


def verify(lifecycle: Lifecycle, file: Path, cut_off: float, facts: dict[str, str]) -> Verification:
    """Compare a file of manual counts with the device's own, without anybody's review.

    Args:
        lifecycle: of the device's samples.
        file: CSV of `manual_counts`.
        cut_off: fraction, 0 to 1.
        facts: what else the page is to state.

    Raises:
        InputError: The file cannot be read, or a line of it is wrong; each is named.
    """
    mistakes = Mistakes(file)
    counts = read_manual_counts(file, mistakes)
    found = _samples(lifecycle, counts, mistakes)
    mistakes.raise_any()
    networks: Counter[str] = Counter()
    slides = []
    for count, sample in zip(counts, found, strict=True):
        try:
            record = lifecycle.record(sample)
        except DamagedSampleError:
            slides.append(ComparedSlide(sample.code, sample.id, None, "what is stored of it is damaged"))
            continue
        slides.append(_compared(count, sample, record))
        if slides[-1].counts is not None:
            used = record.networks
            networks[
                f"{used.detector_name} {used.detector_version} ({used.detector_sha256}), {used.classifier_name} "
                f"{used.classifier_version} ({used.classifier_sha256}), {used.runtime}"
            ] += 1
    both = [one.counts for one in slides if one.counts is not None]
    return Verification(
        tuple(slides), cut_off, differences(both), at_cut_off(both, cut_off), tuple(networks.most_common()),
        {**facts, "manual counts": file.name, "digest of the manual counts (SHA-256)": sha256_file(file)},
    )  # fmt: skip


def _samples(lifecycle: Lifecycle, counts: list[ManualCount], mistakes: Mistakes) -> list[StoredSample]:
    """Return the sample of each slide; a slide without one, or with more than one, is a mistake."""
    known: defaultdict[str, list[StoredSample]] = defaultdict(list)
    for sample in lifecycle.store.newest(-1):
        known[sample.id].append(sample)
        known[sample.code].append(sample)
    found = []
    for count in counts:
        # A slide's name may be a person's, and errors are logged: it is not repeated.
        every = known.get(count.slide, [])
        samples = [one for one in every if one.state != "discarded"] or every
        if len(samples) == 1:
            found.append(samples[0])
        elif samples:
            mistakes.add(count.line, f"{len(samples)} samples have this code. Write the identifier of the one that is "
                         "meant, which `sicklescope sample show` tells")  # fmt: skip
        else:
            mistakes.add(count.line, "no such sample on this device. `sicklescope sample list` shows those there are")
    return found


def _compared(count: ManualCount, sample: StoredSample, record: SampleRecord) -> ComparedSlide:
    verdict = record.verdict
    why_not = ""
    if sample.state == "scanning":
        why_not = "it is being scanned"
    elif sample.state == "discarded":
        why_not = "it was discarded"
    elif verdict.status != "reported":
        why_not = f"the device gives no fraction ({verdict.status}): {verdict.text}"
    if why_not:
        return ComparedSlide(sample.code, sample.id, None, why_not)
    counts = CountedSlide(count.sickle, count.red_cells, verdict.sickle, verdict.red_cells)
    return ComparedSlide(sample.code, sample.id, counts)


def render(found: Verification) -> str:
    """Return the page, which holds the same as JSON too."""
    made = Environment(loader=FunctionLoader(_text), autoescape=select_autoescape(default=True), trim_blocks=True)
    made.filters |= {"percent": lambda value: f"{100 * value:.2f}", "points": lambda value: f"{100 * value:+.2f}"}
    return made.get_template("verification.html").render(
        found=found, plot=_plot(found), sentences=sentences(found), data=_data(found),
        style=Markup(_text("page.css")),  # noqa: S704 - our own file
        research_use=RESEARCH_USE, not_a_diagnosis=NOT_A_DIAGNOSIS,
    )  # fmt: skip


def _text(name: str) -> str:
    return files("edge.report").joinpath(name).read_text(encoding="utf-8")


def _data(found: Verification) -> Markup:
    """Return the whole as JSON that cannot end the element in which it lies."""
    text = json.dumps({"schema": "sicklescope/verification/1", **asdict(found)}, ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def sentences(found: Verification) -> list[str]:
    """Return what the figures come to, in words."""
    both, left = found.compared, [one for one in found.slides if one.counts is None]
    said = [f"{len(both)} of {len(found.slides)} slides are compared."]
    if left:
        said.append(f"Of {len(left)} the device gives no fraction; they are listed, and in no figure.")
    apart = found.apart
    if apart is None:
        said.append("Fewer than three slides: nothing can be said of how far the methods lie apart.")
    else:
        low, high = apart.mean_interval
        side = "no difference on average is shown" if low <= 0 <= high else "the device counts "
        side += "" if low <= 0 <= high else "more on average" if low > 0 else "less on average"
        said += [
            f"Mean difference, device less manual: {100 * apart.mean:+.2f} percentage points (95 % interval "
            f"{100 * low:+.2f} to {100 * high:+.2f}): {side}.",
            f"Limits of agreement: {100 * apart.low:+.2f} (95 % interval {_span(apart.low_interval)}) to "
            f"{100 * apart.high:+.2f} ({_span(apart.high_interval)}) percentage points: so far apart the two counts of "
            "a further slide lie in 95 of 100 cases, if slides are like these.",
            f"Standard deviation of the differences (n - 1): {100 * apart.sd:.2f}; chance in counting so few cells "
            f"would give {100 * apart.chance_sd:.2f} by itself.",
        ]
    said += _at_cut_off(found)
    if 0 < len(both) < SLIDES_ADVISED:
        said.append(f"Few slides: CLSI EP09c asks for {SLIDES_ADVISED} at least, spread over the range that matters.")
    if len(found.networks) > 1:
        said.append("The slides were read with different networks: these figures are of no single one.")
    return said


def _span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}"


def _at_cut_off(found: Verification) -> list[str]:
    """Return what the methods say of slides from the cut-off on."""
    at = found.agreement
    if at is None:
        return []
    said = [
        f"From {100 * found.cut_off:g} % on: both {at.both}, the device alone {at.first_only}, manual alone "
        f"{at.second_only}, neither {at.neither}."
    ]
    if at.kappa is None or at.kappa_interval is None:
        return [*said, "Kappa is not defined: a method puts all slides on one side of the cut-off."]
    low, high = at.kappa_interval
    return [*said, f"Cohen's kappa {at.kappa:.2f} (95 % interval {low:.2f} to {high:.2f})."]


@dataclass(frozen=True, slots=True)
class Plot:
    """Where things lie in a square of 100: points, and heights of lines."""

    points: tuple[tuple[float, float], ...]
    zero: float
    lines: tuple[float, ...]
    widest: float
    tallest: float


def _plot(found: Verification) -> Plot | None:
    """Return the plot of differences against means; None where there is nothing to draw."""
    apart, both = found.apart, found.compared
    if apart is None:
        return None
    widest = max((one.device + one.manual) / 2 for one in both) or 0.01
    tallest = 1.1 * max(abs(apart.low), abs(apart.high), *(abs(one.difference) for one in both)) or 0.01

    def height(value: float) -> float:
        return round(50 - 50 * value / tallest, 2)

    return Plot(
        tuple((round(50 * (one.device + one.manual) / widest, 2), height(one.difference)) for one in both),
        height(0), (height(apart.low), height(apart.mean), height(apart.high)), widest, tallest,
    )  # fmt: skip
