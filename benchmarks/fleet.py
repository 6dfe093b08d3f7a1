"""How fast messages of many devices become rows: `python -m benchmarks.fleet [--devices 1000] [--minutes 60]`.

Needs Mosquitto and PostgreSQL, which it starts for itself on this machine, beside one collector and the senders.

First the telemetry of so many simulated minutes (six a minute and device), and a result for each device and ten
minutes, go as fast as the broker takes them. Then telemetry goes at the rate of the real devices for a while, and the
delay from device to row is measured. A day of 1,000 devices: --minutes 1440.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks.fleet_devices import VirtualDevice
from edge.config.model import MqttConfig
from edge.publish.message_base import Message, topic
from fleet.collector import Collector
from fleet.config import CollectorConfig, DatabaseConfig, FleetConfig
from fleet.database.postgresql import PostgreSQL as Tables
from fleet.database.schema import VERSION
from fleet.rows.writer import Written
from tests.mosquitto import Mosquitto
from tests.postgresql import PostgreSQL

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000")

TELEMETRY_S = 10.0
RESULT_S = 600.0

UNACKNOWLEDGED = 1000

DELAYS = 100_000
"""Of the newest messages, which are those at the devices' own rate."""


def collect(config: FleetConfig, answer: Path) -> None:
    """Collect until SIGTERM, then write delays (s), highest resident memory (MB) and CPU time (s)."""
    collector = Collector(config, Tables(config.database.url.get_secret_value()))
    delays_s: deque[float] = deque(maxlen=DELAYS)  # all of a day would be what the memory is for
    peak_mb = 0.0
    wrote = collector.metrics.wrote

    def noted(written: Written, batch_s: float, now_s: float) -> None:
        nonlocal peak_mb
        delays_s.extend(written.delays_s)
        peak_mb = max(peak_mb, psutil.Process().memory_info().rss / 1e6)
        wrote(written, batch_s, now_s)

    collector.metrics.wrote = noted  # type: ignore[method-assign]
    signal.signal(signal.SIGTERM, lambda *_: collector.stop())
    collector.run()
    cpu_s = sum(psutil.Process().cpu_times()[:2])
    answer.write_text(json.dumps({"delays_s": list(delays_s), "peak_mb": peak_mb, "cpu_s": cpu_s}))


class Sender:
    """One connection for all devices, with so many messages unacknowledged at once."""

    def __init__(self, broker: Mosquitto) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.max_inflight_messages_set(UNACKNOWLEDGED)
        self._client.on_publish = self._answered
        self._room = threading.Semaphore(UNACKNOWLEDGED)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def _answered(self, *_: object) -> None:
        self._room.release()

    def send(self, message: Message) -> None:
        """Hand a message over; waits while too many are unacknowledged."""
        self._room.acquire()
        self._client.publish(topic(message, message.site, message.device), message.to_json(), message.qos)

    def close(self) -> None:
        """Wait for what is unacknowledged."""
        for _ in range(UNACKNOWLEDGED):
            self._room.acquire()
        self._client.disconnect()
        self._client.loop_stop()


def simulated(devices: int, minutes: float) -> Iterator[Message]:
    """Give the messages of devices over a time that has passed, in order of time."""
    now = [time.time() - minutes * 60, 100_000.0]
    fleet = [
        VirtualDevice(f"site-{number % 20}", f"scope-{number}", wall=lambda: now[0], monotonic=lambda: now[1])
        for number in range(devices)
    ]
    for step in range(int(minutes * 60 / TELEMETRY_S)):
        for device in fleet:
            yield device.telemetry()
        if step % int(RESULT_S / TELEMETRY_S) == 0:
            for device in fleet:
                yield device.result()
        now[0] += TELEMETRY_S
        now[1] += TELEMETRY_S


def present(devices: int, seconds: float, sender: Sender) -> int:
    """Send telemetry of devices at their own rate for so long; return how many."""
    fleet = [VirtualDevice(f"site-{number % 20}", f"live-{number}") for number in range(devices)]
    pause_s, began_s = TELEMETRY_S / devices, time.monotonic()
    sent = 0
    while time.monotonic() - began_s < seconds:
        sender.send(fleet[sent % devices].telemetry())
        sent += 1
        time.sleep(max(0.0, began_s + sent * pause_s - time.monotonic()))
    return sent


def rows_of(tables: Tables) -> int:
    """Return how many messages are in the tables."""
    return int(tables.rows("SELECT (SELECT count(*) FROM telemetry) + (SELECT count(*) FROM results)")[0][0])


def wait_for_rows(tables: Tables, rows: int) -> None:
    """Wait until all are there."""
    while rows_of(tables) < rows:
        time.sleep(0.5)


def main(
    devices: Annotated[int, typer.Option(min=1)] = 1000,
    minutes: Annotated[float, typer.Option(min=1)] = 60,
    seconds: Annotated[float, typer.Option(min=1, help="At the rate of the real devices.")] = 60,
) -> None:
    """Print messages a second, delay and memory."""
    with tempfile.TemporaryDirectory() as folder, PostgreSQL() as server:
        broker = Mosquitto(Path(folder), *BROKER)
        broker.start()
        config = FleetConfig(
            mqtt=MqttConfig(host=broker.host, port=broker.port),
            collector=CollectorConfig(name="bench"), database=DatabaseConfig(url=SecretStr(server.url)),
        )  # fmt: skip
        tables = Tables(server.url)
        tables.create(VERSION)  # or they are asked for rows before a collector has made them
        answer = Path(folder) / "answer.json"
        process = multiprocessing.get_context("spawn").Process(target=collect, args=(config, answer))
        process.start()
        while "SUBACK to sicklescope-sicklescope-bench-results" not in broker.log:
            time.sleep(0.1)
        sender = Sender(broker)
        began_s, sent = time.monotonic(), 0
        for message in simulated(devices, minutes):
            sender.send(message)
            sent += 1
        wait_for_rows(tables, sent)
        per_s = sent / (time.monotonic() - began_s)
        live = present(devices, seconds, sender)
        sender.close()
        wait_for_rows(tables, sent + live)
        lost = tables.rows("SELECT sum(messages_missing) FROM missing")[0][0]
        tables.close()
        process.terminate()
        process.join()
        broker.stop()
        told = json.loads(answer.read_text())
    per_cpu_s = (sent + live) / told["cpu_s"]
    show(devices, sent, (per_s, per_cpu_s), np.array(told["delays_s"][-live:]), told["peak_mb"], int(lost))


def show(
    devices: int, sent: int, per_s: tuple[float, float], delays_s: np.ndarray[tuple[int], np.dtype[np.float64]],
    peak_mb: float, lost: int,
) -> None:  # fmt: skip
    """Print the figures."""
    table = Table("figure", "value")
    table.add_row("devices, messages sent at once", f"{devices:,}, {sent:,}")
    table.add_row(
        "messages a second into rows, and a second of the collector's CPU time", f"{per_s[0]:,.0f}, {per_s[1]:,.0f}"
    )
    table.add_row("load of this computer, its cores", f"{os.getloadavg()[0]:.1f}, {psutil.cpu_count()}")
    table.add_row("missing", f"{lost:,}")
    table.add_row("device to row at their own rate, median and p99", f"{np.quantile(delays_s, 0.5):.2f} s, "
                  f"{np.quantile(delays_s, 0.99):.2f} s")  # fmt: skip
    table.add_row("resident memory of the collector, highest", f"{peak_mb:,.0f} MB")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
