"""A row of the table of samples, its checksum, and the moment at which a row is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from edge.storage.checksums import checksum

State = Literal["scanning", "review", "incomplete", "final", "discarded"]
"""Of a sample; where there is none that is scanned the device is idle."""


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A row.

    Attributes:
        id: identifier of the sample.
        code: the clinic's own.
        day: local date when it was started.
        state: what it is in.
        reason: why, in words, or empty.
        interruptions: how often its scanning was broken off and went on.
        boot_id: of the boot in which it was last written.
        uptime_s: monotonic clock when it was last written.
        changed_ms: wall time when it was last written, milliseconds since 1970 UTC.
        setup: what it is read with, as JSON.
        draft: its result so far, as JSON.
        cells: number of rows of its cells: one that is lost shows.
        reviews: likewise of its reviews.
        crc32: checksum of the row, None where it has none.
        session: token of its newest session, see `scan_marker`; empty when version 0.6 began that.
    """

    id: str
    code: str
    day: str
    state: State
    reason: str
    interruptions: int
    boot_id: str
    uptime_s: float
    changed_ms: int
    setup: str
    draft: str
    session: str = ""
    cells: int = 0
    reviews: int = 0
    crc32: int | None = None

    @property
    def checksum(self) -> int:
        """The checksum that belongs to the row; state and clocks are not in it."""
        return checksum(
            self.id,
            self.code,
            self.day,
            self.interruptions,
            self.session,
            self.cells,
            self.reviews,
            self.setup,
            self.draft,
        )

    @property
    def whole(self) -> bool:
        """Whether the row is the one that was written."""
        return self.crc32 in (None, self.checksum)


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was done; made_ms: wall time, milliseconds since 1970 UTC."""

    made_ms: int
    clock_synchronised: bool
    boot_id: str
    uptime_s: float


COLUMNS = (
    "id, code, day, state, reason, interruptions, boot_id, uptime_s, changed_ms, setup, draft, session, cells, "
    "reviews, crc32"
)
"""Of the table, in the order of `sample_of`."""


def resealed(sample: StoredSample, **changes: Any) -> StoredSample:
    """Return a row with changes and the checksum of it.

    A damaged row stays one.
    """
    changed = replace(sample, **changes)
    return replace(changed, crc32=changed.checksum) if sample.whole else changed


def sample_of(row: Sequence[Any]) -> StoredSample:
    """Return a row as it was read.

    Values of a wrong type, which damage makes, become ones that harm nothing.
    """
    sample_id, code, day, state, reason, interruptions, boot_id, uptime_s, changed_ms, *rest = row
    setup, draft, session, cells, reviews, crc = rest
    return StoredSample(
        sample_id, code, day, state if state in get_args(State) else "incomplete", reason,
        interruptions if isinstance(interruptions, int) else -1, boot_id,
        uptime_s if isinstance(uptime_s, float) else float("-inf"),
        changed_ms if isinstance(changed_ms, int) else 0, setup, draft, session,
        cells if isinstance(cells, int) else -1, reviews if isinstance(reviews, int) else -1, crc,
    )  # fmt: skip
