"""A sample as the device knows it; messages and stored rows are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from edge.types import Counts, Masked, Scale, Verdict

Stage = Literal["review", "incomplete", "final", "discarded"]
"""What a sample can be in once its scanning has ended; `edge.publish.result_messages.Result` says what each means."""


@dataclass(frozen=True, slots=True)
class UsedNetworks:
    """The two networks that read a sample, with the thresholds of their contracts."""

    runtime: str
    detector_name: str
    detector_version: str
    detector_sha256: str
    classifier_name: str
    classifier_version: str
    classifier_sha256: str
    threshold_score: float
    threshold_sickle: float
    threshold_abstain: float

    @property
    def digests(self) -> tuple[str, str]:
        """SHA-256 of the files of detector and classifier."""
        return self.detector_sha256, self.classifier_sha256


@dataclass(frozen=True, slots=True)
class Period:
    """When a sample was read: wall time, ms since 1970 UTC; duration, monotonic seconds."""

    started_ms: int
    ended_ms: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """All that is known of a sample.

    Attributes:
        sample_id: identifier; a code may be used again on another day.
        code: the clinic's own.
        interruptions: how often its scanning was broken off and went on.
        counts: what was counted.
        verdict: what the counts allow to be said.
        scale: the last scale at which it was read; None when no field was.
        networks: what it was read with.
        period: when it was read.
        masked: what dirt hid of its frames; None where nothing.
    """

    sample_id: UUID
    code: str
    interruptions: int
    counts: Counts
    verdict: Verdict
    scale: Scale | None
    networks: UsedNetworks
    period: Period
    masked: Masked | None = None

    @property
    def frames(self) -> int:
        """Number of frames that were read or rejected."""
        return self.counts.fields_read + sum(self.counts.rejected.values())
