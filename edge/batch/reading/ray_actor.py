"""What runs on the nodes of a Ray cluster: tasks fetch files, and actors read them with networks of their own."""

from __future__ import annotations

import pickle
import platform
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from edge.batch.reading.journal import Unit
from edge.batch.reading.read_files import NetworkId, ReadOptions
from edge.batch.reading.workers import WorkerPool
from edge.camera.image_files import is_video
from edge.camera.stored_file import StoredFile
from edge.config.model import Config
from edge.errors import ConfigError

Rows = dict[str, Any]
"""Rows of a block: a sample's number, and a pickled unit or what was read of it."""

FETCHED_MAX = 256 * 10**6
"""Bytes of a file that travel through Ray; the actor fetches a larger one itself, and each that is not alone."""


@dataclass(frozen=True, slots=True)
class HowRead:
    """How files are read, the same on each node.

    Attributes:
        config: of the scan.
        options: of the scan.
        networks: those of the scan.
        sicklescope: version of the scan.
    """

    config: Config
    options: ReadOptions
    networks: tuple[NetworkId, ...]
    sicklescope: str = version("sicklescope")


def fetch(rows: Rows) -> Rows:
    """Bring the files of units from their store, some at a time."""
    units = [pickle.loads(data) for data in rows["unit"]]  # noqa: S301 - our own driver's
    with ThreadPoolExecutor(max(1, len(units))) as pool:
        fetched = list(pool.map(_fetched, units))
    return {"sample": rows["sample"], "unit": [pickle.dumps(unit) for unit in fetched]}


def _fetched(unit: Unit) -> Unit:
    (path, *more) = unit.files
    if more or not isinstance(path, StoredFile) or is_video(path):
        return unit
    if path.known is not None and path.known[0] > FETCHED_MAX:
        return unit
    return replace(unit, files=(path.fetch(),))


class FieldActor:
    """Reads units in a process of its own.

    A file that kills that process is told and not read for ever: Ray begins an actor's work again, without end,
    whenever it dies in the middle of it.
    """

    def __init__(self, how: HowRead) -> None:
        if (here := version("sicklescope")) != how.sicklescope:
            raise ConfigError(
                f"computer {platform.node()} of the cluster has sicklescope {here}; this scan is made by "
                f"{how.sicklescope}. Install the same version on each"
            )
        self._pool = WorkerPool(1, how.config, how.options, how.networks)
        self._sample: int | None = None

    def __call__(self, rows: Rows) -> Rows:
        """Read the units of a block; return each with its sample's number and its fields."""
        read: list[bytes] = []
        for sample, data in zip(rows["sample"].tolist(), rows["unit"], strict=True):
            if sample != self._sample:
                self._sample = sample
                self._pool.new_sample()
            unit: Unit = pickle.loads(data)  # noqa: S301 - our own driver's
            log = Readings()
            self._pool.read_more([unit], log, lambda name, done: None, lambda: False)
            # The bytes of a picture that was fetched stay here.
            bare = replace(unit, files=tuple(type(path)(str(path)) for path in unit.files))
            read.append(pickle.dumps((sample, bare, log.notes[unit.key])))
        return {"read": read}


class Readings:
    """Notes what is read in memory; see `edge.batch.reading.journal.FieldLog`.

    Attributes:
        notes: for each unit its fields as `encoded` gives them, and None for the end of a file.
    """

    def __init__(self) -> None:
        self.notes: dict[bytes, list[bytes | None]] = defaultdict(list)

    def begin(self, unit: Unit) -> None:
        """Begin to note a unit's fields, in place of any that were noted before."""
        self.notes[unit.key] = []

    def add(self, unit: Unit, result: bytes) -> None:
        """Note a field of a unit."""
        self.notes[unit.key].append(result)

    def file_done(self, unit: Unit) -> None:
        """Note that the next file of a unit was read to its end."""
        self.notes[unit.key].append(None)
