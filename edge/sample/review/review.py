"""The review of a sample by people: what they are shown, what they answer, and who signs. No HTTP, and no thread.

A page or a program works with it so::

    review = SampleReview(lifecycle)
    gallery = review.gallery(sample, "first")           # cells to look at, in a random order that stays
    jpeg = review.crop(sample, cell.number)             # the picture of one
    picture = load_picture(lifecycle.database, sample.id, cell.field)  # the field round it, with boxes by cell number

Changes go through the command queue as one `commands.Review`, which a service does between two frames:

    cells    class by cell number: answers           undo     numbers of cells whose answer is taken back
    missed   cells that the detector missed          unmark   marks that are taken back
    note     words on the sample                     done     sign it by `by`: the sample is final and locked
    reading  first (the one that counts), second (blind, another person), third (settles where the two differ)

What is said is stored by `changes`. Rows are only ever added: `rows.answers` is the audit. While a sample
is scanned nobody is shown its fraction: `edge.screening.verdict.without_fraction`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from edge.sample.cell_rows import ABSTAINED_NAME, StoredCell
from edge.sample.lifecycle import Lifecycle, require
from edge.sample.review import known_cells as known
from edge.sample.review import rows
from edge.sample.review.field_pictures import fields_of_cells
from edge.sample.review.known_cells import KnownAnswers
from edge.sample.review.random_order import rank
from edge.sample.review.rows import Reading
from edge.sample.sample_row import StoredSample
from edge.screening.agreement import Agreement, MissedBound, agreement, missed_bound
from edge.types import CLASSES

POOLED = 200
"""Samples over which normal cells are pooled: 20,000 cells, and no longer to look through on a device with 10,000."""

NORMALS_SHOWN = 100
"""Cells called normal, drawn at random, that a gallery holds beside the sickle-like and unnamed ones."""

PAUSE_S, PACED_MIN = 60.0, 10
"""A longer time between two answers is a pause; of fewer times than this no pace is told."""

CALLED = ("sickle", ABSTAINED_NAME)
"""What the classifier said of the cells that are all in the gallery."""


@dataclass(frozen=True, slots=True)
class GalleryCell:
    """A cell to look at.

    Attributes:
        number: of the cell in its sample.
        field: number of a stored field picture that shows it; None where none is kept.
        answer: the class that this reading gave it last, None before.
        class_name: the classifier's, or `abstained`; None until it is answered.
        p_sickle: its chance of being sickle-like; None until it is answered.
    """

    number: int
    field: int | None
    answer: str | None
    class_name: str | None
    p_sickle: float | None


@dataclass(frozen=True, slots=True)
class Gallery:
    """The cells of a sample to look at in one reading.

    not_pictured: sickle-like and unnamed cells of which no picture is kept, so that nobody can look at them.
    """

    cells: tuple[GalleryCell, ...]
    not_pictured: int

    @property
    def answered(self) -> int:
        """How many are answered."""
        return sum(cell.answer is not None for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Another sample of the same code and day, or an interruption of this one.

    Attributes:
        what: `other sample`, or `went on`.
        state: of the other sample; `scanning` for an interruption.
        reason: why, in words, or empty.
        by: who did it.
        made_ms: when, milliseconds since 1970 UTC.
        sample_id: of the sample that is meant.
    """

    what: str
    state: str
    reason: str
    by: str
    made_ms: int
    sample_id: str


