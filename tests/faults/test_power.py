"""The power goes at any instant: what was stored is there when it comes back, and arrives once."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge.service.service import resend
from edge.storage.database import Database
from tests.edge.service.service_parts import configured
from tests.faults.device import Device
from tests.faults.disk import Disk
from tests.faults.parts import arrived_as_stored, scaled, told
from tests.mosquitto import Listener, Mosquitto, wait_for

pytestmark = pytest.mark.faults

Start = Callable[..., Mosquitto]


@pytest.mark.timeout(4 * 3600)
def test_every_stored_result_arrives_once_whenever_the_power_goes(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    chance = random.Random(6)
    cuts = scaled(3, 50)
    with (
        Disk(tmp_path) as disk,
        Listener(broker.host, broker.port) as dashboard,
        Device(disk.root / "state", broker.port, tmp_path) as device,
    ):
        device.measure()
        for number in range(cuts):
            device.live()
            device.reach(number, chance)
            disk.cut(device.pid)
            device.kill()
            disk.restore()
        resend(configured(disk.root / "state", broker.port))
        stored = dict(device.stored)
        wait_for(lambda: {result["id"] for result in dashboard.of("result")} >= {one.id for one in stored.values()}, 60)
        assert arrived_as_stored(stored, dashboard.of("result"))
    told("power cuts", cuts=cuts, stored=len(stored), arrived=len(dashboard.of("result")), **device.phases)


def rows_after_a_cut(disk: Disk, synchronous: str | None) -> int:
    """Write a hundred rows, cut the power and count them: as the device does, or with another `synchronous`."""
    path = disk.root / "rows.sqlite3"
    database = Database(path)
    if synchronous is not None:
        database.read(f"PRAGMA synchronous = {synchronous}")
    database.write("CREATE TABLE numbers (number INTEGER)")
    database.read("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(100):
        database.write("INSERT INTO numbers VALUES (?)", number)
    disk.cut()
    database.close()
    disk.restore()
    with closing(sqlite3.connect(path)) as connection:
        (rows,) = connection.execute("SELECT COUNT(*) FROM numbers").fetchone()
    return int(rows)


@pytest.mark.parametrize(("synchronous", "rows"), [(None, 100), ("NORMAL", 0)])
def test_this_kind_of_cut_takes_what_is_not_synced(tmp_path: Path, synchronous: str | None, rows: int) -> None:
    """The control: without it the test above could pass because nothing is ever lost here."""
    with Disk(tmp_path) as disk:
        assert rows_after_a_cut(disk, synchronous) == rows


def test_the_disk_comes_back_although_a_program_with_mounts_of_its_own_holds_it(tmp_path: Path) -> None:
    """The control of the disk: another test's `unshare --mount` kept the file system that was cut, for ever."""
    with Disk(tmp_path) as disk:
        kept = disk.root / "kept"
        kept.write_text("before")
        os.sync()
        holding = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "echo holds; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holding.stdin is not None
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"holds\n"
        disk.cut()
        with pytest.raises(OSError, match="Input/output error"):
            kept.write_text("lost")
        disk.restore()
        holding.communicate()
        assert kept.read_text() == "before"
        kept.write_text("after")
