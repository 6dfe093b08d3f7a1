"""Which bundles of models a device has taken in, which is in use, and which waits: one file, written whole."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.config.model import Sha256
from edge.errors import ModelError
from edge.system.atomic_files import aside, move, remove_unfinished, storage_errors

RECORD = "bundles.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TakenIn(_Record):
    """A bundle that was checked, and whose models lie among the installed ones.

    digest: of its manifest; key: by which it was signed; detector, classifier: digests of its models.
    """

    digest: Sha256
    name: str
    serial: int
    key: str
    taken_in_at: AwareDatetime
    detector: Sha256
    classifier: Sha256

    @property
    def in_words(self) -> str:
        """Name it for people."""
        return f"{self.name} (serial {self.serial}, {self.digest[:12]})"


class BundleRecord(_Record):
    """The whole of bundles.json.

    Attributes:
        bundles: every one that was taken in; never shortened.
        stack: digests of those in use one after another, the present one last; empty: none is in use.
        waiting: digest of one that is to be used from the end of the sample at hand; empty: none.
        began_well: whether the one in use was loaded once.
        starts: how often loading it was begun before that.
    """

    schema_version: Literal[1] = 1
    bundles: tuple[TakenIn, ...] = ()
    stack: tuple[Sha256, ...] = ()
    waiting: Sha256 | Literal[""] = ""
    began_well: bool = True
    starts: Annotated[int, Field(ge=0)] = 0

    def of(self, digest: str) -> TakenIn:
        """Return a bundle by its digest; raises ModelError when it is not known."""
        for one in self.bundles:
            if one.digest == digest:
                return one
        raise ModelError(f"{RECORD} names a bundle {digest[:12]} that it does not know. Install that bundle again")

    @property
    def in_use(self) -> TakenIn | None:
        """The bundle in use, if any."""
        return self.of(self.stack[-1]) if self.stack else None

    @property
    def newest(self) -> str:
        """Digest of the bundle that waits, else of the one in use: what a rollback takes away.

        Empty for none.
        """
        return self.waiting or (self.stack[-1] if self.stack else "")

    @property
    def highest(self) -> int:
        """The highest serial that was ever taken in; 0 for none."""
        return max((one.serial for one in self.bundles), default=0)


def read_record(folder: Path) -> BundleRecord:
    """Read the record of a folder of models; raises ModelError when it is damaged."""
    path = folder / RECORD
    try:
        return BundleRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return BundleRecord()
    except (OSError, ValidationError) as error:
        raise ModelError(
            f"{path} cannot be read: {error}. Put a copy of it back, or take it away: then no bundle is in use, and "
            "any can be installed again"
        ) from error


def write_record(folder: Path, record: BundleRecord) -> None:
    """Write the record whole or not at all; raises StorageError."""
    with aside(folder) as unfinished:
        with storage_errors(folder / RECORD):
            (unfinished / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        move(unfinished / RECORD, folder / RECORD)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other programs from a folder, and remove what one that was killed left."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_unfinished(folder)
        yield
