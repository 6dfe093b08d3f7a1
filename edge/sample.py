"""One sample: from its first frame to what may be said of it."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from edge.config import Config
from edge.publish.clock import boot_id
from edge.publish.compose import Period
from edge.screening.tally import Tally
from edge.screening.verdict import assess
from edge.types import Counts, FieldReading, Frame, Scale, Verdict


def new_sample_code() -> str:
    """Return a code for a sample that was given none: when it began, and the boot, for the clock may be wrong."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{boot_id()[:8]}"


class Sample:
    """What has been read of one sample: the tally, the scale, and when its first and last frames were taken."""

    def __init__(self, config: Config, code: str, limit_of_blank: float | None) -> None:
        self.code = code
        self.frames = 0
        self.scale: Scale | None = None
        self._config = config
        self._limit_of_blank = limit_of_blank
        self._tally = Tally()
        self._flags: set[str] = set()
        self._began: tuple[float, float] | None = None
        self._last = (time.time(), time.monotonic())

    def add(self, reading: FieldReading, frame: Frame | None) -> None:
        """Count a reading of a frame, or of a file that never became one."""
        self._tally.add(reading)
        self._flags.update(reading.flags)
        self.frames += 1
        if reading.rejected is None and reading.scale is not None:
            self.scale = reading.scale
        if frame is not None:
            self._last = (frame.captured_at.timestamp(), frame.monotonic_s)
            self._began = self._began or self._last

    def counts(self) -> Counts:
        """Return the counts so far; raises TallyError when they do not add up."""
        return self._tally.counts()

    def verdict(self) -> Verdict:
        """Return what the counts so far allow to be said."""
        return assess(
            self.counts(),
            min_red_cells=self._config.screening.min_red_cells,
            target_red_cells=self._config.screening.target_red_cells,
            limit_of_blank=self._limit_of_blank,
            scale_estimated=self.scale is not None and self.scale.source in ("estimated", "locked"),
            flags=self._flags,
        )

    def period(self) -> Period:
        """Return when the sample was read."""
        wall, monotonic = self._began or self._last
        return Period(int(wall * 1000), int(self._last[0] * 1000), max(0.0, self._last[1] - monotonic))
