"""Broker, database and a collector killed with all devices connected: `python -m benchmarks.fleet_storm`.

Needs Mosquitto and PostgreSQL, which it starts for itself, beside three collectors. The devices are threads of several
programs: the device's own outbox, publisher and connection, with drawn counts. Results are under way when a part is
killed (SIGKILL, PostgreSQL by SIGQUIT), are made while it is away and when it is back. Told is how long it takes until
all have connected again and all results are rows, and how many are missing, twice there or altered.

A killed Mosquitto forgets what it had acknowledged and not yet saved. The devices' lists of results show what that was;
it is sent again, as `sicklescope-fleet resend` would have it.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections import Counter
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
from benchmarks.fleet_processes import DeviceProcesses, devices
from edge.config.model import MqttConfig
from fleet.config import CollectorConfig, DatabaseConfig, FleetConfig
from fleet.database.postgresql import PostgreSQL as Tables
from fleet.database.schema import VERSION
from tests.mosquitto import Mosquitto
from tests.postgresql import PostgreSQL

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "persistence true", "autosave_interval 1")

COLLECTORS = 3


def seconds_until(condition: Callable[[], bool], at_most_s: float, what: str) -> float:
    """Return how long it takes until it is so; raises TimeoutError."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > at_most_s:
            raise TimeoutError(f"{what}: not within {at_most_s:g} s")
        time.sleep(0.2)
    return time.monotonic() - began_s


def most_in_a_second(log: str) -> int:
    """Return how many devices the broker let in within the busiest second of its log."""
    seconds = re.findall(r"^(\d+): Sending CONNACK to sicklescope-site-", log, re.MULTILINE)
    return max(Counter(seconds).values(), default=0)


