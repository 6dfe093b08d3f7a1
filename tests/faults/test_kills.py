"""A device that is killed at any instant: every result that was stored arrives once, as it was stored."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from device import Device
from mosquitto import Listener, Mosquitto, wait_for
from parts import arrived_as_stored, scaled, told
from service_parts import configured, outbox_of

from edge.service import resend

pytestmark = pytest.mark.faults

Start = Callable[..., Mosquitto]


@pytest.mark.timeout(3600)
def test_every_stored_result_arrives_once_whenever_the_device_is_killed(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    state = tmp_path / "state"
    kills = scaled(10, 500)
    chance = random.Random(4)
    with Listener(broker.host, broker.port) as dashboard, Device(state, broker.port, tmp_path) as device:
        device.live()
        device.stores(1)
        device.kill()
        began = time.monotonic()
        device.live()
        device.stores(2)
        span_s = time.monotonic() - began
        device.kill()
        for number in range(kills - 2):
            device.live()
            if number % 2:  # storing takes milliseconds: the odd ones aim at it, and at the sending that follows
                device.begins_to_store()
                time.sleep(chance.uniform(0, 0.03))
            else:
                time.sleep(chance.uniform(0, span_s))
            device.kill()
        resend(configured(state, broker.port))
        stored = dict(device.stored)
        wait_for(lambda: {result["id"] for result in dashboard.of("result")} >= {one.id for one in stored.values()}, 60)
        assert arrived_as_stored(stored, dashboard.of("result"))
    with outbox_of(configured(state, broker.port)) as outbox:
        assert outbox.counts().pending == 0
    told("kills", kills=kills, stored=len(stored), arrived=len(dashboard.of("result")), **device.phases)
