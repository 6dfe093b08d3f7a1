"""Several processes that read the files of a scan, each with a pipeline of its own and one thread.

A process that dies takes nothing with it: its file is read again by another, and is told as unreadable when that one
dies of it too.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from types import TracebackType

from edge.batch.field_result import FieldResult, encoded
from edge.batch.reading.journal import FieldLog, Journal, Unit
from edge.batch.reading.read_files import AfterField, NetworkId, ReadOptions, note, unread_file
from edge.batch.reading.worker import ENDED, FAILED, FIELD, FILE_DONE, NEW_SAMPLE, READY, STOP
from edge.config.model import Config
from edge.errors import ConfigError, EdgeError

FILES_EACH = 8
"""Fewer files than this for each process are read sooner without it: it has to load its libraries and networks."""

TRIES = 2
"""Processes that may die of one file before it is told as unreadable."""

CLOSE_S = 5.0


def cores() -> int:
    """Return how many cores this program may use."""
    return len(os.sched_getaffinity(0))


def process_count(asked: int | None, files: int, cpus: int) -> int:
    """Return in how many processes so many files are read; None for as many as pay.

    Args:
        asked: that a person asked for.
        files: to be read.
        cpus: cores that there are.

    Raises:
        ConfigError: Fewer than one was asked for, or more than there are cores.
    """
    if asked is None:
        return max(1, min(cpus, files // FILES_EACH))
    if not 1 <= asked <= cpus:
        raise ConfigError(f"{asked} processes were asked for; this scan may use {cpus} cores. Give 1 to {cpus}")
    return max(1, min(asked, files))


class WorkerPool:
    """Reads in processes of its own; see `edge.batch.reading.read_files.Reader`.

    A context manager that ends them.
    """

    def __init__(self, count: int, config: Config, options: ReadOptions, networks: tuple[NetworkId, ...]) -> None:
        """Take how many processes read, how, and with which networks."""
        one_thread = config.model_copy(update={"models": config.models.model_copy(update={"threads": 1})})
        self._count, self._begin = count, pickle.dumps((one_thread, options, networks))
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.close()

    def read(self, units: Iterable[Unit], journal: Journal, after: AfterField, stopped: Callable[[], bool]) -> None:
        """Read the units.

        Each process finishes its file, of a video its frame, once `stopped` says so.
        """
        self.new_sample()
        self.read_more(units, journal, after, stopped)

    def new_sample(self) -> None:
        """Begin another sample: its most sickle-like cells are its own."""
        for worker in self._workers:
            worker.ask(NEW_SAMPLE)

    def read_more(
        self, units: Iterable[Unit], journal: FieldLog, after: AfterField, stopped: Callable[[], bool]
    ) -> None:
        """Read units of the sample at hand."""
        waiting, again, deaths = iter(units), list[Unit](), Counter[bytes]()
        while True:
            if stopped():
                for worker in self._busy():
                    worker.stop()
            else:
                self._hand_out(waiting, again, journal)
            if not self._busy():
                return
            for connection in wait([worker.connection for worker in self._busy()]):
                worker = next(one for one in self._workers if one.connection is connection)
                unit = worker.unit
                if unit is None or worker.take(journal, after):
                    continue
                self._workers.remove(worker)
                ended = worker.close()
                deaths[unit.key] += 1
                if deaths[unit.key] < TRIES:
                    again.append(unit)
                else:
                    _tell(unit, ended, journal, after)

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.unit is not None]

    def _hand_out(self, waiting: Iterator[Unit], again: list[Unit], journal: FieldLog) -> None:
        while len(self._busy()) < self._count:
            unit = again.pop() if again else next(waiting, None)
            if unit is None:
                return
            idle = next((worker for worker in self._workers if worker.unit is None), None)
            if idle is None:
                idle = _Worker(self._begin)
                self._workers.append(idle)
            journal.begin(unit)
            idle.read(unit)


def _tell(unit: Unit, ended: str, journal: FieldLog, after: AfterField) -> None:
    """Note that the files of a unit cannot be read."""
    journal.begin(unit)
    for number, path in enumerate(unit.files):
        cause = f"each of the {TRIES} processes that read it {ended}"
        journal.add(unit, encoded(FieldResult(unread_file(path, number), cause, readable=False)))
        journal.file_done(unit)
        after(str(path), True)


class _Worker:
    """A process and the connection to it."""

    def __init__(self, begin: bytes) -> None:
        self.unit: Unit | None = None
        self._ready = self._stopped = False
        self.connection, theirs = Pipe()
        # Our own search path, so that it is this program's edge that is found, whatever the working folder has.
        main = f"from edge.batch.reading.worker import main; main({theirs.fileno()})"
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
                    [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {main}"],
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # a terminal's Ctrl-C is ours
                )
            except OSError as error:
                self.connection.close()
                raise EdgeError(f"no process can be begun to read with: {error}. Give fewer --processes") from error
        self.ask(begin)

    def ask(self, message: bytes) -> None:
        """Send a message; a process that has ended is noticed where its answer is awaited."""
        with suppress(OSError):
            self.connection.send_bytes(message)

    def read(self, unit: Unit) -> None:
        """Have it read a unit."""
        self.unit = unit
        self.ask(pickle.dumps(unit))

    def stop(self) -> None:
        """Have it stop after the field at hand of a video."""
        if not self._stopped:
            self._stopped = True
            self.ask(STOP)

    def take(self, journal: FieldLog, after: AfterField) -> bool:
        """Take its next answer; return whether it lives."""
        try:
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            if not self._ready:
                raise EdgeError(
                    f"a process that was to read files {self.close()} at its start: too little memory? "
                    "Give fewer --processes"
                ) from None
            return False
        kind, data = answer[:1], answer[1:]
        if kind == FAILED:
            error: EdgeError = pickle.loads(data)  # noqa: S301 - our own child's
            raise error
        if kind == READY:
            self._ready = True
        elif kind == ENDED:
            self.unit = None
        elif self.unit is not None and kind in (FIELD, FILE_DONE):
            name, _, result = data.partition(b"\0")
            note(journal, self.unit, result if kind == FIELD else None)
            after(name.decode(), kind == FILE_DONE)
        return True

    def close(self) -> str:
        """End the process; return how it ended, in words."""
        self.connection.close()
        try:
            code = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
