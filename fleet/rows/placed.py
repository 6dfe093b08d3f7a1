"""A message with the device, boot and moment that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from edge.publish.message_base import Message
from edge.publish.messages import Birth, Event, Reply, Status, Telemetry
from edge.publish.result_messages import ResultIndex
from fleet.rows.received import Received

COLUMNS = ("boot", "seq", "at_ms", "device_id", "clock", "received_ms")
"""What the rows of all messages begin with."""

TABLES: dict[str, str] = {
    Telemetry.kind: "telemetry",
    **{model.kind: "events" for model in (Event, Status, Birth, ResultIndex, Reply)},
}
"""By kind: partitioned tables that hold messages; results have one of their own, and running counts none."""

Key = tuple[int, int]
"""Row of the boot and number of the message: names it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A message whose time is known.

    Attributes:
        received: the message.
        device_id: row of the device.
        boot: row of the boot.
        at_ms: when it was made.
        clock: whether that is by the device's own clock; else by the collector's and the device's monotonic one.
    """

    received: Received
    device_id: int
    boot: int
    at_ms: int
    clock: bool

    @property
    def message(self) -> Message:
        """The message itself."""
        return self.received.message

    @property
    def received_ms(self) -> int:
        """When it came, by the collector's clock."""
        return self.received.arrival.received_ms

    @property
    def key(self) -> Key:
        """What names it."""
        return self.boot, self.message.seq

    def stamp(self) -> tuple[object, ...]:
        """Return the values of `COLUMNS`."""
        return self.boot, self.message.seq, self.at_ms, self.device_id, self.clock, self.received_ms
