"""Where built engines lie: named by all that an engine depends on, whole or not there, and never two builders at once.

An engine is a plain file that `trtexec` can load; what it was made of stands in a JSON file beside it, written last.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.system.atomic_files import aside, move, storage_errors

KEPT = 2
"""Engines of a role that stay: the one in use, and the last good one before it, for the way back after an upgrade."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that makes an engine another one.

    tensorrt: module and full version. compute_capability: such as 8.7. shapes, settings: as text.
    """

    role: str
    model_sha256: str
    tensorrt: str
    gpu: str
    compute_capability: str
    precision: str
    shapes: str
    settings: str

    @property
    def name(self) -> str:
        """Return the name of the engine's files without their endings."""
        return f"{self.role}-{_digest(json.dumps(asdict(self), sort_keys=True).encode())[:16]}"


class Sidecar(BaseModel):
    """What stands beside an engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    key: EngineKey
    engine_sha256: str
    precision: str
    """What the engine was found to compute in."""
    build_s: float
    golden: dict[str, float]
    """Largest differences from ONNX Runtime when it was built."""


class EngineStore:
    """The folder of engines of a device; any number of processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self, role: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Let one process at a time look for and build engines of a role.

        `waiting` is called before a wait.

        The lock is the kernel's: a process that dies, or a power cut, leaves nothing to clear away.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / f".{role}.lock").open("wb")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def load(self, key: EngineKey) -> tuple[bytes, str] | None:
        """Return the engine and its precision, or None when there is none, or not a whole one.

        It is to be built.
        """
        try:
            sidecar = Sidecar.model_validate_json(self._sidecar(key).read_bytes())
            engine = self.path(key).read_bytes()
        except (OSError, ValidationError):
            return None
        whole = sidecar.key == key and sidecar.engine_sha256 == _digest(engine)
        return (engine, sidecar.precision) if whole else None

    def save(self, key: EngineKey, engine: bytes, precision: str, build_s: float, golden: dict[str, float]) -> None:
        """Write an engine that was found good, then its sidecar, and drop the oldest.

        Raises StorageError.
        """
        about = Sidecar(
            key=key, engine_sha256=_digest(engine), precision=precision, build_s=round(build_s, 2), golden=golden
        )
        self._write(self.path(key), engine)
        self._write(self._sidecar(key), (about.model_dump_json(indent=2) + "\n").encode())
        self._drop_oldest(key)

    def path(self, key: EngineKey) -> Path:
        """Return where the engine lies."""
        return self.folder / f"{key.name}.engine"

    def timing_cache(self, key: EngineKey) -> bytes:
        """Return what the builder measured on this GPU with this release.

        Empty when nothing is known.
        """
        path = self._timing(key)
        return path.read_bytes() if path.is_file() else b""

    def save_timing_cache(self, key: EngineKey, data: bytes) -> None:
        """Keep the builder's measurements for the next build; raises StorageError."""
        if data:
            self._write(self._timing(key), data)

    def _sidecar(self, key: EngineKey) -> Path:
        return self.folder / f"{key.name}.json"

    def _timing(self, key: EngineKey) -> Path:
        about = f"{key.tensorrt} {key.gpu} {key.compute_capability}"
        return self.folder / f"timing-{_digest(about.encode())[:16]}.cache"

    def _write(self, target: Path, data: bytes) -> None:
        with aside(self.folder) as unfinished, storage_errors(target):
            part = unfinished / target.name
            part.write_bytes(data)
            move(part, target)

    def _drop_oldest(self, key: EngineKey) -> None:
        others = [path for path in self.folder.glob(f"{key.role}-*.engine") if path != self.path(key)]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[KEPT - 1 :]:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
