"""A device that is killed at any instant: every result that was stored arrives once, as it was stored."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.service.service import resend
from edge.storage.database import Database, database_path
from tests.edge.service.service_parts import configured, outbox_of
from tests.faults.device import Device, Stored, digest
from tests.faults.parts import arrived_as_stored, scaled, told
from tests.mosquitto import Listener, Mosquitto, wait_for
from tests.program import Program

pytestmark = pytest.mark.faults

Start = Callable[..., Mosquitto]


@pytest.mark.timeout(4 * 3600)
def test_every_stored_result_arrives_once_whenever_the_device_is_killed(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    state = tmp_path / "state"
    kills = scaled(10, 500)
    chance = random.Random(4)
    with Listener(broker.host, broker.port) as dashboard, Device(state, broker.port, tmp_path) as device:
        device.live()
        device.stores(1)
        device.kill()
        device.measure()
        for number in range(kills - 2):
            device.live()
            device.reach(number, chance)
            device.kill()
        resend(configured(state, broker.port))
        stored = dict(device.stored)
        wait_for(lambda: {result["id"] for result in dashboard.of("result")} >= {one.id for one in stored.values()}, 60)
        assert arrived_as_stored(stored, dashboard.of("result"))
    with outbox_of(configured(state, broker.port)) as outbox:
        assert outbox.counts().pending == 0
    told("kills", kills=kills, stored=len(stored), arrived=len(dashboard.of("result")), **device.phases)


CONFIGURATION = """
[device]
site = "lab"
device = "one"
state_dir = "{state}"
[camera]
kind = "virtual"
width = 320
height = 240
frames = 3
[optics]
um_per_px = 0.25
[mqtt]
host = "127.0.0.1"
port = {port}
interval_s = 0.1
"""


def wait_for_lives(dashboard: Listener, count: int) -> None:
    """Wait until the device said so often that it is online."""
    wait_for(lambda: dashboard.states().count("online") >= count, 300)


@pytest.mark.timeout(3600)
def test_the_command_itself_loses_nothing_that_it_kept(start_mosquitto: Start, tmp_path: Path) -> None:
    """From its start, with the shipped networks; the lives above have all imported. The last run ends by itself."""
    broker = start_mosquitto()
    state, configuration = tmp_path / "state", tmp_path / "sicklescope.toml"
    configuration.write_text(CONFIGURATION.format(state=state, port=broker.port))
    chance = random.Random(5)
    kills = scaled(2, 25)
    with Listener(broker.host, broker.port) as dashboard:
        for number in range(kills + 1):
            lives = dashboard.states().count("online")
            program = Program(tmp_path, "run", "--config", configuration, "--sample", f"C-{number}")
            if number == kills:
                assert program.end(300) == 0, program.err
            else:
                wait_for_lives(dashboard, lives + 1)
                time.sleep(chance.uniform(0, 0.5))
                program.process.kill()
                program.process.wait(10)
        with Database(database_path(configured(state, broker.port))) as database:
            kept = [json.loads(payload) for (payload,) in database.read("SELECT payload FROM results")]
        stored = {one["sample"]: Stored(one["id"], one["sample"], digest(one)) for one in kept}
        wait_for(lambda: {result["id"] for result in dashboard.of("result")} >= {one["id"] for one in kept})
        assert arrived_as_stored(stored, dashboard.of("result"))
    assert f"C-{kills}" in stored
    told("kills of the command", kills=kills, stored=len(stored), arrived=len(dashboard.of("result")))
