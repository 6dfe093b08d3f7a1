"""Where the reading thread does what is asked, with the sample at hand."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from edge.camera.base import RejectedInputError
from edge.camera.capture_thread import Item
from edge.errors import CameraError, EdgeError, SampleError, StorageError
from edge.pipeline import Pipeline
from edge.publish.messages import Result
from edge.publish.publisher import Publisher
from edge.sample.commands import STOPPED, Answer, Discard, Order, Reopen, Start, Stop, perform, told
from edge.sample.lifecycle import now
from edge.sample.retention import sweep
from edge.sample.session import Reader, Scan
from edge.service.reporter import Reporter
from edge.types import FieldReading, Frame, unread

log = logging.getLogger(__name__)


class Desk:
    """The sample that is being scanned, if any, and what may be done now. ended: the last one, with its result."""

    def __init__(self, pipeline: Pipeline, reader: Reader, publisher: Publisher, reporter: Reporter) -> None:
        self.scan: Scan | None = None
        self.ended: tuple[Scan, Result] | None = None
        self.frame: Frame | None = None
        self.publisher, self.reporter = publisher, reporter
        self._pipeline, self._reader = pipeline, reader

    def recover(self, code: str | None) -> None:
        """Go on with the sample that was being scanned when the program failed, if that can be."""
        found = self._reader.samples.recover(code)
        if found is not None:
            try:
                self._scan(self._reader.go_on(found))
            except SampleError as error:
                log.warning("%s", error)
                self.publisher.event(self._reader.composer.event("warning", "sample", str(error), found.code))

    def start(self, code: str, by: str) -> Scan:
        """Begin a new sample."""
        return self._scan(self._reader.begin(code, by))

    def _scan(self, scan: Scan) -> Scan:
        self._pipeline.new_sample(each_cell_once=True)
        self.scan, self.reporter.sample = scan, scan.sample
        return scan

    def tidy(self) -> None:
        """Remove what is kept longer than it may be; what hinders that must not hinder a sample."""
        try:
            sweep(self._reader.samples, self._reader.config.retention, now())
        except StorageError as error:
            log.error("%s", error)

    def show(self, item: Item) -> None:
        """Keep the camera's newest picture, for whoever looks."""
        if not isinstance(item, RejectedInputError):
            self.frame = item

    def state(self) -> dict[str, Any]:
        """Return what is going on, for JSON; any thread may ask, and sees the sample as of its last frame."""
        scan, latest, link = self.scan, self.reporter.latest, self.publisher.state()
        told: dict[str, Any] = {
            "state": "scanning" if scan else "idle",
            "sample": scan.code if scan else None,
            "id": scan.id if scan else None,
            "connected": link.connected,
            "connection": link.reason,
            "results_waiting": link.pending,
            "results_refused": link.refused,
            "counts": None,
            "verdict": None,
        }
        if scan is not None and latest is not None and latest.sample == scan.code:
            told |= {"counts": asdict(latest.counts), "verdict": asdict(latest.verdict), "frames": latest.frames}
        return told

    def read(self, scan: Scan, item: Item) -> None:
        """Read a frame of the sample at hand."""
        reading = _reading(self._pipeline, item, scan.sample.frames)
        scan.add(reading, item)
        self.reporter.report(scan.sample, reading)

    def end(self, why: str) -> Result:
        """End the sample at hand: its result is on the disk on return."""
        if self.scan is None:
            raise SampleError("no sample is being scanned")
        scan, counts, verdict = self.scan, self.scan.sample.counts(), self.scan.sample.verdict()
        self.scan = self.reporter.sample = None
        try:
            result = scan.end(why)
        except StorageError as error:
            raise StorageError(f"{error}. The result of {scan.code} was not kept: {verdict.text}") from error
        log.info("sample %s is in %s: %s", scan.code, result.stage, result.reason)
        self.ended = scan, result
        news = self._reader.samples.controls.news(result)
        if news:
            log.warning("%s", news)
            self.publisher.event(self._reader.composer.event("warning", "control", news, scan.code))
        self.tidy()
        self.publisher.wake()
        self.reporter.last(scan.sample, counts, verdict)
        return result

    def do(self, order: Order) -> Answer:
        """Do what is asked."""
        samples = self._reader.samples
        if isinstance(order, Start):
            return told(samples.store.find(self.start(order.sample, order.by).id))
        if isinstance(order, Stop):
            return told(samples.store.find(str(self.end(STOPPED).sample_id)))
        if isinstance(order, Reopen) and samples.store.find(order.sample).state in ("review", "incomplete"):
            return told(samples.store.find(self._scan(self._reopened(order)).id))
        answer = perform(samples, order)
        if isinstance(order, Discard) and self.scan is not None and answer["id"] == self.scan.id:
            self.scan = self.reporter.sample = None
        self.publisher.wake()
        return answer

    def _reopened(self, order: Reopen) -> Scan:
        return self._reader.go_on(self._reader.samples.reopen(order.sample, order.by, order.reason))

    def tell(self, fault: EdgeError) -> None:
        """Tell the broker what ended the run."""
        self.publisher.status("fault", str(fault))
        code, compose = "camera" if isinstance(fault, CameraError) else "fault", self._reader.composer
        sample = self.ended[0].code if self.ended else ""
        self.publisher.event(compose.event("error", code, str(fault), sample))


def _reading(pipeline: Pipeline, item: Item, index: int) -> FieldReading:
    if isinstance(item, RejectedInputError):
        # Not the error's text, which names the file: files are sometimes called after patients.
        log.warning("frame %d cannot be read: %s", index, item.rejection.reason.value)
        return unread(item.name, index, item.rejection)
    return pipeline.read(item)
