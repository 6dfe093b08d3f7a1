"""Gaps in the numbers of a device's messages, for each run of its program."""

from __future__ import annotations

from dataclasses import dataclass

RESTART_SLACK_MS = 1_000
"""A program does not start again within this time of its last message."""


@dataclass(slots=True)
class Run:
    """The messages of one run of a device's program that have come.

    Attributes:
        id: of its row; 0 for a run that has none yet.
        boot: row of the boot.
        first_seq: lowest number that has come.
        last_seq: highest number that has come.
        last_uptime_ms: monotonic time of the latter.
        seen: how many different messages have come.
        dropped: how many the device says that it never sent.
        connections: how often it said what it is made of, once for each connection: a last will takes a number too, and
            is sent by the broker or never.
    """

    id: int
    boot: int
    first_seq: int
    last_seq: int
    last_uptime_ms: int
    seen: int = 0
    dropped: int = 0
    connections: int = 0

    def add(self, seq: int, uptime_ms: int) -> None:
        """Take in a message that has not come before."""
        self.seen += 1
        self.first_seq = min(self.first_seq, seq)
        if seq > self.last_seq:
            self.last_seq, self.last_uptime_ms = seq, uptime_ms


def run_of(runs: list[Run], boot: int, seq: int, uptime_ms: int) -> Run:
    """Return the run that a message belongs to, which is added to `runs` where it is new.

    A run numbers its messages from the milliseconds since boot at its start, and makes fewer than one in a
    millisecond. So a number above the monotonic time of an earlier message is of a later run.

    Args:
        runs: of one boot, in any order.
        boot: row of the boot.
        seq: number of the message.
        uptime_ms: monotonic time at which it was made.
    """
    before = max((run for run in runs if run.first_seq <= seq), key=lambda run: run.first_seq, default=None)
    if before is not None and seq <= before.last_uptime_ms + RESTART_SLACK_MS:
        return before
    after = min((run for run in runs if run.first_seq > seq), key=lambda run: run.first_seq, default=None)
    if after is not None and after.first_seq <= uptime_ms + RESTART_SLACK_MS:
        return after
    runs.append(Run(0, boot, seq, seq, uptime_ms))
    return runs[-1]
