"""Where the reading thread does what is asked, with the sample at hand."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from edge.camera.base import RejectedInputError
from edge.camera.capture_thread import Item
from edge.errors import CameraError, EdgeError, SampleError, StorageError
from edge.pipeline import Pipeline
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.sample.commands import Answer, Command
from edge.sample.handlers import perform
from edge.sample.lifecycle import DEVICE, StoredResult, now
from edge.sample.retention import sweep
from edge.sample.session import Session, SessionFactory
from edge.sample.store import StoredSample
from edge.service.reporter import Reporter
from edge.types import FieldReading, Frame, unread

log = logging.getLogger(__name__)


class SampleLoop:
    """Scans one sample after the other; the `Scanner` of the commands.

    Attributes:
        session: the sample that is being scanned, if any.
        ended: the last one, with its result.
        frame: the camera's newest picture.
    """

    def __init__(
        self, pipeline: Pipeline, sessions: SessionFactory, composer: Composer, publisher: Publisher, reporter: Reporter
    ) -> None:
        self.session: Session | None = None
        self.ended: tuple[Session, StoredResult] | None = None
        self.frame: Frame | None = None
        self.publisher, self.reporter = publisher, reporter
        self._pipeline, self._sessions, self._composer = pipeline, sessions, composer
        self._lifecycle = sessions.lifecycle

    def recover(self, code: str | None) -> None:
        """Go on with the sample that was being scanned when the program failed, if that can be."""
        found = self._lifecycle.recover(code)
        if found is not None:
            try:
                self._scan(self._sessions.go_on(found))
            except SampleError as error:
                log.warning("%s", error)
                self.publisher.event(self._composer.event("warning", "sample", str(error), found.code))

    def start(self, code: str, by: str) -> StoredSample:
        """Begin a new sample."""
        return self._scan(self._sessions.begin(code, by))

    def stop(self, reason: str, by: str) -> StoredSample:
        """End the sample at hand."""
        return self.end(reason, by).sample

    def scan_further(self, sample: StoredSample, by: str, reason: str) -> StoredSample:
        """Scan a sample further that ended."""
        return self._scan(self._sessions.go_on(self._lifecycle.reopen(sample, by, reason)))

    def release(self, sample: StoredSample) -> None:
        """Scan the sample no further, if it is the one at hand."""
        if self.session is not None and self.session.stored.id == sample.id:
            self.session = self.reporter.session = None

    def _scan(self, session: Session) -> StoredSample:
        self._pipeline.new_sample(each_cell_once=True)
        self.session = self.reporter.session = session
        return session.stored

    def tidy(self) -> None:
        """Remove what is kept longer than it may be; what hinders that must not hinder a sample."""
        try:
            sweep(self._lifecycle, self._sessions.config.retention, now())
        except StorageError as error:
            log.error("%s", error)

    def show(self, item: Item) -> None:
        """Keep the camera's newest picture, for whoever looks."""
        if not isinstance(item, RejectedInputError):
            self.frame = item

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
            "counts": None,
            "verdict": None,
        }
        if session is not None and latest is not None and latest.sample == session.stored.code:
            found |= {"counts": asdict(latest.counts), "verdict": asdict(latest.verdict), "frames": latest.frames}
        return found

    def read(self, session: Session, item: Item) -> None:
        """Read a frame of the sample at hand."""
        reading = _reading(self._pipeline, item, session.frames)
        session.add(reading, item)
        self.reporter.report(session, reading)

    def end(self, why: str, by: str = DEVICE) -> StoredResult:
        """End the sample at hand: its result is on the disk on return."""
        if self.session is None:
            raise SampleError("no sample is being scanned")
        session, code = self.session, self.session.stored.code
        counts, verdict = session.counts(), session.verdict()
        self.session = self.reporter.session = None
        try:
            result = session.end(why, by)
        except StorageError as error:
            raise StorageError(f"{error}. The result of {code} was not kept: {verdict.text}") from error
        log.info("sample %s is in %s: %s", code, result.sample.state, result.sample.reason)
        self.ended = session, result
        failure = self._lifecycle.controls.failure(session.record())
        if failure:
            log.warning("%s", failure)
            self.publisher.event(self._composer.event("warning", "control", failure, code))
        self.tidy()
        self.publisher.wake()
        self.reporter.last(code, counts, verdict)
        return result

    def do(self, command: Command) -> Answer:
        """Do what is asked."""
        answer = perform(command, self._lifecycle, self)
        self.publisher.wake()
        return answer

    def announce_fault(self, fault: EdgeError) -> None:
        """Tell the broker what ended the run."""
        self.publisher.status("fault", str(fault))
        code = "camera" if isinstance(fault, CameraError) else "fault"
        sample = self.ended[0].stored.code if self.ended else ""
        self.publisher.event(self._composer.event("error", code, str(fault), sample))


def _reading(pipeline: Pipeline, item: Item, index: int) -> FieldReading:
    if isinstance(item, RejectedInputError):
        # Not the error's text, which names the file: files are sometimes called after patients.
        log.warning("frame %d cannot be read: %s", index, item.rejection.reason.value)
        return unread(item.name, index, item.rejection)
    return pipeline.read(item)
