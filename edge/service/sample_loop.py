"""Where the reading thread does what is asked, with the sample at hand."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

from edge.api.device import LiveField
from edge.camera.base import RejectedInputError
from edge.camera.capture_thread import Item
from edge.errors import DamagedSampleError, EdgeError, LockedError, SampleError, StorageError
from edge.pipeline import Pipeline
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.sample.commands import Answer, Command
from edge.sample.handlers import perform
from edge.sample.lifecycle import DEVICE, StoredResult, now
from edge.sample.retention import sweep
from edge.sample.sample_row import StoredSample
from edge.sample.session import Session, SessionFactory
from edge.screening.verdict import without_fraction
from edge.service.reporter import Reporter, fault_code
from edge.system.backoff import Backoff
from edge.types import FieldReading, unread

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 1.0, 30.0
"""Between two tries to store the result of a sample that ended."""


class SampleLoop:
    """Scans one sample after the other; the `Scanner` of the commands.

    Attributes:
        session: the sample that is being scanned, if any.
        ending: why it ended, and by whom, while its result cannot be stored; no more frames are read of it.
        ended: the last one, with its result.
        live: the camera's newest picture, with what was read in it.
        untidy: whether more is to be removed than the last `tidy` had time for.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sessions: SessionFactory,
        composer: Composer,
        publisher: Publisher,
        reporter: Reporter,
        waits_for_disk: bool,
    ) -> None:
        """Begin idle.

        Args:
            pipeline: reads the frames.
            sessions: makes the session of each sample.
            composer: makes events.
            publisher: sends them.
            reporter: reports readings and problems.
            waits_for_disk: whether a sample that cannot be stored is held in memory until it can, whatever hinders it;
                else only while another program holds the database.
        """
        self.ending: tuple[str, str] | None = None
        self.untidy = False
        self.session: Session | None = None
        self.ended: tuple[Session, StoredResult] | None = None
        self.live: LiveField | None = None
        self._dirt_told = ""
        self.publisher, self.reporter = publisher, reporter
        self._pipeline, self._sessions, self.composer = pipeline, sessions, composer
        self._lifecycle = sessions.lifecycle
        self._waits_for_disk = waits_for_disk
        self._retry, self._retry_at_s = Backoff(RETRY_FIRST_S, RETRY_MAX_S), 0.0

    def recover(self, code: str | None) -> None:
        """Go on with the sample that was being scanned when the program failed, if that can be."""
        for damage in self._lifecycle.damages():
            self._announce_damage(damage)
        try:
            found = self._lifecycle.recover(code)
        except DamagedSampleError:
            return  # announced with the others
        if found is not None:
            try:
                self._scan(self._sessions.go_on(found))
            except SampleError as error:
                log.warning("%s", error)
                self.publisher.event(self.composer.event("warning", "sample", str(error), found.code))

    def _announce_damage(self, text: str) -> None:
        log.error("%s", text)
        self.publisher.event(self.composer.event("error", "sample_damaged", text))

    def start(self, code: str, by: str) -> StoredSample:
        """Begin a new sample."""
        return self._scan(self._sessions.begin(code, by))

    def stop(self, reason: str, by: str) -> StoredSample:
        """End the sample at hand."""
        return self.end(reason, by, by_person=True).sample

    def scan_further(self, sample: StoredSample, by: str, reason: str) -> StoredSample:
        """Scan a sample further that ended."""
        return self._scan(self._sessions.go_on(self._lifecycle.reopen(sample, by, reason)))

    def release(self, sample: StoredSample) -> None:
        """Scan the sample no further, if it is the one at hand."""
        if self.session is not None and self.session.stored.id == sample.id:
            self._let_go()

    def _let_go(self) -> None:
        self.session = self.reporter.session = self.ending = None
        self.reporter.solve("storage")

    def _scan(self, session: Session) -> StoredSample:
        self._pipeline.new_sample(each_cell_once=True)
        self.session, self.ending, self._dirt_told = session, None, ""
        self.reporter.begin(session)
        return session.stored

    def tidy(self) -> None:
        """Remove what is kept longer than it may be; what hinders that must not hinder a sample."""
        try:
            self.untidy = sweep(self._lifecycle, self._sessions.config.retention, now())
            self.publisher.wake()  # what was erased can no longer be sent again
        except StorageError as error:
            self.untidy = False
            log.error("%s", error)

    def show(self, item: Item) -> None:
        """Keep the camera's newest picture, for whoever looks while no sample is read."""
        if not isinstance(item, RejectedInputError) and (self.session is None or self.ending is not None):
            self.live = LiveField(item, None)

    def state(self) -> dict[str, Any]:
        """Return what is going on, for JSON; any thread may ask, and sees the last frame's counts."""
        session, latest, link = self.session, self.reporter.latest, self.publisher.state()
        found: dict[str, Any] = {
            "state": "scanning" if session else "idle",
            "sample": session.stored.code if session else None,
            "id": session.stored.id if session else None,
            "connected": link.connected,
            "connection": link.reason,
            "results_waiting": link.pending,
            "results_refused": link.refused,
            "results_unheard": link.unheard,
            **{f"{name}_problem": self.reporter.problems.get(name, "") for name in ("camera", "storage")},
            "counts": None,
            "verdict": None,
        }
        if session is not None and latest is not None and latest.sample == session.stored.code:
            # Nobody shall stop at a fraction that they like: it is told when scanning has ended.
            verdict = asdict(without_fraction(latest.verdict))
            found |= {"counts": asdict(latest.counts), "verdict": verdict, "frames": latest.frames}
        return found

    def read(self, session: Session, item: Item) -> None:
        """Read a frame of the sample at hand.

        Raises:
            StorageError: The sample cannot be stored, and this loop does not wait for the disk.
        """
        reading = _reading(self._pipeline, item, session.frames)
        session.add(reading, item)
        if not isinstance(item, RejectedInputError):
            self.live = LiveField(item, reading)
        self._tell_dirt(session, reading)
        try:
            if session.save_when_due():
                self.reporter.solve("storage")
        except SampleError as error:  # another program erased it
            self._let_go()
            self._warn("sample", str(error), session)
            return
        except StorageError as error:
            if not self._waits(error):
                raise
            self._hold(error)
        self.reporter.report(session, reading)

    def _tell_dirt(self, session: Session, reading: FieldReading) -> None:
        """Tell of dirt in the optics once for each place of it."""
        if reading.masked is not None and reading.masked.where != self._dirt_told:
            self._dirt_told = reading.masked.where
            self._warn("dirt", reading.masked.in_words, session)

    def end(self, why: str, by: str = DEVICE, by_person: bool = False) -> StoredResult:
        """End the sample at hand: its result is on the disk on return.

        It can be called again after an error.

        Args:
            why: the reason, where no rule ended it.
            by: who ended it, for its history.
            by_person: whether a person did; it then never goes on by itself, also when its end cannot be stored.

        Raises:
            SampleError: No sample is being scanned.
            StorageError: The result cannot be stored; the sample stays at hand, with all its counts.
        """
        if self.session is None:
            raise SampleError("no sample is being scanned")
        session, code = self.session, self.session.stored.code
        counts, verdict = session.counts(), session.verdict()
        self.ending = self.ending or (why, by)
        if by_person:
            self._lifecycle.forbid_recovery()
        self.publisher.withdraw_progress()
        try:
            result = session.end(*self.ending)
        except SampleError:  # another program erased it
            self._let_go()
            raise
        except StorageError as error:
            self._retry_at_s = time.monotonic() + self._retry.next_s()
            self._hold(error)
            raise type(error)(f"{error}. The result of {code} was not kept: {verdict.text}") from error
        self._let_go()
        self._retry.reset()
        log.info("sample %s is in %s: %s", code, result.sample.state, result.sample.reason)
        self.ended = session, result
        failure = self.control_failure(session)
        if failure:
            self._warn("control", failure, session)
        self.tidy()
        self.publisher.wake()
        self.reporter.last(code, counts)
        return result

    def control_failure(self, session: Session) -> str:
        """Return what is wrong with the reading of a control slide, in words, or nothing."""
        return self._lifecycle.controls.failure(session.record())

    def end_when_possible(self, why: str) -> None:
        """End the sample at hand, or hold it in memory until its result can be stored.

        Raises:
            StorageError: It cannot be stored, and this loop does not wait for the disk.
        """
        try:
            self.end(why)
        except StorageError as error:
            if not self._waits(error):
                raise

    def retry_end(self) -> None:
        """Store the result of a sample that ended, when it is time to try again."""
        if self.ending is not None and time.monotonic() >= self._retry_at_s:
            self.end_when_possible("")

    def _waits(self, error: StorageError) -> bool:
        return self._waits_for_disk or isinstance(error, LockedError)

    def _hold(self, error: StorageError) -> None:
        """Say that the sample is held in memory."""
        self.reporter.problem("storage", f"{error}. The sample is held in memory, and stored when that is possible")

    def _warn(self, code: str, text: str, session: Session) -> None:
        log.warning("%s", text)
        self.publisher.event(self.composer.event("warning", code, text, session.stored.code))

    def do(self, command: Command) -> Answer:
        """Do what is asked."""
        try:
            answer = perform(command, self._lifecycle, self)
        except DamagedSampleError as error:
            self._announce_damage(str(error))
            raise
        self.publisher.wake()
        return answer

    def announce_fault(self, fault: EdgeError) -> None:
        """Tell the broker what ended the run."""
        self.publisher.status("fault", str(fault))
        sample = self.ended[0].stored.code if self.ended else ""
        self.publisher.event(self.composer.event("error", fault_code(fault), str(fault), sample))


def _reading(pipeline: Pipeline, item: Item, index: int) -> FieldReading:
    if isinstance(item, RejectedInputError):
        # Not the error's text, which names the file: files are sometimes called after patients.
        log.warning("frame %d cannot be read: %s", index, item.rejection.reason.value)
        return unread(item.name, index, item.rejection)
    return pipeline.read(item)
