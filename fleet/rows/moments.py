"""When a message was made, for devices with and without a clock."""

from __future__ import annotations

from edge.publish.message_base import Message
from edge.publish.result_messages import Result

EARLIEST_MS = 1_704_067_200_000
"""2024: no device is older, so a clock that says less is wrong."""

AHEAD_MS = 86_400_000
"""A clock that is further ahead of the collector's is wrong."""

IMPROVED_MS = 5_000
"""A boot's beginning is moved when a message shows that it is earlier by more than this."""


def plausible(at_ms: int, received_ms: int) -> bool:
    """Say whether a wall time can be."""
    return EARLIEST_MS <= at_ms <= received_ms + AHEAD_MS


def clock_time(message: Message, received_ms: int) -> int | None:
    """Return the device's own time of a message, or None where it cannot be believed."""
    return message.ts_ms if message.clock_synchronised and plausible(message.ts_ms, received_ms) else None


def latest_boot(message: Message, received_ms: int) -> int:
    """Return when the device booted at the latest, ms, by the collector's clock."""
    return received_ms - message.uptime_ms


def read_at(result: Result, at_ms: int) -> int:
    """Return when a sample was read, ms, given when its result was made (`at_ms`)."""
    moment = at_ms - (result.ts_ms - result.ended_ms)
    return moment if EARLIEST_MS <= moment <= at_ms else at_ms
