"""What people say of a sample is stored, and a sample is signed: each all of it or nothing.

Every function raises SampleError when what is asked cannot be, and StorageError as Database does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from edge.errors import SampleError
from edge.sample.cell_records import NORMALS_PICTURED
from edge.sample.cell_rows import StoredCell
from edge.sample.commands import MissedCell, Review
from edge.sample.lifecycle import Lifecycle, require
from edge.sample.review import rows
from edge.sample.review.field_pictures import pictured_fields
from edge.sample.review.known_cells import (
    KnownCell,
    add_known_answers,
    is_known,
    known_cells,
    newest_known_answers,
)
from edge.sample.review.review import SampleReview, normals_by_rank
from edge.sample.review.rows import WITHDRAWN, Mark, NewAnswer, Reading
from edge.sample.sample_row import Moment, StoredSample
from edge.types import CLASSES


def answer(lifecycle: Lifecycle, sample: StoredSample, said: Review) -> StoredSample:
    """Store what a person says of a sample, and return the sample as it is then.

    All of it is stored, or nothing.

    Raises:
        SampleError: The sample is locked or still scanned; a class, cell, mark or field is not known; or the person
            may not answer in that reading.
    """
    require(sample, ("review", "incomplete"), "reviewed")
    lifecycle.record(sample)  # of a damaged sample nothing is said
    _require_classes([*said.cells.values(), *(one.class_name for one in said.missed)])
    cells = {cell.number: cell for cell in lifecycle.store.cells(sample.id)}
    asked = {**said.cells, **dict.fromkeys(said.undo, WITHDRAWN)}
    known = {number: name for number, name in asked.items() if is_known(number)}
    own = {number: name for number, name in asked.items() if number not in known}
    given = _answers(lifecycle, sample, said, own, cells)
    mixed = _known_answers(lifecycle, sample, said, known)
    if given or mixed:
        _require_reader(lifecycle, sample, said.by, said.reading)
    moment = lifecycle.clock()
    marks = _marks(lifecycle, sample, said, moment)
    with lifecycle.changing(sample), lifecycle.database.transaction() as connection:
        rows.add_answers(connection, sample.id, given, said.by, said.reason, said.reading, moment)
        add_known_answers(connection, sample.id, mixed, said.by, said.reading, moment)
        rows.add_marks(connection, sample.id, marks, moment)
        if said.note:
            rows.add_note(lifecycle.database, sample.id, said.note, said.by, moment)
        return lifecycle.store.counted(sample, sample.cells, sample.reviews + len(given) + len(marks))


def _answers(
    lifecycle: Lifecycle, sample: StoredSample, said: Review, asked: Mapping[int, str], cells: Mapping[int, StoredCell]
) -> list[NewAnswer]:
    before = rows.newest_answers(lifecycle.database, sample.id, said.reading)
    _require_cells(asked, cells, before)
    if said.reading == "third":
        others = sorted(
            {number for number, name in asked.items() if name}
            - set(SampleReview(lifecycle).unsettled(sample, settled_too=True))
        )
        if others:
            raise SampleError(
                f"the two readers do not differ on cell {', '.join(map(str, others))}; a third person settles only "
                "cells on which they do"
            )
    drawn = {cell.number for cell in normals_by_rank(sample.id, cells.values())[:NORMALS_PICTURED]}
    return [
        NewAnswer(number, name, _old(cells[number], before.get(number), said.reading), number in drawn)
        for number, name in asked.items()
    ]


def _known_answers(
    lifecycle: Lifecycle, sample: StoredSample, said: Review, asked: Mapping[int, str]
) -> dict[KnownCell, str]:
    """Return the answers on known cells that were mixed into the gallery."""
    if not asked:
        return {}
    offered = {one.shown: one for one in known_cells(lifecycle.database, sample.id, said.reading)}
    _require_cells(asked, offered, newest_known_answers(lifecycle.database, sample.id, said.reading))
    return {offered[number]: name for number, name in asked.items()}


def _require_cells(asked: Mapping[int, str], cells: Collection[int], answered: Collection[int]) -> None:
    missing = sorted(set(asked) - set(cells))
    if missing:
        raise SampleError(
            f"the sample has no cell {', '.join(map(str, missing))}. `sicklescope sample show` lists its cells"
        )
    unanswered = sorted(number for number, name in asked.items() if name == WITHDRAWN and number not in answered)
    if unanswered:
        raise SampleError(f"there is no answer on cell {', '.join(map(str, unanswered))} to take back")


def _old(cell: StoredCell, own: str | None, reading: Reading) -> str:
    """Return the class in force before an answer; a second reader's is nobody else's."""
    return (own if reading == "second" else cell.reviewed) or cell.class_name


def _marks(lifecycle: Lifecycle, sample: StoredSample, said: Review, moment: Moment) -> list[Mark]:
    if (said.missed or said.unmark) and said.reading != "first":
        raise SampleError("cells that the detector missed are marked in the first reading only")
    known = {one.mark: one for one in rows.marks(lifecycle.database, sample.id)}
    unknown = sorted(number for number in said.unmark if number not in known)
    if unknown:
        raise SampleError(f"there is no mark {', '.join(map(str, unknown))} to take back")
    _require_fields(lifecycle, sample, said.missed)
    new = [
        Mark(len(known) + i, one.field, one.x, one.y, one.class_name, said.by, said.reason, moment.made_ms)
        for i, one in enumerate(said.missed, start=1)
    ]
    back = [
        replace(known[number], class_name=None, by=said.by, reason=said.reason, made_ms=moment.made_ms)
        for number in said.unmark
    ]
    return new + back


def _require_fields(lifecycle: Lifecycle, sample: StoredSample, missed: Collection[MissedCell]) -> None:
    kept = set(pictured_fields(lifecycle.database, sample.id))
    unknown = sorted({one.field for one in missed} - kept)
    if unknown:
        raise SampleError(f"no picture of field {', '.join(map(str, unknown))} is kept; mark cells on one that is")


def _require_reader(lifecycle: Lifecycle, sample: StoredSample, by: str, reading: Reading) -> None:
    """Raise SampleError when a person already reads the sample in another part."""
    for other, names in SampleReview(lifecycle).readers(sample).items():
        if other != reading and any(_same(by, name) for name in names):
            raise SampleError(
                f"{by} is {other} reader of sample {sample.code} and cannot be its {reading} one. Each reading is "
                "another person's"
            )


def sign(lifecycle: Lifecycle, sample: StoredSample, by: str, reason: str) -> StoredSample:
    """Sign a sample: it is final and locked, and its result is published.

    Args:
        lifecycle: of the device's samples.
        sample: in review, or incomplete.
        by: who signs; not its second reader.
        reason: why; needed where scanning ended early, or two readers differ on cells that nobody settled.
    """
    require(sample, ("review", "incomplete"), "signed")
    record = lifecycle.record(sample)
    if any(_same(by, name) for name in SampleReview(lifecycle).readers(sample)["second"]):
        raise SampleError(f"{by} is the second reader of sample {sample.code} and cannot sign it; another person must")
    if sample.state == "incomplete" and not reason:
        raise SampleError(
            f"sample {sample.code} is incomplete ({sample.reason}; {record.counts.red_cells} red cells). To sign it "
            "all the same give a reason, or reopen it and scan on"
        )
    differ = len(SampleReview(lifecycle).unsettled(sample))
    if differ and not reason:
        raise SampleError(
            f"the two readers of sample {sample.code} differ on {differ} {'cell' if differ == 1 else 'cells'} that "
            "no third person settled. Settle them, or give a reason"
        )
    return lifecycle.conclude(sample, record, "final", reason, by).sample


def _same(one: str, other: str) -> bool:
    """Whether two names are one person's, whatever their case and spaces."""
    return "".join(one.split()).casefold() == "".join(other.split()).casefold()


def _require_classes(names: Collection[str]) -> None:
    wrong = sorted(set(names) - set(CLASSES))
    if wrong:
        raise SampleError(f"{', '.join(wrong)} is no class; expected one of {', '.join(CLASSES)}")
