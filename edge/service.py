"""A run: threads and life cycle round the pipeline. The camera has a thread, MQTT its own, and this one reads frames.

A run is one sample. It ends when the camera does, after a number of frames, or when asked to stop; its result is in
the outbox, on the disk, before anything of it is sent.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.building import Building
from edge.camera.base import RejectedInputError, open_camera
from edge.config import Config
from edge.configfile import sample_code
from edge.database import Database, database_path
from edge.errors import CameraError, ConfigError, EdgeError, StorageError
from edge.heartbeat import Heartbeat
from edge.machine import Machine
from edge.mailbox import Item, Mailbox, Notice, capturing
from edge.pipeline import Pipeline
from edge.publish.compose import Composer, Health, Models
from edge.publish.message import Result
from edge.publish.mqtt import Publisher, PublisherState, Resent
from edge.publish.mqtt import resend as send_again
from edge.publish.outbox import Outbox, take_over
from edge.sample import Sample, new_sample_code
from edge.types import Counts, FieldReading, Verdict, unread

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often a wait for a frame looks whether the run is to stop."""

CAPTURE_S = 5.0
"""So much longer than its own deadline may a camera be silent before systemd hears no more of the service."""

SENDER_S = 30.0
"""How long the sender may be silent: longer than a disk that is busy holds it."""

ACKNOWLEDGE_S = 5.0
"""How long the end of a run waits for the broker to take the result."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What to show while a sample is read. dropped: frames that came while another was read."""

    sample: str
    reading: FieldReading
    counts: Counts
    verdict: Verdict
    frames: int
    dropped: int
    link: PublisherState


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run. fault: the error that ended it, for the caller to raise when all is shown.

    fate: what became of the result: `taken` by the broker, `waiting` in the outbox for the next run, `refused` by the
    broker, or `unsent` because MQTT is switched off.
    """

    sample: str
    counts: Counts
    verdict: Verdict
    frames: int
    dropped: int
    fate: Literal["taken", "waiting", "refused", "unsent"]
    link: PublisherState
    fault: EdgeError | None


@contextmanager
def opened_outbox(config: Config) -> Iterator[Outbox]:
    """Open the device's database, and give its outbox with what an earlier version left waiting."""
    with Database(database_path(config)) as database:
        taken = take_over(database, config.device.state_dir / "outbox.sqlite3")
        if taken:
            log.info("%d results of an earlier version were taken over", taken)
        yield Outbox(database)


