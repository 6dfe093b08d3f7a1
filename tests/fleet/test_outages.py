"""A broker killed outright, and a PostgreSQL without space: what is lost is told, and comes back."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.fleet_devices import PublishingDevice
from fleet.database.postgresql import PostgreSQL as Tables
from fleet.database.schema import VERSION
from tests.edge.api.test_resend import SECRET, drained, make_results
from tests.edge.api.test_resend import device as device_that_takes_commands
from tests.edge.service.service_parts import running
from tests.faults.disk import FullDisk
from tests.fleet.fleet_parts import (
    BROKER_LINES,
    Collector,
    is_there,
    kept,
    made,
    mqtt,
    rows,
    wait_until_listening,
)
from tests.mosquitto import Mosquitto, wait_for

RESULTS = 200


@pytest.mark.timeout(240)
@pytest.mark.parametrize("collecting", [False, True], ids=["collector away", "under load"])
def test_what_a_killed_broker_had_not_saved_is_missed_asked_for_and_there_once(
    start_mosquitto: Callable[..., Mosquitto],
    url: str,
    start_collector: Callable[..., Collector],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    collecting: bool,
) -> None:
    """Mosquitto acknowledges from memory and saves every `autosave_interval`: of what came since, nobody tells."""
    lines = [line for line in BROKER_LINES if not line.startswith("autosave")]
    broker = start_mosquitto(*lines, "autosave_interval 3600", f"persistence_location {tmp_path}/")
    collector = start_collector(url, broker)
    wait_until_listening(broker, "one")
    wait_for(lambda: is_there(url, "results"), 30)
    broker.stop()  # and so it has saved that there is a session
    broker.start()
    wait_until_listening(broker, "one", times=2)
    config = device_that_takes_commands(tmp_path / "device", broker.port)
    numbers = make_results(config, RESULTS)
    if not collecting:
        collector.stop(signal.SIGKILL)
    with running(config):
        if collecting:
            wait_for(lambda: len(kept(url)) > 10, 60)
        else:
            drained(config)
        broker.stop(signal.SIGKILL)
        broker.start()
        if not collecting:
            collector.start()
        wait_until_listening(broker, "one", times=3)
        drained(config)
        wait_for(lambda: rows(url, "SELECT held FROM devices WHERE held <> ''"), 60)
        asking = Collector(tmp_path, url, broker, "asking")
        if not collecting:
            asking.start("missing")
            assert asking.wait() == 1
            assert f"lab/one: {numbers[0]}-{numbers[-1]}" in asking.log, "the broker has lost them, and told nobody"
        monkeypatch.setenv("FLEET_COMMAND_SECRET", SECRET)
        asking.start("resend")
        assert asking.wait() == 0, asking.log
        wait_for(lambda: numbers_in(url) == numbers, 60)
    assert rows(url, "SELECT count(*) FROM set_aside") == [(0,)]


def numbers_in(url: str) -> list[int]:
    """Return the numbers of the results in the database, each as often as it is there."""
    return [int(str(number)) for (number,) in rows(url, "SELECT number FROM results ORDER BY number")]


@pytest.fixture
def small_space(url: str) -> Iterator[FullDisk]:
    """Give the database a tablespace on a disk that can be filled."""
    # Not below pytest's own folder: each run of pytest closes that to other users.
    folder = Path(tempfile.mkdtemp(prefix="sicklescope-space-"))
    folder.chmod(0o755)
    name = url.rpartition("/")[2]
    with FullDisk(folder, pages=4096) as disk:
        place = disk.root / "space"
        place.mkdir()
        shutil.chown(place, "postgres")
        with psycopg.connect(url.replace(f"/{name}", "/postgres"), autocommit=True) as owner:
            owner.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
            owner.execute(f'ALTER DATABASE "{name}" SET default_tablespace = small'.encode())
            yield disk
            disk.free()
            owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            owner.execute("DROP TABLESPACE small")
    shutil.rmtree(folder)


@pytest.mark.timeout(240)
def test_a_postgresql_without_space_is_named_and_nothing_is_lost(
    broker: Mosquitto, url: str, small_space: FullDisk, start_collector: Callable[..., Collector], tmp_path: Path
) -> None:
    tables = Tables(url)
    tables.create(VERSION)
    tables.close()
    collector = start_collector(url, broker)
    wait_until_listening(broker, "one")
    with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
        device.finish()
        wait_for(lambda: kept(url) == made([device]), 60)
        small_space.leave(2)
        for _ in range(100):
            device.finish()
        wait_for(lambda: "No space left on device" in collector.log, 60)
        assert len(kept(url)) < 101
        small_space.free()
        wait_for(lambda: kept(url) == made([device]), 60)
    assert collector.stop() == 0
