"""A sample while it is scanned: read, counted, stored, and ended by a rule or when asked."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from importlib.metadata import version
from uuid import uuid4

from edge.camera.base import RejectedInputError
from edge.camera.capture_thread import Item
from edge.config.model import Config, StopConfig
from edge.errors import SampleError
from edge.publish.sample_fields import network_fields
from edge.runtime.base import Network
from edge.sample.blanks import optics_of
from edge.sample.cell_records import CellChanges, CellRecorder
from edge.sample.codes import CONTROL
from edge.sample.lifecycle import DEVICE, Lifecycle, StoredResult
from edge.sample.sample_row import StoredSample
from edge.screening.accumulator import Accumulator
from edge.screening.sample_record import Period, SampleRecord, UsedNetworks
from edge.screening.verdict import FLAGS, VerdictRules
from edge.system.digest import sha256_file
from edge.types import Counts, FieldReading, Frame, Verdict

CONTROL_FLAGS = frozenset({"control_failed", "control_overdue"})
"""Flags for which a result is withheld where the configuration says so."""

FLAGS_OF_READINGS = frozenset(FLAGS) - {
    "insufficient", "unfamiliar", "below_target", "no_limit_of_blank", "wbc_may_include_nucleated_red_cells",
    "many_abstained", "scale_estimated", "blank_site", "blank_provisional", "blank_stale",
}  # fmt: skip
"""Flags that do not follow from the counts: they stay with a sample that goes on."""

OTHER_NETWORKS = "it was read with other networks or thresholds, which cannot be mixed in one sample"


class SessionFactory:
    """Makes sessions with a device's networks, camera and configuration. One thread uses it."""

    def __init__(
        self, config: Config, lifecycle: Lifecycle, detector: Network, classifier: Network, camera: str
    ) -> None:
        """Take what samples are read with; camera: its name."""
        self.config, self.lifecycle = config, lifecycle
        self.networks = networks_of(detector, classifier)
        self._detector, self._classifier, self._camera = detector.contract, classifier.contract, camera
        calibration = config.optics.calibration
        # Of the file that the pipeline was made with: it may be moved away while the service runs.
        self._calibration_sha256 = sha256_file(calibration) if calibration else None
        withhold = CONTROL_FLAGS if config.control.enforce == "withhold" else frozenset[str]()
        self._rules = VerdictRules(
            config.screening.min_red_cells,
            config.screening.target_red_cells,
            self._classifier.limit_of_blank,
            withhold,
            novelty_max=self._classifier.thresholds.get("novelty_field"),
        )

    def begin(self, code: str, by: str) -> Session:
        """Begin a new sample.

        Raises:
            SampleError: The code cannot be used, or another sample is being scanned.
            StorageError: The sample cannot be stored.
        """
        code = self.lifecycle.code(code)
        flags = self.lifecycle.controls.flags(code, self.config.control, self.networks.digests)
        rules, stale = self._rules_now()
        nothing, now_ms = Accumulator(rules, flags=flags | stale), int(time.time() * 1000)
        record = SampleRecord(
            sample_id=uuid4(),
            code=code,
            interruptions=0,
            counts=nothing.counts(),
            verdict=nothing.verdict(),
            scale=None,
            networks=self.networks,
            period=Period(now_ms, now_ms, 0.0),
        )
        stored = self.lifecycle.start(record, self._setup(), by)
        return Session(self, stored, record, nothing, first_cell=0)

    def go_on(self, sample: StoredSample) -> Session:
        """Scan a sample further that was broken off.

        Raises:
            SampleError: It was read with other networks; it is then incomplete.
        """
        record = self.lifecycle.record(sample)
        if replace(record.networks, runtime="") != replace(self.networks, runtime=""):
            self.lifecycle.give_up(sample, OTHER_NETWORKS)
            raise SampleError(f"sample {sample.code} cannot go on: {OTHER_NETWORKS}. Begin a new one")
        flags = set(record.verdict.flags) & FLAGS_OF_READINGS
        if record.interruptions:
            flags.add("interrupted")
        rules, stale = self._rules_now()
        before = Accumulator(rules, record.counts, record.scale, flags | stale, record.masked)
        return Session(self, sample, record, before, self.lifecycle.store.next_number(sample.id))

    def _rules_now(self) -> tuple[VerdictRules, frozenset[str]]:
        """Return what verdicts are made by with the blank slides as they are, and the flag of stale ones."""
        blanks, with_these = self.lifecycle.blanks, (self.networks.digests, optics_of(self._setup()))
        return replace(self._rules, site_blank=blanks.in_force(*with_these)), blanks.flags(*with_these)

    def _setup(self) -> str:
        """Return what a sample is read with, as JSON, beside what its results tell."""
        settings = {"quality", "optics", "screening"}
        return json.dumps(
            {
                "sicklescope": version("sicklescope"),
                "camera": self._camera,
                "calibration_sha256": self._calibration_sha256,
                **network_fields(self.networks),
                "thresholds": {**self._detector.thresholds, **self._classifier.thresholds},
                "log_odds": self._classifier.log_odds,
                **self.config.model_dump(mode="json", include=settings),
            },
            ensure_ascii=False,
        )


