"""Fixtures that several test files use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from benchmarks.realdata import data_folder, some_fields
from tests.mosquitto import MOSQUITTO, Mosquitto
from tests.program import Program

# Where the data lie now: a test that goes to another folder finds them too.
os.environ["SICKLESCOPE_DATA"] = str(data_folder().absolute())

# A busy machine is no failure.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session")
def real_fields() -> Callable[[str, int], list[Path]]:
    """Give so many real fields of a data set; skips the test where SICKLESCOPE_DATA has none."""

    def some(dataset: str, count: int) -> list[Path]:
        files = some_fields(dataset, count)
        if not files:
            pytest.skip(
                f"no images of {dataset} in {data_folder()}: set SICKLESCOPE_DATA to the folder of the data sets"
            )
        return files

    return some


@pytest.fixture(autouse=True)
def _no_program_goes_on() -> Iterator[None]:
    """Kill what a failed test left running: it would take the processor from the tests behind it."""
    before = len(Program.started)
    yield
    for program in Program.started[before:]:
        program.process.kill()
        program.process.wait()
    del Program.started[before:]


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Start a real broker with these lines in its configuration; skips the test where Mosquitto is not installed."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto not installed (apt-get install mosquitto)")
    brokers: list[Mosquitto] = []

    def start(*lines: str) -> Mosquitto:
        brokers.append(Mosquitto(tmp_path, *lines))
        brokers[-1].start()
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 512 KiB in memory; skips the test where that is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
