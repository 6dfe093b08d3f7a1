"""From what was counted to the messages: stamps each with who, when and which number."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count
from typing import Any, Literal
from uuid import UUID, uuid4

from edge.config.model import DeviceConfig
from edge.publish.messages import Birth, Event, Progress, Reply, Result, Status, Telemetry
from edge.runtime.base import Network
from edge.runtime.contract import Contract
from edge.system.clock import boot_id, clock_synchronised
from edge.system.health import MachineHealth
from edge.types import CLASSES, Counts, Exclusion, Reason, Scale, Verdict

HISTORICAL_MS = 10_000
"""A message that leaves later than so after it was made tells of the past."""

_FRESH, _HISTORICAL = '"historical":false', '"historical":true'
"""As pydantic writes the key. No value can hold the same bytes: a quote within a text is escaped."""


@dataclass(frozen=True, slots=True)
class Models:
    """The two networks as the messages name them; `of` takes them from a pipeline."""

    detector: Contract
    detector_sha256: str
    classifier: Contract
    classifier_sha256: str
    runtime: str

    @classmethod
    def of(cls, detector: Network, classifier: Network) -> Models:
        """Take the names from two loaded networks."""
        runtimes = dict.fromkeys((detector.runtime, classifier.runtime))
        return cls(detector.contract, detector.sha256, classifier.contract, classifier.sha256, " + ".join(runtimes))

    def as_fields(self) -> dict[str, Any]:
        """Return the fields of `Networks`."""
        return {
            "runtime": self.runtime,
            "detector_name": self.detector.name,
            "detector_version": self.detector.version,
            "detector_sha256": self.detector_sha256,
            "classifier_name": self.classifier.name,
            "classifier_version": self.classifier.version,
            "classifier_sha256": self.classifier_sha256,
        }


@dataclass(frozen=True, slots=True)
class Period:
    """When a sample was read: wall time in milliseconds since 1970 UTC, duration in seconds of the monotonic clock."""

    started_ms: int
    ended_ms: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Life:
    """Which sample a result is of. interruptions: how often its scanning was broken off and went on."""

    sample_id: UUID
    code: str
    interruptions: int = 0


Stage = Literal["review", "incomplete", "final", "discarded"]
"""See `Result.stage`."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the device is doing; see `Telemetry` for each number. stage_ms: by stage, without prefix or unit."""

    fps: float
    frames: int
    frames_dropped: int
    rss_mb: float
    stage_ms: Mapping[str, float]
    machine: MachineHealth


