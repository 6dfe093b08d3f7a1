"""Reads the files of a scan on Ray Data: tasks fetch them, actors read them, and Ray holds back what is too early."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, count, islice
from types import TracebackType
from typing import Any

from edge.batch.reading.journal import Journal, Unit
from edge.batch.reading.ray_actor import FieldActor, HowRead, fetch
from edge.batch.reading.ray_cluster import cluster
from edge.batch.reading.read_files import AfterField, note
from edge.batch.reading.workers import process_count
from edge.camera.stored_file import StoredFile
from edge.errors import EdgeError

Read = tuple[int, Unit, list[bytes | None]]
"""Number of a sample, a unit of it, and what was read: each field, and None for the end of a file."""

UNITS_A_BLOCK = 8
"""Units that an actor reads at a time: what is read again, at most, when it is killed."""

UNITS_A_ROUND = 5000
"""Units of one execution of Ray Data, for each actor. It keeps a record of each block until it ends: in rounds, its
memory does not grow with the archive. The next round loads the networks again."""

ACTOR_CPUS, FETCH_CPUS = 0.5, 0.25
"""What Ray is told that each takes. An actor keeps a core busy; at 0.75 two of them left no room on two cores for the
tasks that bring them their units."""


class RayReader:
    """Reads on Ray; see `edge.batch.reading.read_files.Reader`.

    The units of all samples are one stream, so that networks are loaded once an actor and round. What comes of a later
    sample is noted when it comes. A context manager that ends the connection.
    """

    def __init__(
        self, address: str | None, processes: int | None, how: HowRead, units: Iterator[tuple[int, Unit]]
    ) -> None:
        """Take where Ray is, how many actors there are, how they read, and what: units with their samples' numbers.

        The samples are counted from 0, and `read` is called for each in turn.
        """
        self._address, self._processes, self._how, self._units = address, processes, how, units
        self._samples = count()
        self._open = ExitStack()

    def __enter__(self) -> RayReader:
        if first := list(islice(self._units, 1)):
            ray = self._open.enter_context(cluster(self._address))
            self._cpus = int(ray.cluster_resources().get("CPU", 1))
            process_count(self._processes, 1, self._cpus)
            self._rows = self._streamed(ray, chain(first, self._units))
            self._open.callback(self._rows.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def read(self, units: Iterable[Unit], journal: Journal, after: AfterField, stopped: Callable[[], bool]) -> None:
        """Read until the units are done, or a block has come after `stopped` says so."""
        this, wanted = next(self._samples), sum(1 for _ in units)
        while wanted and not stopped():
            read = next(self._rows, None)
            if read is None:
                raise EdgeError(f"the Ray cluster ended without {wanted} files. Go on with --resume")
            sample, unit, notes = read
            journal.begin(unit)
            for result in notes:
                note(journal, unit, result)
                if result is None:
                    after(str(unit.files[0]), True)
            wanted -= sample == this

    def _streamed(self, ray: Any, units: Iterator[tuple[int, Unit]]) -> Generator[Read, None, None]:
        """Give each unit and what was read of it, in any order."""
        most = process_count(self._processes, sys.maxsize, self._cpus)
        while some := list(islice(units, UNITS_A_ROUND * most)):
            try:
                for block in self._dataset(ray, some).iter_batches(batch_size=None, batch_format="numpy"):
                    for read in block["read"]:
                        yield pickle.loads(read)  # noqa: S301 - our own actor's
            except ray.exceptions.RayError as error:
                raise _ours(error) from error

    def _dataset(self, ray: Any, units: list[tuple[int, Unit]]) -> Any:
        rows = [{"sample": number, "unit": pickle.dumps(unit)} for number, unit in units]
        # Cut here: repartition() does it in tasks of a whole core each, which a computer of one core never has free.
        found = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // UNITS_A_BLOCK))
        if any(isinstance(unit.files[0], StoredFile) for _, unit in units):
            found = found.map_batches(fetch, batch_size=UNITS_A_BLOCK, num_cpus=FETCH_CPUS)
        # One block waits at each actor while it reads another.
        actors = process_count(self._processes, len(rows), self._cpus)
        pool = ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2)
        return found.map_batches(
            FieldActor, fn_constructor_args=(self._how,), compute=pool, num_cpus=ACTOR_CPUS, batch_size=UNITS_A_BLOCK
        )


def _ours(error: BaseException) -> EdgeError:
    """Return what an actor refused, or in words what became of Ray."""
    found: BaseException | None = error
    while found is not None:
        cause = getattr(found, "cause", None) or found.__cause__
        if isinstance(found, EdgeError):
            return found
        found = cause if isinstance(cause, BaseException) and cause is not found else None
    return EdgeError(f"the Ray cluster failed: {error}. What was read is kept: go on with --resume")