class Session:
    """The scanning of one sample, from now to its end."""

    def __init__(
        self,
        factory: SessionFactory,
        stored: StoredSample,
        before: SampleRecord,
        accumulator: Accumulator,
        first_cell: int,
    ) -> None:
        """Begin to scan.

        Args:
            factory: what the sample is read with.
            stored: the sample's row.
            before: what is known of it.
            accumulator: counts from there on.
            first_cell: number above those of all cells that are stored.
        """
        screening = factory.config.screening
        # A control slide is always read up to the target, that one day's reading is worth as much as the next's.
        self._stop = StopConfig() if before.code.startswith(f"{CONTROL}-") else screening.stop
        self._target, self._store_interval_s = screening.target_red_cells, screening.store_interval_s
        self.stored, self.frames = stored, before.frames
        self._lifecycle, self._networks = factory.lifecycle, factory.networks
        self._before, self._accumulator = before, accumulator
        self._clock = _FrameTimes(before)
        drawn = factory.lifecycle.store.pictured_normals(stored.id) if first_cell else []
        self._recorder = CellRecorder(stored.id, first_cell, before.counts.islands, drawn)
        self._changes: list[CellChanges] = []
        self._stored_s = time.monotonic()

    def add(self, reading: FieldReading, item: Item) -> None:
        """Count a reading."""
        self._accumulator.add(reading)
        if not isinstance(item, RejectedInputError):
            self._clock.add(item)
            changes = self._recorder.changes(reading, item.pixels, self.frames)
            self._changes += [changes] if changes else []
        self.frames += 1

    def save_when_due(self) -> bool:
        """Store the sample when it is time; return whether it was stored.

        Raises:
            SampleError: Another program erased it.
            StorageError: It cannot be stored; what was counted stays in memory, and is due again after the interval.
        """
        if time.monotonic() - self._stored_s < self._store_interval_s:
            return False
        try:
            self.stored = self._lifecycle.save(self.stored, self.record(), self._changes)
        finally:
            self._stored_s = time.monotonic()
        self._changes.clear()
        return True

    def counts(self) -> Counts:
        """Return the counts so far."""
        return self._accumulator.counts()

    def verdict(self) -> Verdict:
        """Return what the counts so far allow to be said."""
        return self._accumulator.verdict()

    def record(self) -> SampleRecord:
        """Return the sample as it is now."""
        return SampleRecord(
            sample_id=self._before.sample_id,
            code=self._before.code,
            interruptions=self._before.interruptions,
            counts=self.counts(),
            verdict=self.verdict(),
            scale=self._accumulator.scale,
            networks=self._networks,
            period=self._clock.period(),
            masked=self._accumulator.masked,
        )

    def rule(self) -> str:
        """Return the rule by which the scanning is to end, in words, or nothing."""
        counts = self.counts()
        if self._stop.at_target and counts.red_cells >= self._target:
            return f"the target of {self._target} red cells was reached"
        if self._stop.fields is not None and counts.fields_read >= self._stop.fields:
            return f"{self._stop.fields} fields were read"
        if self._stop.minutes is not None and self._clock.period().duration_s >= 60 * self._stop.minutes:
            return f"{self._stop.minutes:g} minutes were over"
        return ""

    def end(self, why: str, by: str = DEVICE) -> StoredResult:
        """End the scanning by a rule, or early, for `why`: its result is on the disk on return.

        It can be called again when the result cannot be stored: what was counted stays in memory.
        """
        rule = self.rule()
        whole = bool(rule) or self.counts().red_cells >= self._target
        return self._lifecycle.end(
            self.stored, self.record(), self._changes, "review" if whole else "incomplete", rule or why, by
        )


class _FrameTimes:
    """When the first and the last frame of a sample were taken."""

    def __init__(self, before: SampleRecord) -> None:
        self._before = before.period if before.frames else None
        self._first: tuple[float, float] | None = None
        self._last = (time.time(), time.monotonic())

    def add(self, frame: Frame) -> None:
        # A frame may have waited for this session, since before it began. The wall clock may jump: monotonic decides.
        if frame.monotonic_s > self._last[1]:
            self._last = (frame.captured_at.timestamp(), frame.monotonic_s)
        self._first = self._first or self._last

    def period(self) -> Period:
        """Return when the sample was read; the duration is of scanning, without what lay between."""
        wall_s, monotonic_s = self._first or self._last
        started_ms, ended_ms = int(wall_s * 1000), int(self._last[0] * 1000)
        duration_s = max(0.0, self._last[1] - monotonic_s)
        if self._before is None:
            return Period(started_ms, ended_ms, duration_s)
        return Period(
            self._before.started_ms,
            ended_ms if self._first else self._before.ended_ms,
            self._before.duration_s + duration_s,
        )


def networks_of(detector: Network, classifier: Network) -> UsedNetworks:
    """Return what a sample's record says of two loaded networks."""
    runtimes = dict.fromkeys((detector.runtime, classifier.runtime))
    return UsedNetworks(
        runtime=" + ".join(runtimes),
        detector_name=detector.contract.name,
        detector_version=detector.contract.version,
        detector_sha256=detector.sha256,
        classifier_name=classifier.contract.name,
        classifier_version=classifier.contract.version,
        classifier_sha256=classifier.sha256,
        threshold_score=detector.contract.thresholds["score"],
        threshold_sickle=classifier.contract.thresholds["sickle"],
        threshold_abstain=classifier.contract.thresholds["abstain"],
    )