class Composer:
    """Makes the messages of one device. Any thread may call it. The clocks are given by a test, seconds each.

    Raises pydantic's ValidationError where a number breaks the contract, such as counts that do not add up.
    """

    def __init__(
        self,
        device: DeviceConfig,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        synchronised: Callable[[], bool] = clock_synchronised,
    ) -> None:
        self.site = device.site
        self.device = device.device
        self._wall = wall
        self._monotonic = monotonic
        self._synchronised = synchronised
        # From the milliseconds since boot: a program that starts again on the same boot goes on above its last one.
        self._seq = count(int(monotonic() * 1000))

    def _stamp(self, sample: str) -> dict[str, Any]:
        return {
            "ts_ms": int(self._wall() * 1000),
            "clock_synchronised": self._synchronised(),
            "uptime_ms": int(self._monotonic() * 1000),
            "boot_id": boot_id(),
            "site": self.site,
            "device": self.device,
            "sample": sample,
            "seq": next(self._seq),
        }

    def dated(self, payload: str) -> tuple[str, bool]:
        """Return a payload as it leaves now, marked when it is `historical`, and whether it is; ValueError for no JSON.

        The mark is set in the text, for all else has to stay as it was stored, byte for byte.
        """
        made = json.loads(payload)
        age_ms = int(self._monotonic() * 1000) - made.get("uptime_ms", 0)
        historical = made.get("boot_id") != boot_id() or age_ms > HISTORICAL_MS
        return payload.replace(_FRESH, _HISTORICAL, 1) if historical else payload, historical

    def status(
        self,
        state: Literal["online", "offline", "stopped", "fault", "building"],
        reason: str = "",
        sample: str = "",
    ) -> Status:
        """Say whether the device is there."""
        return Status(**self._stamp(sample), state=state, reason=reason)

    def birth(self, models: Models, camera: str, um_per_px: float | None, challenge: str | None = None) -> Birth:
        """Say what the device is made of; um_per_px is None when it is estimated for each sample.

        challenge: of the next command, where commands are taken.
        """
        return Birth(
            **self._stamp(""),
            **models.as_fields(),
            sicklescope_version=version("sicklescope"),
            python_version=platform.python_version(),
            classes=",".join(CLASSES),
            camera=camera,
            um_per_px=um_per_px,
            command_challenge=challenge,
        )

    def reply(self, command: str, answer: Mapping[str, str], error: str) -> Reply:
        """Answer a command: what came of it, or why it was not done."""
        return Reply(
            **self._stamp(answer.get("sample", "")),
            command=command,
            error=error,
            sample_id=answer.get("id", ""),
            state=answer.get("state", ""),
        )

    def progress(self, sample: str, counts: Counts, verdict: Verdict) -> Progress:
        """Tell the running counts."""
        return Progress(**self._stamp(sample), **_counted(counts, verdict))

    def draft(
        self, life: Life, counts: Counts, verdict: Verdict, scale: Scale | None, models: Models, period: Period
    ) -> Result:
        """Return what a sample's first result would be if it ended now; scale is None when no field was read.

        It is kept and not sent: its stamps are of now, but it takes no number.
        """
        return Result(
            **{**self._stamp(life.code), "seq": 0},
            **_counted(counts, verdict),
            **_rejected(counts.rejected),
            **models.as_fields(),
            id=life.sample_id,
            sample_id=life.sample_id,
            revision=1,
            stage="incomplete",
            reason="",
            interruptions=life.interruptions,
            verdict=verdict.status,
            text=verdict.text,
            flags=",".join(verdict.flags),
            fraction_if_none=verdict.fraction_if_none,
            fraction_if_all=verdict.fraction_if_all,
            limit_of_blank=verdict.limit_of_blank,
            above_blank=verdict.above_blank,
            um_per_px=scale.um_per_px if scale else None,
            scale_source=scale.source if scale else None,
            scale_spread=scale.spread if scale else None,
            threshold_score=models.detector.thresholds["score"],
            threshold_sickle=models.classifier.thresholds["sickle"],
            threshold_abstain=models.classifier.thresholds["abstain"],
            started_ms=period.started_ms,
            ended_ms=period.ended_ms,
            duration_s=period.duration_s,
        )

    def result(self, before: Result, revision: int, stage: Stage, reason: str, **reviewed: Any) -> Result:
        """Return the next result of a sample, stamped now, with a new UUID: a draft, or the result before, brought on.

        reviewed: the fields of `Reviewed`, where a person has looked at cells.
        """
        changed = {
            **before.model_dump(by_alias=True),
            **self._stamp(before.sample),
            "id": uuid4(),
            "revision": revision,
            "stage": stage,
            "reason": reason,
            **reviewed,
        }
        return Result.model_validate(changed)

    def telemetry(
        self, sample: str, counts: Counts, health: Health, *, pending: int, refused: int, dropped: int
    ) -> Telemetry:
        """Tell how the device is doing; the last three are the publisher's state()."""
        fields: dict[str, Any] = {
            **self._stamp(sample),
            **_rejected(counts.rejected),
            "fps": health.fps,
            "frames": health.frames,
            "frames_dropped": health.frames_dropped,
            "outbox_pending": pending,
            "outbox_refused": refused,
            "messages_dropped": dropped,
            "rss_mb": health.rss_mb,
            **asdict(health.machine),
            "throttling": _joined(health.machine.throttling),
            "throttled_before": _joined(health.machine.throttled_before),
            **{f"stage_{name}_ms": ms for name, ms in health.stage_ms.items()},
        }
        return Telemetry.model_validate(fields)

    def event(self, level: Literal["info", "warning", "error"], code: str, text: str, sample: str = "") -> Event:
        """Tell that something happened."""
        return Event(**self._stamp(sample), level=level, code=code, text=text)


def _counted(counts: Counts, verdict: Verdict) -> dict[str, Any]:
    return {
        **{name: counts.by_class[name] for name in CLASSES},
        **{reason.value: counts.excluded.get(reason.value, 0) for reason in Exclusion},
        "cells_seen": counts.cells_seen,
        "red_cells": counts.red_cells,
        "fields_read": counts.fields_read,
        "fields_repeated": counts.fields_repeated,
        "fields_rejected": sum(counts.rejected.values()),
        "islands": counts.islands,
        "area_mm2": counts.area_mm2,
        "fraction": verdict.fraction,
        "fraction_low": verdict.low,
        "fraction_high": verdict.high,
    }


def _rejected(rejected: Mapping[str, int]) -> dict[str, Any]:
    return {f"rejected_{reason.value}": rejected.get(reason.value, 0) for reason in Reason}


def _joined(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else ",".join(names)
