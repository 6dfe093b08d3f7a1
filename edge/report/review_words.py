"""What a report says of a sample's review: who looked at what, how two readers agree, and who signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge.language.languages import N_, Language
from edge.report.sentences import SENTENCES
from edge.report.words import when
from edge.sample.review.review import Attempt, Gallery, SampleReview
from edge.sample.review.rows import Reading, notes
from edge.sample.sample_row import StoredSample
from edge.screening.agreement import Agreement, MissedBound
from edge.screening.review import ReviewedCounts
from edge.screening.verdict import wilson
from edge.storage.database import Database

STATE_NAMES = {
    "scanning": N_("scanning"),
    "review": N_("waits for review"),
    "incomplete": N_("incomplete"),
    "final": N_("final"),
    "discarded": N_("discarded"),
}
"""What a sample is in, in a word or two."""


def review_sentences(
    say: Language, review: SampleReview, database: Database, sample: StoredSample, reviewed: ReviewedCounts | None
) -> tuple[str, ...]:
    """Return the sentences on a sample's review; empty where there is nothing to say."""
    said: list[str] = []
    readers = review.readers(sample)
    if reviewed is not None:
        said += _looked(say, review, sample, reviewed, readers["first"])
    found = review.agreement(sample)
    if found is not None:
        said.append(_agreement(say, found, ", ".join(readers["second"])))
        said += speed_words(say, review, sample, "second")
    if readers["third"]:
        said.append(say.told("Differences settled by %(names)s.", names=", ".join(readers["third"])))
    if differ := len(review.unsettled(sample)):
        said.append(
            say.count(
                "The two readers differ on %(num)s cell that nobody settled.",
                "The two readers differ on %(num)s cells that nobody settled.",
                differ,
            )
        )
    said += [_attempt(say, one) for one in review.attempts(sample)]
    said += [
        say.told("Note of %(name)s, %(time)s: %(note)s", name=note.by, time=when(say, note.made_ms), note=note.text)
        for note in notes(database, sample.id)
    ]
    return tuple(said)


def signature(say: Language, review: SampleReview, sample: StoredSample) -> str:
    """Return who signed a sample and when; empty where nobody has."""
    step = review.signed_by(sample)
    if step is None:
        return ""
    why = f": {step['reason']}" if step["reason"] else ""
    time = when(say, step["made_ms"], step["clock_synchronised"])
    return say.told("Signed by %(name)s, %(when)s", name=step["by"], when=time) + why


def speed_words(say: Language, review: SampleReview, sample: StoredSample, reading: Reading) -> Iterator[str]:
    """Give how fast a reading was and how well it named known cells."""
    pace, known = review.pace(sample, reading), review.known_answers(sample, reading)
    if pace is not None:
        yield say.told("Median %(seconds)s s from one answer to the next.", seconds=say.number(pace, 1))
    if known.answered:
        low, high = wilson(known.right, known.answered)
        yield say.count(
            "%(right)s of %(num)s known cell mixed in was named sickle-like or not as settled before (%(interval)s).",
            "%(right)s of %(num)s known cells mixed in were named sickle-like or not as settled before (%(interval)s).",
            known.answered, right=say.number(known.right),
            interval=say.told("95 %% interval %(low)s to %(high)s", low=say.percent(low, 0), high=say.percent(high, 0)),
        )  # fmt: skip
    elif pace is not None:
        yield say.told("No known cell was mixed in: how right the answers are was not tested.")


def normals_words(say: Language, found: MissedBound) -> str:
    """Return what random normal cells say of those that nobody looked at."""
    if found.at_most is None:
        return say.told("No cell called normal was looked at: nothing is known of missed sickle-like cells.")
    bound = say.told(
        "At most %(bound)s of those called normal are (95 %%, one-sided).", bound=say.percent(found.at_most, 1)
    )
    of = "" if found.samples == 1 else say.count("Of %(num)s sample: ", "Of %(num)s samples together: ", found.samples)
    drawn = say.count(
        "%(sickle)s of %(num)s cell called normal, drawn at random, proved sickle-like.",
        "%(sickle)s of %(num)s cells called normal, drawn at random, proved sickle-like.",
        found.looked, sickle=say.number(found.sickle),
    )  # fmt: skip
    return f"{of}{drawn} {bound}"


