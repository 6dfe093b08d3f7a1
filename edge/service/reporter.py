"""What a run reports while it reads: to its observer each reading, to the broker counts."""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.camera.capture_thread import Mailbox, Notice
from edge.config.model import Config
from edge.errors import CameraError, ConfigError, EdgeError, ModelError, StorageError
from edge.publish.composer import Composer, Health
from edge.publish.messages import Telemetry
from edge.publish.publisher import Publisher, PublisherState
from edge.sample.session import Session
from edge.screening.tally import Tally
from edge.system.health import Machine
from edge.system.tls import CertificateWatch
from edge.types import Counts, FieldReading, Verdict

log = logging.getLogger(__name__)


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


class Reporter:
    """Reports on one run; `session`: the sample that is being scanned, None while idle."""

    def __init__(
        self,
        config: Config,
        composer: Composer,
        publisher: Publisher,
        mailbox: Mailbox,
        observer: Callable[[Snapshot], None],
        models: Callable[[], tuple[int | None, str]] = lambda: (None, ""),
    ) -> None:
        self.session: Session | None = None
        self.latest: Snapshot | None = None
        self.problems: dict[str, str] = {}
        self._config, self._composer, self._publisher = config.mqtt, composer, publisher
        self._machine = Machine(config.device.state_dir)
        self._certificate = CertificateWatch(config.mqtt)
        self._models = models
        self._mailbox, self._observer = mailbox, observer
        self._link = publisher.state()
        self._stage_ms: defaultdict[str, float] = defaultdict(float)
        self._frames = 0
        self._progress_s = self._telemetry_s = time.monotonic()

    def begin(self, session: Session) -> None:
        """Begin to report on a sample: rates are of it, and not of the time before."""
        self.session = session
        self._restart(time.monotonic())

    def report(self, session: Session, reading: FieldReading) -> None:
        """Report one more reading."""
        self._frames += 1
        for stage, ms in reading.stage_ms.items():
            self._stage_ms[stage] += ms
        code, counts, verdict = session.stored.code, session.counts(), session.verdict()
        now = time.monotonic()
        if now - self._progress_s >= self._config.interval_s:
            self._progress_s = now
            self._link = self._publisher.state()
            self._publisher.live(self._composer.progress(code, counts, verdict))
        if now - self._telemetry_s >= self._config.telemetry_interval_s:
            self._send_telemetry(code, counts)
        dropped = self._mailbox.dropped
        self.latest = Snapshot(code, reading, counts, verdict, session.frames, dropped, self._link)
        self._observer(self.latest)

    def idle(self) -> None:
        """Report that the device waits for a sample."""
        if time.monotonic() - self._telemetry_s >= self._config.telemetry_interval_s:
            self._send_telemetry("", Tally().counts())

    def camera(self, notice: Notice) -> None:
        """Report that the camera was lost, which is a fault until it is back, or that it is back."""
        if notice.code == "camera_lost":
            self.problem("camera", notice.text, notice.code)
        else:
            self.solve("camera", notice.text, notice.code)

    def problem(self, name: str, text: str, code: str = "") -> None:
        """Report what hinders the device: the status is `fault` until it is solved.

        Args:
            name: `camera` or `storage`.
            text: what is wrong, in words.
            code: of the event; else the name.
        """
        if self.problems.get(name) == text:
            return
        self.problems = {**self.problems, name: text}
        self._announce("warning", code or name, text)

    def solve(self, name: str, text: str = "", code: str = "") -> None:
        """Report that a problem is solved; nothing where there was none."""
        if name in self.problems:
            self.problems = {other: why for other, why in self.problems.items() if other != name}
            self._announce("info", code or f"{name}_back", text or f"the {name} is in order again")

    def _announce(self, level: Literal["info", "warning"], code: str, text: str) -> None:
        log.warning("%s", text)
        self._publisher.status("fault" if self.problems else "online", "; ".join(self.problems.values()))
        sample = self.session.stored.code if self.session else ""
        self._publisher.event(self._composer.event(level, code, text, sample))

    def last(self, code: str, counts: Counts) -> None:
        """Send the last telemetry of a sample."""
        self._send_telemetry(code, counts)

    def _send_telemetry(self, code: str, counts: Counts) -> None:
        """Send how the device is doing; what hinders that must not hinder reading."""
        now = time.monotonic()
        try:
            self._publisher.live(self._telemetry(code, counts, now))
        except (OSError, StorageError) as error:
            log.warning("no telemetry this time: %s", error)
        self._restart(now)

    def _telemetry(self, code: str, counts: Counts, now: float) -> Telemetry:
        frames, elapsed_s = max(1, self._frames), max(1e-3, now - self._telemetry_s)
        serial, state = self._models()
        health = Health(
            fps=self._frames / elapsed_s,
            frames=self._mailbox.sent,
            frames_dropped=self._mailbox.dropped,
            rss_mb=resident_mb(),
            stage_ms={stage: total / frames for stage, total in self._stage_ms.items()},
            machine=self._machine.health(),
            certificate_ends_ms=self._certificate.ends_ms(),
            models_serial=serial,
            models_state=state,
        )
        for level, code, text in self._machine.news(health.machine):
            self._publisher.event(self._composer.event(level, code, text))
        if ending := self._certificate.news(time.time()):
            self._publisher.event(self._composer.event("warning", "certificate", ending))
        link = self._publisher.state()
        return self._composer.telemetry(
            code,
            counts,
            health,
            pending=link.pending,
            refused=link.refused,
            unheard=link.unheard,
            dropped=link.dropped,
        )

    def _restart(self, now: float) -> None:
        self._telemetry_s, self._frames = now, 0
        self._stage_ms.clear()


def fault_code(fault: EdgeError) -> str:
    """Return the code of the event that tells a fault."""
    return next((code for kind, code in _CODES if isinstance(fault, kind)), "fault")


_CODES = ((ConfigError, "config"), (CameraError, "camera"), (ModelError, "model"), (StorageError, "storage"))


def resident_mb() -> float:
    """Return the memory that this program occupies, in MB (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
