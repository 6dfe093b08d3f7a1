"""What a report says of a sample's review: who looked at what, how two readers agree, and who signed."""

from __future__ import annotations

from edge.report.words import number_of, percent, when
from edge.sample.review.review import Attempt, Gallery, SampleReview
from edge.sample.review.rows import notes
from edge.sample.sample_row import StoredSample
from edge.screening.agreement import Agreement, Interval
from edge.screening.review import ReviewedCounts
from edge.storage.database import Database


def review_sentences(
    review: SampleReview, database: Database, sample: StoredSample, reviewed: ReviewedCounts | None
) -> tuple[str, ...]:
    """Return the sentences on a sample's review; empty where there is nothing to say."""
    said: list[str] = []
    if reviewed is not None:
        by = ", ".join(review.readers(sample)["first"])
        looked, pace = number_of(reviewed.cells, "cell"), review.pace(sample)
        said.append(f"{looked} looked at{' by ' if by else ''}{by}." + _missed(reviewed.missed))
        if sample.state != "discarded":
            said += _left(review.gallery(sample))
        if pace is not None:
            said.append(f"Median {pace:.1f} s from one answer to the next.")
        said.append(review.normals(sample).text)
        device = review.normals_of_device()
        if device.samples > 1:
            said.append(f"On this device: {device.text}")
    found, readers = review.agreement(sample), review.readers(sample)
    if found is not None:
        said.append(_agreement(found, ", ".join(readers["second"])))
    if readers["third"]:
        said.append(f"Differences settled by {', '.join(readers['third'])}.")
    if differ := len(review.unsettled(sample)):
        said.append(f"The two readers differ on {number_of(differ, 'cell')} that nobody settled.")
    said += [_attempt(one) for one in review.attempts(sample)]
    said += [f"Note of {note.by}, {when(note.made_ms)}: {note.text}" for note in notes(database, sample.id)]
    return tuple(said)


def signature(review: SampleReview, sample: StoredSample) -> str:
    """Return who signed a sample and when; empty where nobody has."""
    step = review.signed_by(sample)
    if step is None:
        return ""
    why = f": {step['reason']}" if step["reason"] else ""
    return f"Signed by {step['by']}, {when(step['made_ms'], step['clock_synchronised'])}{why}"


def _left(gallery: Gallery) -> list[str]:
    """Return what of a gallery nobody looked at."""
    said = []
    if gallery.answered < len(gallery.cells):
        answered = number_of(gallery.answered, "is", "are")
        said.append(f"Of {number_of(len(gallery.cells), 'cell')} to look at {answered} answered.")
    if gallery.not_pictured:
        said.append(f"No picture is kept of {number_of(gallery.not_pictured, 'more cell', 'more cells')}.")
    return said


def _missed(count: int) -> str:
    return f" {number_of(count, 'cell')} that the detector missed marked by hand." if count else ""


def _agreement(found: Agreement, by: str) -> str:
    parts = [
        f"Second reader {by}, blind, {number_of(found.cells, 'cell')} in common: both call {found.both} sickle-like, "
        f"the first alone {found.first_only}, the second alone {found.second_only}"
    ]
    if found.kappa is not None:
        parts.append(f"kappa {found.kappa:.2f}{_spread(found.kappa_interval, '{:.2f}')}")
    if found.positive is not None:
        parts.append(f"positive agreement {percent(found.positive)}{_spread(found.positive_interval, '{:.1%}')}")
    if found.negative is not None:
        parts.append(f"negative agreement {percent(found.negative)}{_spread(found.negative_interval, '{:.1%}')}")
    return "; ".join(parts) + "."


def _spread(interval: Interval | None, form: str) -> str:
    if interval is None:
        return ""
    low, high = (form.format(end).replace("%", " %") for end in interval)
    return f" (95 % interval {low} to {high})"


def _attempt(one: Attempt) -> str:
    why = f": {one.reason}" if one.reason else ""
    if one.what == "went on":
        return f"Scanning was broken off and went on, {one.by}, {when(one.made_ms)}{why}."
    return f"Another sample of this code that day is {one.state}, {one.by}, {when(one.made_ms)}{why}."