class SampleReview:
    """What people see of samples. Any thread may call it, and other programs beside this one.

    Every method raises SampleError when what is asked cannot be, and StorageError as Database does.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle, self._store, self._database = lifecycle, lifecycle.store, lifecycle.database

    def gallery(self, sample: StoredSample, reading: Reading = "first", blind: bool = True) -> Gallery:
        """Return the cells to look at: sickle-like, unnamed, random normal and known ones.

        Args:
            sample: whose scanning has ended.
            reading: whose answers are shown; for the third, only cells on which the other two differ.
            blind: whether the order is random, and class and chance are hidden until a cell is answered; else the
                most sickle-like come first. A second or third reading is always blind.
        """
        require(sample, ("review", "incomplete", "final"), "reviewed")
        cells = self._store.cells(sample.id)
        called = [cell for cell in cells if cell.class_name in CALLED]
        normals = [cell for cell in normals_by_rank(sample.id, cells) if cell.pictured][:NORMALS_SHOWN]
        shown = [cell for cell in called if cell.pictured] + normals
        if reading == "third":
            numbers = set(self.unsettled(sample, settled_too=True))
            shown = [cell for cell in cells if cell.number in numbers]
        said = rows.newest_answers(self._database, sample.id, reading)
        fields = fields_of_cells(self._database, sample.id)
        blind = blind or reading != "first"
        offered = [
            _gallery_cell(cell, _p_sickle(cell), fields, said, hidden=blind and cell.number not in said)
            for cell in shown
        ]
        if blind:
            offered += self._known(sample, reading)
            offered.sort(key=lambda cell: rank(sample.id, f"{reading} {cell.number}"))
        else:
            offered.sort(key=lambda cell: -(cell.p_sickle or 0))
        return Gallery(tuple(offered), sum(not cell.pictured for cell in called))

    def _known(self, sample: StoredSample, reading: Reading) -> list[GalleryCell]:
        """Return the known cells of a gallery; of a signed sample only those that were answered."""
        said = known.newest_known_answers(self._database, sample.id, reading)
        cells = known.known_cells(self._database, sample.id, reading)
        return [
            GalleryCell(
                one.shown, None, said.get(one.shown), one.class_name if one.shown in said else None,
                one.p_sickle if one.shown in said else None,
            )
            for one in cells
            if one.shown in said or sample.state != "final"
        ]  # fmt: skip

    def crop(self, sample: StoredSample, number: int) -> bytes | None:
        """Return the JPEG of a cell of a gallery, if it is kept."""
        if known.is_known(number):
            return known.known_crop(self._database, number)
        return self._store.crop(sample.id, number)

    def known_answers(self, sample: StoredSample, reading: Reading = "first") -> KnownAnswers:
        """Return how a reading named the known cells that were mixed in."""
        return known.compared(self._database, sample.id, reading)

    def last_answered(self, sample: StoredSample, reading: Reading, by: str) -> int | None:
        """Return the cell that a person answered last, unless the answer was taken back."""
        own = rows.answers(self._database, sample.id, reading)
        mixed = known.known_answers_of(self._database, sample.id, reading)
        given = [((one.row, 0), one.number, one.class_name) for one in own if one.by == by]
        given += [((after, i), number, name) for i, (after, number, name, who, _) in enumerate(mixed, 1) if who == by]
        given.sort(key=lambda one: one[0])
        newest = {number: at for at, number, _ in given}
        standing = [number for at, number, name in given if newest[number] == at and name]
        return standing[-1] if standing else None

    def readers(self, sample: StoredSample) -> Mapping[Reading, tuple[str, ...]]:
        """Return who has answered in each reading."""
        return rows.readers(self._database, sample.id)

    def agreement(self, sample: StoredSample) -> Agreement | None:
        """Return how far first and second reader agree on sickle-like; None without a second."""
        first, second = self._both(sample)
        return agreement((first[number], second[number]) for number in first.keys() & second.keys())

    def unsettled(self, sample: StoredSample, settled_too: bool = False) -> tuple[int, ...]:
        """Return the cells to which first and second reader give different classes.

        settled_too: also those that a third person has settled.
        """
        first, second = self._both(sample)
        settled = {} if settled_too else rows.newest_answers(self._database, sample.id, "third")
        differ = (number for number in first.keys() & second.keys() if first[number] != second[number])
        return tuple(sorted(number for number in differ if number not in settled))

    def _both(self, sample: StoredSample) -> tuple[dict[int, str], dict[int, str]]:
        database = self._database
        return rows.newest_answers(database, sample.id, "first"), rows.newest_answers(database, sample.id, "second")

    def pace(self, sample: StoredSample, reading: Reading = "first") -> float | None:
        """Return the median seconds between answers, without pauses; None for few answers."""
        mixed = known.known_answers_of(self._database, sample.id, reading)
        given = rows.answers(self._database, sample.id, reading)
        times = sorted({one.made_ms for one in given} | {made_ms for *_, made_ms in mixed})
        gaps = [(later - earlier) / 1000 for earlier, later in pairwise(times)]
        gaps = [gap for gap in gaps if gap <= PAUSE_S]
        return median(gaps) if len(gaps) >= PACED_MIN else None

    def normals(self, sample: StoredSample) -> MissedBound:
        """Return what normal cells drawn at random say of those that nobody looked at."""
        said = rows.drawn_answers(self._database, [sample.id]).get(sample.id, {})
        return missed_bound(len(said), sum(name == "sickle" for name in said.values()))

    def normals_of_device(self) -> MissedBound:
        """Return the same over the newest reviewed samples of the device that are not discarded."""
        by_sample = rows.drawn_answers(self._database, rows.newest_reviewed(self._database, POOLED))
        said = [name for answers in by_sample.values() for name in answers.values()]
        return missed_bound(len(said), sum(name == "sickle" for name in said), len(by_sample))

    def attempts(self, sample: StoredSample) -> list[Attempt]:
        """Return other samples of the same code and day, and where this one was broken off."""
        others = self._database.read(
            "SELECT id, state, reason FROM samples WHERE code = ? AND day = ? AND id != ? ORDER BY rowid",
            sample.code, sample.day, sample.id,
        )  # fmt: skip
        found = []
        for other, state, reason in others:
            last = self._store.history(other)[-1:]
            by, made_ms = (str(last[0]["by"]), int(last[0]["made_ms"])) if last else ("", 0)
            found.append(Attempt("other sample", state, reason, by, made_ms, other))
        again = [step for step in self._store.history(sample.id) if step["state"] == "scanning"][1:]
        found += [
            Attempt("went on", "scanning", step["reason"], step["by"], step["made_ms"], sample.id) for step in again
        ]
        return found

    def signed_by(self, sample: StoredSample) -> dict[str, Any] | None:
        """Return the step of the history that signed a sample; None unless it is final.

        It has the keys `by`, `made_ms`, `reason` and `clock_synchronised`.
        """
        if sample.state != "final":
            return None
        return next((step for step in reversed(self._store.history(sample.id)) if step["state"] == "final"), None)


def normals_by_rank(sample_id: str, cells: Collection[StoredCell]) -> list[StoredCell]:
    """Return the cells called normal in the random order in which they are drawn."""
    return sorted(
        (cell for cell in cells if cell.class_name == "normal"), key=lambda cell: rank(sample_id, cell.number)
    )


def _gallery_cell(
    cell: StoredCell, p_sickle: float | None, fields: Mapping[int, int], said: Mapping[int, str], hidden: bool
) -> GalleryCell:
    return GalleryCell(
        cell.number,
        fields.get(cell.number),
        said.get(cell.number),
        None if hidden else cell.class_name,
        None if hidden else p_sickle,
    )


def _p_sickle(cell: StoredCell) -> float | None:
    return cell.prob[CLASSES.index("sickle")]