def _looked(
    say: Language, review: SampleReview, sample: StoredSample, reviewed: ReviewedCounts, names: Sequence[str]
) -> Iterator[str]:
    """Give what the first reader did, and what the normal cells among it say."""
    if names:
        yield say.count(
            "%(num)s cell looked at by %(names)s.", "%(num)s cells looked at by %(names)s.", reviewed.cells,
            names=", ".join(names),
        )  # fmt: skip
    if reviewed.missed:
        yield say.count(
            "%(num)s cell that the detector missed was marked by hand.",
            "%(num)s cells that the detector missed were marked by hand.",
            reviewed.missed,
        )
    if sample.state != "discarded":
        yield from _left(say, review.gallery(sample))
    yield from speed_words(say, review, sample, "first")
    yield normals_words(say, review.normals(sample))
    device = review.normals_of_device()
    if device.samples > 1:
        yield say.told("On this device: %(words)s", words=normals_words(say, device))


def _left(say: Language, gallery: Gallery) -> Iterator[str]:
    """Give what of a gallery nobody looked at."""
    if gallery.answered < len(gallery.cells):
        yield say.told(
            "%(done)s of %(all)s cells to look at answered.",
            done=say.number(gallery.answered), all=say.number(len(gallery.cells)),
        )  # fmt: skip
    if gallery.not_pictured:
        yield say.count(
            "No picture is kept of %(num)s more cell.", "No picture is kept of %(num)s more cells.",
            gallery.not_pictured,
        )  # fmt: skip


def _agreement(say: Language, found: Agreement, by: str) -> str:
    parts = [
        say.count(
            "Second reader %(names)s, blind, %(num)s cell in common: both call %(both)s sickle-like, the first alone "
            "%(first)s, the second alone %(second)s",
            "Second reader %(names)s, blind, %(num)s cells in common: both call %(both)s sickle-like, the first alone "
            "%(first)s, the second alone %(second)s",
            found.cells, names=by, both=say.number(found.both), first=say.number(found.first_only),
            second=say.number(found.second_only),
        )
    ]  # fmt: skip
    if found.kappa is not None:
        spread = found.kappa_interval
        parts.append(say.told("kappa %(value)s", value=say.number(found.kappa, 2)) + _spread(
            say, spread and (say.number(spread[0], 2), say.number(spread[1], 2))
        ))  # fmt: skip
    for words, share, spread in (
        (N_("positive agreement %(value)s"), found.positive, found.positive_interval),
        (N_("negative agreement %(value)s"), found.negative, found.negative_interval),
    ):
        if share is not None:
            ends = spread and (say.percent(spread[0], 1), say.percent(spread[1], 1))
            parts.append(say.told(words, value=say.percent(share, 1)) + _spread(say, ends))
    return "; ".join(parts) + "."


def _spread(say: Language, ends: tuple[str, str] | None) -> str:
    return "" if ends is None else f" ({say.told('95 %% interval %(low)s to %(high)s', low=ends[0], high=ends[1])})"


def _attempt(say: Language, one: Attempt) -> str:
    why = f": {say.recognised(one.reason, SENTENCES)}" if one.reason else ""
    given = {"by": one.by, "time": when(say, one.made_ms)}
    if one.what == "went on":
        return say.told("Scanning was broken off and went on, %(by)s, %(time)s", **given) + f"{why}."
    state = say.told(STATE_NAMES[one.state])
    words = say.told("Another sample of this code that day: %(state)s, %(by)s, %(time)s", state=state, **given)
    return f"{words}{why}."
