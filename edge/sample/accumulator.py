"""One sample while it is scanned: from its first frame to what may be said of it."""

from __future__ import annotations

import time
from collections.abc import Collection

from edge.config.model import Config
from edge.publish.composer import Period
from edge.publish.messages import Result
from edge.screening.accumulator import Accumulator
from edge.screening.verdict import FLAGS, VerdictRules
from edge.types import CLASSES, Counts, Exclusion, FieldReading, Frame, Reason, Scale, Verdict

CONTROL_FLAGS = frozenset({"control_failed", "control_overdue"})
"""Flags for which a result is withheld where the configuration says so."""


class Sample:
    """What has been read of one sample: the tally, the scale, and when its first and last frames were taken."""

    def __init__(
        self,
        config: Config,
        code: str,
        limit_of_blank: float | None,
        before: Result | None = None,
        flags: Collection[str] = (),
    ) -> None:
        """before: what was read of it earlier, to go on from; the places of its cells are no longer known.

        flags: what is to be known of the sample before its first frame, such as how the control slides stand.
        """
        self.code = code
        self.frames = before.fields_read + before.fields_rejected if before else 0
        raised = set(before.flags.split(",")) & FLAGS_OF_READINGS if before else set(flags)
        if before and before.interruptions:
            raised.add("interrupted")
        screening = config.screening
        rules = VerdictRules(
            screening.min_red_cells, screening.target_red_cells, limit_of_blank,
            CONTROL_FLAGS if config.control.enforce == "withhold" else frozenset(),
        )  # fmt: skip
        counts, scale = (counts_of(before), _scale(before)) if before else (None, None)
        self._accumulator = Accumulator(rules, counts, scale, raised)
        self._before = before if self.frames else None
        self._began: tuple[float, float] | None = None
        self._last = (time.time(), time.monotonic())

    def add(self, reading: FieldReading, frame: Frame | None) -> None:
        """Count a reading of a frame, or of a file that never became one."""
        self._accumulator.add(reading)
        self.frames += 1
        if frame is not None:
            self._last = (frame.captured_at.timestamp(), frame.monotonic_s)
            self._began = self._began or self._last

    def counts(self) -> Counts:
        """Return the counts so far; raises TallyError when they do not add up."""
        return self._accumulator.counts()

    def verdict(self) -> Verdict:
        """Return what the counts so far allow to be said."""
        return self._accumulator.verdict()

    @property
    def scale(self) -> Scale | None:
        """The scale of the last field that was read, or None when there was none."""
        return self._accumulator.scale

    def period(self) -> Period:
        """Return when the sample was read; the duration is of scanning, without what lay between."""
        wall, monotonic = self._began or self._last
        started_ms, ended_ms = int(wall * 1000), int(self._last[0] * 1000)
        duration_s = max(0.0, self._last[1] - monotonic)
        if self._before is None:
            return Period(started_ms, ended_ms, duration_s)
        return Period(
            self._before.started_ms, ended_ms if self._began else self._before.ended_ms,
            self._before.duration_s + duration_s,
        )  # fmt: skip


FLAGS_OF_READINGS = frozenset(FLAGS) - {
    "insufficient", "unfamiliar", "below_target", "no_limit_of_blank", "wbc_may_include_nucleated_red_cells",
    "many_abstained", "scale_estimated",
}  # fmt: skip
"""Flags that do not follow from the counts: they stay with a sample that goes on."""


def counts_of(result: Result) -> Counts:
    """Return the counts that a result tells."""
    return Counts(
        by_class={name: getattr(result, name) for name in CLASSES},
        excluded={reason.value: getattr(result, reason.value) for reason in Exclusion},
        rejected={reason.value: getattr(result, f"rejected_{reason.value}") for reason in Reason},
        cells_seen=result.cells_seen,
        fields_read=result.fields_read,
        area_mm2=result.area_mm2,
        fields_repeated=result.fields_repeated,
        islands=result.islands,
    )


def _scale(result: Result) -> Scale | None:
    if result.um_per_px is None or result.scale_source is None:
        return None
    return Scale(result.um_per_px, result.scale_source, result.scale_spread or 0.0)
