"""The life of samples: scanning → review → final, or incomplete; each with its result.

Whatever is done to a sample is one transaction over its state, its cells and the result that waits for the broker.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from edge.config.model import Config
from edge.errors import DamagedSampleError, LockedError, SampleError, StorageError
from edge.publish.composer import Composer
from edge.publish.message_base import topic
from edge.sample.blanks import BlankSlides
from edge.sample.cell_records import CellChanges
from edge.sample.codes import sample_code
from edge.sample.controls import ControlSlides
from edge.sample.export import remove_written, written
from edge.sample.integrity import check_cells, damaged, record_of_row, row_damage
from edge.sample.review.rows import marked, reviewed
from edge.sample.sample_row import Moment, StoredSample
from edge.sample.store import Store
from edge.screening.review import ReviewedCounts, concluded, reviewed_counts
from edge.screening.sample_record import SampleRecord, Stage
from edge.screening.verdict import without_fraction
from edge.storage.database import Database
from edge.storage.outbox import Outbox
from edge.storage.result_numbers import ResultNumbers
from edge.storage.scan_marker import ScanMarker
from edge.system.clock import boot_id, clock_synchronised
from edge.types import Verdict

log = logging.getLogger(__name__)

RESUME_S = 300.0
"""A sample whose program failed goes on by itself within this time of the same boot: the slide is still there."""

DEVICE = "device"
"""Who did what nobody asked for."""

SIGNED_BEFORE = "a signed result was reopened"
"""How the reason begins of a sample that was brought back from final."""

CUT_SHORT = "the power or the program failed while it was scanned"


def now() -> Moment:
    """Return the device's clocks."""
    return Moment(time.time_ns() // 1_000_000, clock_synchronised(), boot_id(), time.monotonic())


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result that is on the disk, and its sample as it is then; id: that of the result."""

    id: UUID
    sample: StoredSample


class Lifecycle:
    """What may be done with samples. Any thread may call it, and other programs beside this one.

    Every method raises SampleError when what is asked cannot be, and StorageError as Database does.
    """

    def __init__(
        self, config: Config, database: Database, composer: Composer, clock: Callable[[], Moment] = now
    ) -> None:
        self.store = Store(database)
        self.config, self.database, self.clock = config, database, clock
        self._composer = composer
        self._outbox = Outbox(database)
        self.numbers = ResultNumbers(database)
        self._marker = ScanMarker(database.path.parent)
        self.controls = ControlSlides(database, lambda: self.clock().made_ms / 1000)
        self.blanks = BlankSlides(database, lambda: self.clock().made_ms / 1000)

    def described(self, sample: StoredSample) -> dict[str, Any]:
        """Return all that is kept of a sample but its cells, for JSON.

        `damaged` says in words what is not what was written, and is empty else; damaged JSON is given as text, and in
        place of a damaged result stands null.
        """
        results = self.store.results(sample.id)
        return {
            "id": sample.id,
            "sample": sample.code,
            "day": sample.day,
            "state": sample.state,
            "reason": sample.reason,
            "interruptions": sample.interruptions,
            "damaged": self.damage(sample) or ("a result is damaged" if None in results else ""),
            "setup": _parsed(sample.setup),
            "draft": self._shown_draft(sample),
            "results": [None if payload is None else json.loads(payload) for payload in results],
            "history": self.store.history(sample.id),
        }

    def _shown_draft(self, sample: StoredSample) -> Any:
        """Return the draft of a sample's result, without a fraction while it is scanned."""
        if sample.state != "scanning" or row_damage(sample):
            return _parsed(sample.draft)
        record = record_of_row(sample)
        return json.loads(self._draft(replace(record, verdict=without_fraction(record.verdict))))

    # Scanning.

    def code(self, text: str) -> str:
        """Return a sample code after checking it; raises SampleError."""
        return sample_code(text, self.config.screening.sample_pattern)

    def record(self, sample: StoredSample) -> SampleRecord:
        """Return what is known of a stored sample, without its reviews.

        Raises:
            DamagedSampleError: What is stored is not what was written.
        """
        found = record_of_row(sample)
        check_cells(self.store, sample)
        return found

    def damage(self, sample: StoredSample) -> str:
        """Return in words what of a stored sample is not what was written; empty when it is whole."""
        try:
            self.record(sample)
        except DamagedSampleError as error:
            return str(error)
        return ""

    def damages(self) -> list[str]:
        """Return in words which rows of samples are not what was written.

        Cells are checked when they are used.
        """
        return [text for sample in self.store.newest(limit=-1) if (text := row_damage(sample))]

    def start(self, record: SampleRecord, setup: str, by: str) -> StoredSample:
        """Begin to scan a sample; setup: what it is read with, as JSON."""
        moment = self.clock()
        day = datetime.fromtimestamp(moment.made_ms / 1000).astimezone().date().isoformat()
        sample = StoredSample(
            str(record.sample_id), self.code(record.code), day, "scanning", "", 0, moment.boot_id, moment.uptime_s,
            moment.made_ms, setup, self._draft(record), uuid4().hex,
        )  # fmt: skip
        self._mark(sample.session)
        with self.changing(sample):
            self.store.add(sample)
            return self.store.change(sample, "scanning", "", by, moment)

    def save(self, sample: StoredSample, record: SampleRecord, changes: Iterable[CellChanges]) -> StoredSample:
        """Store how far a sample is; changes: what its newest fields changed in its cells."""
        budget = self.config.retention.pictures_mb_per_day * 1_000_000
        return self.store.save(sample, self._draft(record), self.clock(), changes, budget)

    def end(
        self,
        sample: StoredSample,
        record: SampleRecord,
        changes: Iterable[CellChanges],
        stage: Stage,
        reason: str,
        by: str = DEVICE,
    ) -> StoredResult:
        """End the scanning of a sample: its result is stored and waits for the broker."""
        with self.changing(sample):
            result = self.conclude(self.save(sample, record, changes), record, stage, reason, by)
            self.controls.record(record, self.clock())
            return result

    def forbid_recovery(self) -> None:
        """Let the sample at hand not go on by itself after a failure, for a person ended it."""
        self._marker.clear()

    def _mark(self, token: str) -> None:
        """Let the session of this token go on by itself after a failure, unless another sample is being scanned."""
        if self.store.scanned() is None:
            self._marker.set(token)

    def _draft(self, record: SampleRecord) -> str:
        """Return what is stored of a sample's record: the result that it would have if it ended now."""
        return self._composer.draft(record).to_json()

    def recover(self, code: str | None = None) -> StoredSample | None:
        """Return the sample that was being scanned when program or power failed, if it can go on.

        It can within RESUME_S on the same boot, and when no other code is asked for; else it ends as `incomplete`
        with what was counted, and may be reopened.

        Raises:
            DamagedSampleError: What is stored of it is not what was written; it is set aside.
        """
        sample = self.store.scanned()
        if sample is None:
            return None
        damage = self.damage(sample)
        if damage:
            self.store.change(sample, "incomplete", f"set aside: {damage}", DEVICE, self.clock())
            raise DamagedSampleError(damage)
        moment = self.clock()
        same_slide = sample.boot_id == moment.boot_id and 0 <= moment.uptime_s - sample.uptime_s <= RESUME_S
        if not same_slide or code not in (None, sample.code) or not self._marker.allows(sample.session):
            self.give_up(sample, CUT_SHORT)
            return None
        log.warning("sample %s goes on: %s", sample.code, CUT_SHORT)
        return self._go_on(sample, CUT_SHORT, DEVICE)

    def give_up(self, sample: StoredSample, reason: str, by: str = DEVICE) -> StoredSample:
        """End a sample that cannot go on, with what was counted."""
        log.warning("sample %s is incomplete: %s", sample.code, reason)
        return self.conclude(sample, self.record(sample), "incomplete", reason, by).sample

    def stop_unread(self, reason: str, by: str) -> StoredSample:
        """End the sample that was being scanned when the service failed, where none runs now."""
        sample = self.store.scanned()
        if sample is None:
            raise SampleError("no sample is being scanned")
        return self.give_up(sample, reason, by)

    def _go_on(self, sample: StoredSample, reason: str, by: str) -> StoredSample:
        """Scan a sample further, where the places of its cells are no longer known."""
        token = sample.session if sample.state == "scanning" else uuid4().hex
        further = replace(self.record(sample), interruptions=sample.interruptions + 1)
        self._mark(token)
        with self.changing(sample):
            saved = self.save(sample, further, [])
            return self.store.change(saved, "scanning", reason, by, self.clock(), further.interruptions, token)

    # What people do.

    def discard(self, sample: StoredSample, by: str, reason: str) -> StoredSample:
        """Say that a sample is not to be used; where it has a result another follows that says so."""
        require(sample, ("scanning", "review", "incomplete", "final"), "discarded")
        with self.changing(sample):
            if not self.store.result_ids(sample.id) or self.damage(sample):  # of a damaged one no result is made
                return self.store.change(sample, "discarded", reason, by, self.clock())
            return self.conclude(sample, self.record(sample), "discarded", reason, by).sample

    def reopen(self, sample: StoredSample, by: str, reason: str) -> StoredSample:
        """Bring a sample a step back.

        final → review or incomplete, whatever it was before it was signed; discarded → incomplete; review or
        incomplete → scanning.
        """
        require(sample, ("review", "incomplete", "final", "discarded"), "reopened")
        if sample.state in ("review", "incomplete"):
            return self._go_on(sample, reason, by)
        stage: Stage = "incomplete"
        if sample.state == "final":
            stage = "review" if self._before_signing(sample) == "review" else "incomplete"
            reason = f"{SIGNED_BEFORE}{': ' if reason else ''}{reason}"
        return self.conclude(sample, self.record(sample), stage, reason, by).sample

    def _before_signing(self, sample: StoredSample) -> str:
        """Return the state that a signed sample had before."""
        states = [str(step["state"]) for step in self.store.history(sample.id)]
        return next((state for state in reversed(states) if state != "final"), "review")

    def erase(self, sample: StoredSample, by: str, reason: str) -> list[Path]:
        """Erase all that is kept of a sample but a tombstone: its identifier, when, by whom and why.

        What left for the broker is not called back. `reason` and `by` stay, so they must name no patient.

        Returns:
            Files that were written of it and are left: changed since, or another user's.
        """
        left = self.erase_rows(sample, by, reason)
        self.forget()
        return left

    def forget(self) -> None:
        """Let nothing of erased samples remain in the files of the database."""
        self.store.erase_unfound()
        self.database.forget()

    def erase_rows(self, sample: StoredSample, by: str, reason: str) -> list[Path]:
        """Erase a sample as `erase` does, but for the log of the database.

        `forget` has to follow.
        """
        require(sample, ("review", "incomplete", "final", "discarded"), "erased")
        try:
            left = self._erased(sample, by, reason)
        except LockedError:
            raise
        except (SampleError, StorageError) as error:
            log.warning("all indexes are written anew, for a sample was not erased: %s", error)
            self.database.rewrite_order()
            left = self._erased(sample, by, reason, orphans=True)
        if left:
            log.warning("%d files written of an erased sample are left: changed, or another user's", len(left))
        return left

    def _erased(self, sample: StoredSample, by: str, reason: str, orphans: bool = False) -> list[Path]:
        """Erase the rows and files of a sample; return the files that are left."""
        files = written(self.database, sample.id)
        with self.changing(sample):
            for result_id in self.store.result_ids(sample.id):
                self._outbox.delete(result_id)
            self._outbox.forget_sample(sample.code)
            self.store.erase(sample, by, reason, self.clock(), orphans)
        return remove_written(files)

    @contextmanager
    def changing(self, sample: StoredSample) -> Iterator[None]:
        """Make one transaction over all that belongs to a sample."""
        try:
            with self.database.transaction():
                yield
        except sqlite3.IntegrityError as error:
            raise damaged(sample, f"its rows do not belong together ({error})") from error

    def reviewed(self, sample: StoredSample, record: SampleRecord) -> ReviewedCounts | None:
        """Return a sample's counts after review; None where nobody has said anything of a cell."""
        database, fewest = self.database, self.config.screening.min_red_cells
        reviews, marks = reviewed(database, sample.id), marked(database, sample.id)
        return reviewed_counts(record.counts, record.verdict, reviews, marks, fewest)

    def concluded(
        self, sample: StoredSample, record: SampleRecord, signed: bool
    ) -> tuple[ReviewedCounts | None, Verdict]:
        """Return a sample's counts after review, and what may be said of it with them."""
        counts = self.reviewed(sample, record)
        return counts, concluded(record.verdict, counts, signed, self.config.screening.min_red_cells)

    def conclude(self, sample: StoredSample, record: SampleRecord, stage: Stage, reason: str, by: str) -> StoredResult:
        """Change a sample's state, and store the result that says so, as one."""
        with self.changing(sample):
            # The record is as new as the scanning; a person's reviews are added to it again each time.
            reviewed, verdict = self.concluded(sample, record, stage == "final")
            revision = len(self.store.result_ids(sample.id)) + 1
            result = self._composer.result(
                replace(record, verdict=verdict), revision, self.numbers.take(), stage, reason, reviewed
            )
            changed = self.store.change(sample, stage, reason, by, self.clock())
            self.store.add_result(str(result.id), sample.id, result.revision, result.number, result.to_json())
            if self.config.mqtt.enabled:
                self._outbox.put(result.id, topic(result, self._composer.site, self._composer.device), result.to_json())
        return StoredResult(result.id, changed)


def _parsed(text: str) -> Any:
    """Return stored JSON, or the text itself where that is damaged."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def require(sample: StoredSample, states: tuple[str, ...], what: str) -> None:
    """Raise SampleError unless the sample is in one of the states."""
    if sample.state not in states:
        raise SampleError(f"sample {sample.code} is {sample.state} and cannot be {what}; {_WHEN[what]}")


_WHEN = {
    "discarded": "it was already",
    "reopened": "stop it first",
    "reviewed": "stop it first, or reopen it: one that is final is signed and locked",
    "signed": "stop it first, or reopen it: one that is final is signed and locked",
    "erased": "stop it first",
}