class Service:
    """One run. observer: called in the caller's thread after each frame, so it should be quick."""

    def __init__(
        self,
        config: Config,
        sample: str | None = None,
        frames: int | None = None,
        observer: Callable[[Snapshot], None] = lambda _: None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.config = config
        self._heartbeat = heartbeat or Heartbeat()
        self.sample = sample_code(sample) if sample is not None else new_sample_code()
        self._frames = frames
        self._observer = observer
        self._stopping = False

    def stop(self) -> None:
        """Ask the run to end after the frame at hand. Takes no lock, so a signal handler may call it."""
        self._stopping = True

    def run(self) -> Outcome:
        """Read a sample to its end and hand its result over.

        Raises ModelError, CameraError, InputError, StorageError or ConfigError when it cannot begin, and StorageError
        when the result cannot be kept. What fails later, such as the camera, ends the sample: see Outcome.fault.
        """
        config, composer = self.config, Composer(self.config.device)
        with ExitStack() as stack:
            outbox = stack.enter_context(opened_outbox(config))
            self._heartbeat.starting("loading the networks")
            with Building(config, composer, outbox, self._heartbeat.starting) as building:
                pipeline = stack.enter_context(Pipeline(config, progress=building))
            camera = open_camera(config.camera, config.quality.megapixels_max)
            mailbox = stack.enter_context(
                capturing(camera, reconnect_s=config.camera.reconnect_s, join_s=config.camera.read_timeout_s)
            )
            models = Models.of(pipeline.detector, pipeline.classifier)
            um_per_px = pipeline.known_um_per_px
            publisher = stack.enter_context(
                Publisher(
                    config.mqtt, composer, outbox, lambda: composer.birth(models, camera.name, um_per_px),
                    alive=lambda: self._heartbeat.came("sender"),
                )
            )  # fmt: skip
            sample = Sample(config, self.sample, pipeline.classifier.contract.limit_of_blank)
            reporter = _Reporter(config, composer, publisher, sample, self._observer)
            self._heartbeat.ready(f"reading sample {self.sample} from {camera.name}")
            if config.mqtt.enabled:
                self._heartbeat.expect("sender", SENDER_S)
            if camera.live:
                self._heartbeat.expect("capture", config.camera.read_timeout_s + CAPTURE_S)
            fault = self._read(pipeline, mailbox, sample, reporter)
            mailbox.end()
            self._heartbeat.excuse("capture")
            # Within, so that the result is on the disk before anyone waits for a slow camera's last read.
            return self._finish(outbox, publisher, composer, models, sample, reporter, fault)

    def _read(self, pipeline: Pipeline, mailbox: Mailbox, sample: Sample, reporter: _Reporter) -> EdgeError | None:
        """Read frames until the end; return the error if one was the end."""
        pipeline.new_sample(each_cell_once=True)
        while not (self._stopping or mailbox.ended or sample.frames == self._frames):
            try:
                self._heartbeat.turn()
                item = mailbox.take(POLL_S)
                for notice in mailbox.notices():
                    reporter.camera(notice)
                    self._heed(notice)
                if item is not None:
                    self._heartbeat.came("capture")
                    reading = _reading(pipeline, item, sample.frames)
                    sample.add(reading, None if isinstance(item, RejectedInputError) else item)
                    reporter.report(reading, mailbox)
            except EdgeError as error:
                log.error("%s", error)
                return error
        return None

    def _heed(self, notice: Notice) -> None:
        """Expect no frame of a camera that is being looked for, but that the looking ends: with opening and a read."""
        camera = self.config.camera
        looks_s = camera.reconnect_s + camera.read_timeout_s if notice.code == "camera_lost" else 0.0
        self._heartbeat.expect("capture", looks_s + camera.read_timeout_s + CAPTURE_S)
        self._heartbeat.status(notice.text)

    def _finish(
        self,
        outbox: Outbox,
        publisher: Publisher,
        composer: Composer,
        models: Models,
        sample: Sample,
        reporter: _Reporter,
        fault: EdgeError | None,
    ) -> Outcome:
        counts, verdict = sample.counts(), sample.verdict()
        result = composer.result(self.sample, counts, verdict, sample.scale, models, sample.period())
        try:
            publisher.result(result)
        except StorageError as error:
            raise StorageError(f"{error}. The result of {self.sample} was not kept: {verdict.text}") from error
        if fault is not None:
            publisher.status("fault", str(fault))
            code = "camera" if isinstance(fault, CameraError) else "fault"
            publisher.event(composer.event("error", code, str(fault), self.sample))
        reporter.publish(counts, verdict)
        publisher.drain(ACKNOWLEDGE_S)
        return Outcome(
            sample=self.sample,
            counts=counts,
            verdict=verdict,
            frames=sample.frames,
            dropped=reporter.dropped,
            fate=_fate(self.config, outbox, result),
            link=publisher.state(),
            fault=fault,
        )


def _reading(pipeline: Pipeline, item: Item, index: int) -> FieldReading:
    if isinstance(item, RejectedInputError):
        # Not the error's text, which names the file: files are sometimes called after patients.
        log.warning("frame %d cannot be read: %s", index, item.rejection.reason.value)
        return unread(item.name, index, item.rejection)
    return pipeline.read(item)


def _fate(config: Config, outbox: Outbox, result: Result) -> Literal["taken", "waiting", "refused", "unsent"]:
    if not config.mqtt.enabled:
        return "unsent"
    if str(result.id) in {row.id for row in outbox.refused()}:
        return "refused"
    return "waiting" if str(result.id) in {row.id for row in outbox.pending()} else "taken"


class _Reporter:
    """Tells the observer each reading, and the broker the running counts every now and then."""

    def __init__(
        self,
        config: Config,
        composer: Composer,
        publisher: Publisher,
        sample: Sample,
        observer: Callable[[Snapshot], None],
    ) -> None:
        self.dropped = 0
        self._config = config.mqtt
        self._composer, self._publisher, self._sample, self._observer = composer, publisher, sample, observer
        self._link = publisher.state()
        self._machine = Machine(config.device.state_dir)
        self._taken = 0
        self._stage_ms: defaultdict[str, float] = defaultdict(float)
        self._frames = 0
        self._progress_s = self._telemetry_s = time.monotonic()

    def report(self, reading: FieldReading, mailbox: Mailbox) -> None:
        """Tell of one more reading."""
        self.dropped, self._taken = mailbox.dropped, mailbox.sent
        self._frames += 1
        for stage, ms in reading.stage_ms.items():
            self._stage_ms[stage] += ms
        counts, verdict = self._sample.counts(), self._sample.verdict()
        now = time.monotonic()
        if now - self._progress_s >= self._config.interval_s:
            self._progress_s = now
            self._link = self._publisher.state()
            self._publisher.live(self._composer.progress(self._sample.code, counts, verdict))
        if now - self._telemetry_s >= self._config.telemetry_interval_s:
            self._send_telemetry(counts)
        self._observer(
            Snapshot(self._sample.code, reading, counts, verdict, self._sample.frames, self.dropped, self._link)
        )

    def camera(self, notice: Notice) -> None:
        """Tell that the camera was lost, which is a fault until it is back, and that it is back."""
        lost = notice.code == "camera_lost"
        log.warning("%s", notice.text)
        self._publisher.status("fault" if lost else "online", notice.text if lost else "")
        event = self._composer.event("warning" if lost else "info", notice.code, notice.text, self._sample.code)
        self._publisher.event(event)

    def publish(self, counts: Counts, verdict: Verdict) -> None:
        """Send the last counts and telemetry of the sample."""
        self._publisher.live(self._composer.progress(self._sample.code, counts, verdict))
        self._send_telemetry(counts)

    def _send_telemetry(self, counts: Counts) -> None:
        now = time.monotonic()
        frames, elapsed_s = max(1, self._frames), max(1e-3, now - self._telemetry_s)
        health = Health(
            fps=self._frames / elapsed_s,
            frames=self._taken,
            frames_dropped=self.dropped,
            rss_mb=resident_mb(),
            stage_ms={stage: total / frames for stage, total in self._stage_ms.items()},
            machine=self._machine.health(),
        )
        for level, code, text in self._machine.news(health.machine):
            self._publisher.event(self._composer.event(level, code, text))
        link = self._publisher.state()
        self._publisher.live(
            self._composer.telemetry(
                self._sample.code, counts, health, pending=link.pending, refused=link.refused, dropped=link.dropped
            )
        )
        self._telemetry_s, self._frames = now, 0
        self._stage_ms.clear()


def resident_mb() -> float:
    """Return the memory that this program occupies, in MB (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def resend(config: Config) -> Resent:
    """Send every result that was refused, or still waits; may be called while a service runs on the same outbox.

    Raises StorageError when the outbox cannot be read, BrokerError when the broker cannot be reached, ConfigError when
    MQTT is switched off.
    """
    if not config.mqtt.enabled:
        raise ConfigError("mqtt.enabled is false: nothing can be sent. Set it to true in sicklescope.toml")
    with opened_outbox(config) as outbox:
        return send_again(config.mqtt, Composer(config.device), outbox)
