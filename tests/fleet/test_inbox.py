"""What waits between broker and database."""

from __future__ import annotations

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from fleet.inbox import Inbox
from fleet.rows.received import Arrival
from fleet.subscription import Taken


def test_a_message_that_is_sent_again_waits_once_and_is_acknowledged_on_the_newest_connection() -> None:
    """A collector that was slow got 145,000 messages again at each new connection, and never came to an end."""
    old, new = (Client(CallbackAPIVersion.VERSION2) for _ in range(2))
    inbox = Inbox()
    for client in (old, new):
        for mid, payload in enumerate((b"first", b"second"), start=1):
            inbox.put(Taken(Arrival("t", payload, 0), client, mid))
    inbox.put(Taken(Arrival("t", b"third", 0), new, 3))
    assert len(inbox) == 3
    found = [inbox.take(0) for _ in range(4)]
    assert [one and (one.arrival.payload, one.client is new) for one in found] == [
        (b"first", True), (b"second", True), (b"third", True), None,
    ]  # fmt: skip
