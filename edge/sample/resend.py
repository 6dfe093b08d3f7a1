"""Results sent again though the broker took them long ago: from the sample store back into the outbox."""

from __future__ import annotations

import json

from edge.errors import SampleError
from edge.publish.messages import Result, topic
from edge.sample.lifecycle import Lifecycle
from edge.storage.outbox import Outbox


def resend(lifecycle: Lifecycle, first: int, last: int) -> tuple[int, int]:
    """Put the results with these numbers into the outbox again.

    Return how many, and how many more are damaged and stay.
    """
    if not lifecycle.config.mqtt.enabled:
        raise SampleError("mqtt.enabled is false: nothing can be sent")
    sent = damaged = 0
    outbox = Outbox(lifecycle.database)
    with lifecycle.database.transaction():
        for number, result_id, payload in lifecycle.numbers.between(first, last):
            stored = {} if payload is None else json.loads(payload)
            if payload is None or stored["number"] != number:
                damaged += 1
                continue
            outbox.put_again(result_id, topic(Result, stored["site"], stored["device"]), payload)
            sent += 1
    return sent, damaged
