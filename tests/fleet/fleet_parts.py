"""Collectors as programs, and what came of the results that devices made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psycopg

from benchmarks.fleet_devices import PublishingDevice
from edge.config.model import MqttConfig
from tests.mosquitto import Mosquitto, wait_for

ROOT = Path(__file__).parents[2]

BROKER_LINES = (
    "persistence true", "max_queued_messages 100000", "max_inflight_messages 1000", "autosave_interval 1",
)  # fmt: skip
"""What docs/fleet.md sets of a broker, but for the place of its file."""


class Collector:
    """`sicklescope-fleet collect`, running."""

    def __init__(self, folder: Path, url: str, broker: Mosquitto, name: str = "one", **collector: object) -> None:
        self._path = folder / f"{name}.toml"
        own = "".join(f"{key} = {value}\n" for key, value in collector.items())
        self._path.write_text(
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[collector]\nname = "{name}"\n{own}'
            f'[database]\nurl = "{url}"\n'
        )
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: str = "collect") -> None:
        line = [sys.executable, "-m", "fleet", command, "--config", str(self._path)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                line, stdout=log, stderr=log, env={**os.environ, "COLUMNS": "400"}, cwd=ROOT
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(30)

    def wait(self, timeout_s: float = 60) -> int:
        assert self._process is not None
        return self._process.wait(timeout_s)

    @property
    def log(self) -> str:
        return self._log.read_text()


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def is_there(url: str, table: str) -> bool:
    return rows(url, f"SELECT to_regclass('{table}')") != [(None,)]


def kept(url: str) -> dict[str, str]:
    """Return the results in the database by identifier, without what may differ of a repeat."""
    found = rows(url, "SELECT id, payload FROM results")
    return {str(name): str(payload).replace('"historical":true', '"historical":false', 1) for name, payload in found}


def made(devices: Iterable[PublishingDevice]) -> dict[str, str]:
    """Return the results that devices made, by identifier."""
    return {name: payload for device in devices for name, payload in device.made.items()}


def mqtt(broker: Mosquitto) -> MqttConfig:
    return MqttConfig(host=broker.host, port=broker.port, replay_per_s=0)


def times_listening(broker: Mosquitto, name: str) -> int:
    """Return how often the broker granted the subscriptions of a collector's sessions, both of them."""
    log = broker.log
    return min(log.count(f"Sending SUBACK to sicklescope-sicklescope-{name}-{one}") for one in ("results", "news"))


def wait_until_listening(broker: Mosquitto, *names: str, times: int = 1) -> None:
    wait_for(lambda: all(times_listening(broker, name) >= times for name in names), 60)
