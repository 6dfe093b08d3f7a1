"""Devices by the thousand, some in each of several programs, which do what they are asked."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.fleet_devices import PublishingDevice
from edge.config.model import MqttConfig

PER_PROCESS = 100
"""paho waits by select(), which takes no file number from 1,024 on; a device has six files and sockets open."""

SITES = 20


@contextmanager
def devices(folder: Path, mqtt: MqttConfig, count: int) -> Iterator[DeviceProcesses]:
    """Start so many devices; leaving ends their programs."""
    spawn = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    with ExitStack() as stack:
        for first in range(0, count, PER_PROCESS):
            pipe, theirs = spawn.Pipe()
            numbers = range(first, min(first + PER_PROCESS, count))
            process = spawn.Process(target=_work, args=(theirs, folder, mqtt, numbers), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(process.terminate)
            pipes.append(pipe)
        yield DeviceProcesses(pipes)


class DeviceProcesses:
    """All devices, asked together."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def _ask(self, *words: object) -> list[object]:
        for pipe in self._pipes:
            pipe.send(words)
        return [pipe.recv() for pipe in self._pipes]

    def _total(self, *words: object) -> int:
        return sum(number for number in self._ask(*words) if isinstance(number, int))

    def connected(self) -> int:
        """Return how many are connected."""
        return self._total("connected")

    def waiting(self) -> int:
        """Return how many results wait for the broker."""
        return self._total("waiting")

    def tell_held(self) -> None:
        """Publish the lists of results that devices hold."""
        self._ask("tell_held")

    def begin_making(self) -> None:
        """Have each device begin to make a result and telemetry; `end_making` waits for them."""
        for pipe in self._pipes:
            pipe.send(("make",))

    def end_making(self) -> None:
        """Wait until all are made."""
        for pipe in self._pipes:
            pipe.recv()

    def made(self) -> dict[str, str]:
        """Return the payloads of all results by identifier."""
        parts = self._ask("made")
        return {name: payload for part in parts if isinstance(part, dict) for name, payload in part.items()}

    def resend(self, names: frozenset[str]) -> int:
        """Have them send these results again; return how many they are."""
        return self._total("resend", names)


def _work(pipe: Connection, folder: Path, mqtt: MqttConfig, numbers: range) -> None:
    """Run devices, and do what the pipe asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()  # each tells of the broker that is away
    with ExitStack() as stack:
        fleet = [
            stack.enter_context(PublishingDevice(folder, mqtt, f"site-{number % SITES}", f"scope-{number}", lists=True))
            for number in numbers
        ]
        while True:
            match pipe.recv():
                case ("connected",):
                    pipe.send(sum(device.connected for device in fleet))
                case ("waiting",):
                    pipe.send(sum(device.waiting for device in fleet))
                case ("made",):
                    pipe.send({name: payload for device in fleet for name, payload in device.made.items()})
                case ("make",):
                    for device in fleet:
                        device.say()
                        device.finish()
                    pipe.send(None)
                case ("tell_held",):
                    for device in fleet:
                        device.tell_held()
                    pipe.send(None)
                case ("resend", names):
                    pipe.send(sum(device.resend(names) for device in fleet))
