"""A broker that is killed with all devices connected: `python -m benchmarks.fleet_storm [--devices 1000]`.

Needs Mosquitto and PostgreSQL, which it starts for itself, beside one collector. The devices are threads of this
program: the device's own outbox, publisher and connection, with drawn counts. Each has made a result when the broker
is killed (SIGKILL), makes one while it is away and one when it is back. Told is how long it takes until all have
connected again and all results are rows, and how many are missing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import psutil
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks.fleet import collect
from benchmarks.fleet_devices import PublishingDevice
from edge.config.model import MqttConfig
from fleet.config import CollectorConfig, DatabaseConfig, FleetConfig
from fleet.database.postgresql import PostgreSQL as Tables
from fleet.database.schema import VERSION
from tests.mosquitto import Mosquitto
from tests.postgresql import PostgreSQL

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "persistence true", "autosave_interval 1")


def seconds_until(condition: Callable[[], bool], at_most_s: float) -> float:
    """Return how long it takes until it is so; raises TimeoutError."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > at_most_s:
            raise TimeoutError(f"not within {at_most_s:g} s")
        time.sleep(0.2)
    return time.monotonic() - began_s


def main(
    devices: Annotated[int, typer.Option(min=1)] = 1000,
    away_s: Annotated[float, typer.Option(min=0, help="How long the broker is away.")] = 5,
    at_most_s: Annotated[float, typer.Option(min=1, help="Give up a step after so long.")] = 600,
) -> None:
    """Print how long the return takes, and what is missing."""
    with tempfile.TemporaryDirectory() as name, PostgreSQL() as server, ExitStack() as open_:
        folder = Path(name)
        broker = Mosquitto(folder, *BROKER, f"persistence_location {folder}/")
        broker.start()
        open_.callback(broker.stop)
        config = FleetConfig(
            mqtt=MqttConfig(host=broker.host, port=broker.port),
            collector=CollectorConfig(name="storm"), database=DatabaseConfig(url=SecretStr(server.url)),
        )  # fmt: skip
        tables = Tables(server.url)
        open_.callback(tables.close)
        tables.create(VERSION)
        process = multiprocessing.get_context("spawn").Process(target=collect, args=(config, folder / "answer.json"))
        process.start()
        open_.callback(process.join)
        open_.callback(process.terminate)
        seconds_until(lambda: "SUBACK to sicklescope-sicklescope-storm-results" in broker.log, at_most_s)
        mqtt = MqttConfig(host=broker.host, port=broker.port)
        fleet = [
            open_.enter_context(PublishingDevice(folder, mqtt, f"site-{number % 20}", f"scope-{number}"))
            for number in range(devices)
        ]

        def results_in_rows() -> int:
            return int(tables.rows("SELECT count(*) FROM results")[0][0])

        def connected() -> bool:
            return all(device.connected for device in fleet)

        def make() -> None:
            for device in fleet:
                device.say()
                device.finish()

        first_s = seconds_until(connected, at_most_s)
        make()
        seconds_until(lambda: results_in_rows() == devices, at_most_s)
        make()  # under way when it is killed
        broker.stop(signal.SIGKILL)
        make()
        time.sleep(away_s)
        broker.start()
        back_s = seconds_until(connected, at_most_s)
        make()
        drained_s = seconds_until(lambda: not any(device.waiting for device in fleet), at_most_s)
        last, missing = -1, devices * 4
        while last != missing:  # until nothing more comes
            last = missing
            time.sleep(5)
            missing = devices * 4 - results_in_rows()
        differing = tables.rows("SELECT count(*) - count(DISTINCT id) FROM results")[0][0]
        table = Table("figure", "value")
        table.add_row("devices, all connected after", f"{devices:,}, {first_s:.0f} s")
        table.add_row("all connected again after the broker's return", f"{back_s:.1f} s")
        table.add_row("all outboxes empty after that", f"{drained_s:.1f} s")
        told = f"{devices * 4:,}, {missing}, {differing}"
        table.add_row("results made, missing (acknowledged, not saved), twice", told)
        table.add_row("load of this computer, its cores", f"{os.getloadavg()[0]:.1f}, {psutil.cpu_count()}")
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