class Storm:
    """All parts, and what is asked of them."""

    def __init__(self, stack: ExitStack, folder: Path, count: int, away_s: float, at_most_s: float) -> None:
        """Start broker, database, collectors and devices; the stack ends them."""
        self._count, self._away_s, self._at_most_s = count, away_s, at_most_s
        self._rounds = 0
        self._server = stack.enter_context(PostgreSQL())
        self._broker = Mosquitto(folder, *BROKER, f"persistence_location {folder}/")
        self._broker.start()
        stack.callback(self._broker.stop)
        self._tables = Tables(self._server.url)
        stack.callback(self._tables.close)
        self._tables.create(VERSION)
        self._folder = folder
        self._collectors = [self._collector(number) for number in range(COLLECTORS)]
        stack.callback(self._end_collectors)
        self._until(lambda: all(self._listens(number) for number in range(COLLECTORS)), "collectors subscribe")
        mqtt = MqttConfig(host=self._broker.host, port=self._broker.port)
        self._devices: DeviceProcesses = stack.enter_context(devices(folder, mqtt, count))

    def _collector(self, number: int) -> multiprocessing.process.BaseProcess:
        config = FleetConfig(
            mqtt=MqttConfig(host=self._broker.host, port=self._broker.port),
            collector=CollectorConfig(name=f"storm-{number}"), database=DatabaseConfig(url=SecretStr(self._server.url)),
        )  # fmt: skip
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=collect, args=(config, self._folder / f"answer-{number}.json"))
        process.start()
        return process

    def _listens(self, number: int) -> bool:
        return f"SUBACK to sicklescope-sicklescope-storm-{number}-results" in self._broker.log

    def _end_collectors(self) -> None:
        for process in self._collectors:
            process.terminate()
            process.join()

    def _until(self, condition: Callable[[], bool], what: str) -> float:
        return seconds_until(condition, self._at_most_s, what)

    def _in_rows(self) -> int:
        return int(self._tables.rows("SELECT count(*) FROM results")[0][0])

    def _begin_making(self) -> None:
        self._rounds += 1
        self._devices.begin_making()

    def _make(self) -> None:
        self._begin_making()
        self._devices.end_making()

    def all_connected(self) -> float:
        """Return how long it takes until all devices are connected, in seconds."""
        return self._until(lambda: self._devices.connected() == self._count, "all connected")

    def all_in_rows(self) -> float:
        """Return how long it takes until all results are rows, in seconds."""
        return self._until(lambda: self._in_rows() >= self._count * self._rounds, "all results in rows")

    def _under_load(self, kill: Callable[[], None]) -> None:
        """Have each make a result while something is killed, and one after that."""
        self._begin_making()
        time.sleep(0.2)
        kill()
        self._devices.end_making()
        self._make()

    def ordinary(self) -> float:
        """Have each make a result; return the seconds until all are rows."""
        began_s = time.monotonic()
        self._make()
        self.all_in_rows()
        return time.monotonic() - began_s

    def broker_killed(self) -> tuple[float, float, int, int]:
        """Return seconds until all are back, until all outboxes are empty, most in a second, and results forgotten."""
        self._under_load(lambda: self._broker.stop(signal.SIGKILL))
        time.sleep(self._away_s)
        before = len(self._broker.log)
        self._broker.start()
        back_s = self.all_connected()
        self._make()
        drained_s = self._until(lambda: not self._devices.waiting(), "all outboxes empty")
        last, missing = -1, self._count * self._rounds
        while last != missing:  # until nothing more comes
            last = missing
            time.sleep(5)
            missing = self._count * self._rounds - self._in_rows()
        return back_s, drained_s, most_in_a_second(self._broker.log[before:]), missing

    def told_missing_and_sent_again(self) -> tuple[int, int]:
        """Return how many results the devices' lists show as missing, and how many were sent again."""
        self._devices.tell_held()
        missing = frozenset(self._devices.made()) - self._kept().keys()
        told = "SELECT coalesce(sum(results_missing), 0) FROM devices"
        if missing:  # a list is compared a minute after it came
            self._until(lambda: self._tables.rows(told) != [(0,)], "missing results told")
            time.sleep(35)
        found = int(self._tables.rows(told)[0][0])
        sent = self._devices.resend(missing)
        self.all_in_rows()
        return found, sent

    def database_killed(self) -> float:
        """Kill the database under load; return the seconds from its return until all results are rows."""
        self._under_load(lambda: self._server.stop(signal.SIGQUIT))
        time.sleep(self._away_s)
        self._server.start()
        self._tables.close()  # that connection is gone; the next use opens another
        return self.all_in_rows()

    def collector_killed(self) -> tuple[float, float]:
        """Kill one of them under load; return the seconds until all results are rows, without it and after its return.

        Its session gives again what it had not acknowledged, which is there already.
        """
        self._under_load(self._collectors[0].kill)
        self._collectors[0].join()
        without_s = self.all_in_rows()
        self._collectors[0] = self._collector(0)
        self._make()
        return without_s, self.all_in_rows()

    def _kept(self) -> dict[str, str]:
        found = self._tables.rows("SELECT id, payload FROM results")
        return {str(name): payload.replace('"historical":true', '"historical":false', 1) for name, payload in found}

    def verdict(self) -> str:
        """Say how many results were made, and how many are missing, twice there or altered."""
        made, kept = self._devices.made(), self._kept()
        altered = sum(kept[name] != payload for name, payload in made.items() if name in kept)
        set_aside = self._tables.rows("SELECT count(*) FROM set_aside")[0][0]
        missing, twice = len(made.keys() - kept.keys()), self._in_rows() - len(kept)
        return f"{len(made):,}, {missing}, {twice}, {altered}, {set_aside}"


def main(
    devices: Annotated[int, typer.Option(min=1)] = 1000,
    away_s: Annotated[float, typer.Option(min=0, help="How long broker and database are away.")] = 5,
    at_most_s: Annotated[float, typer.Option(min=1, help="Give up a step after so long.")] = 600,
) -> None:
    """Print how long the return takes, and what is missing."""
    table = Table("figure", "value")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        storm = Storm(stack, Path(name), devices, away_s, at_most_s)
        table.add_row("devices, all connected for the first time after", f"{devices:,}, {storm.all_connected():.0f} s")
        table.add_row("a result of each is a row after", f"{storm.ordinary():.1f} s")
        back_s, drained_s, most, forgotten = storm.broker_killed()
        table.add_row("broker killed: all connected again after its return", f"{back_s:.1f} s")
        table.add_row("most let in within one second", f"{most}")
        table.add_row("all outboxes empty after that", f"{drained_s:.1f} s")
        told, sent = storm.told_missing_and_sent_again()
        table.add_row("results the broker forgot, told missing, sent again", f"{forgotten}, {told}, {sent}")
        table.add_row("database killed: all results are rows after its return", f"{storm.database_killed():.1f} s")
        without_s, back_s = storm.collector_killed()
        table.add_row(
            "one of three collectors killed: all are rows without it, with it", f"{without_s:.1f} s, {back_s:.1f} s"
        )
        table.add_row("results made, missing, twice, altered, set aside", storm.verdict())
        table.add_row("load of this computer, its cores", f"{os.getloadavg()[0]:.1f}, {psutil.cpu_count()}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
