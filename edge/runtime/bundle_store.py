"""Bundles on their way into use: checked and taken in, waiting, in use, and back to the last good one.

Each step ends with one file that is replaced whole, so that a kill or a power cut leaves the pair before or after it.
"""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from edge.bundle.bundle_file import Bundle, check_signature, extract, read_bundle
from edge.bundle.manifest import Manifest
from edge.config.model import ModelsConfig
from edge.errors import ConfigError, InputError, ModelError, StorageError
from edge.runtime.bundle_record import BundleRecord, TakenIn, locked, read_record, write_record
from edge.runtime.contract import ROLES
from edge.runtime.model_store import ModelStore
from edge.system.atomic_files import aside
from edge.system.health import free_mb

STARTS_MAX = 3
"""So often a new pair may be loaded in vain, by a crash or a power cut, before the device goes back."""

SPARE_MB = 100.0
"""What has to be free beside the models, for results."""


class BundleStore:
    """The bundles below a state folder. Two programs at once wait for each other."""

    def __init__(self, state_dir: Path, config: ModelsConfig) -> None:
        """Use a state folder; config: whose signatures count, and whether models are named by path."""
        self._state_dir, self._config = state_dir, config
        self.folder = self._folder = state_dir / "models"

    def record(self) -> BundleRecord:
        """Return what is known; raises ModelError when the file is damaged."""
        return read_record(self._folder)

    def take_in(self, path: Path, older: bool = False) -> TakenIn:
        """Check a bundle and both its models; it then waits for the end of the sample at hand.

        Args:
            path: of the file.
            older: whether the owner asks for one that is no newer than what was taken in before.

        Raises:
            ConfigError: Nobody's signature is accepted, or a model is named by path.
            InputError: It is no bundle, damaged, or not newer.
            ModelError: Its signature, its version, a model or a report is refused.
            StorageError: There is no room.
        """
        bundle = read_bundle(path)
        key = check_signature(bundle, self._config.accept_from)
        self._suits(bundle, older)
        self.check_room(sum(part.bytes for part in bundle.manifest.parts))
        self._install(bundle)
        manifest = bundle.manifest
        taken = TakenIn(
            digest=bundle.digest, name=manifest.name, serial=manifest.serial, key=key,
            taken_in_at=datetime.now(timezone.utc), detector=manifest.sha256_of("detector"),
            classifier=manifest.sha256_of("classifier"),
        )  # fmt: skip
        with locked(self._folder):
            record = self.record()
            _newer(path, manifest, record, older)  # another program may have taken one in meanwhile
            others = tuple(one for one in record.bundles if one.digest != taken.digest)
            self._write(record, bundles=(*others, taken), waiting=taken.digest)
        return taken

    def check_room(self, bundle_bytes: int) -> None:
        """Raise StorageError unless there is room for a bundle and for what is made of it."""
        need_mb, free = 3 * bundle_bytes / 1e6 + SPARE_MB, free_mb(self._state_dir)
        if free < need_mb:
            raise StorageError(
                f"{self._state_dir} has {free:.0f} MB free; this bundle needs {need_mb:.0f} MB. Make room"
            )

    def _suits(self, bundle: Bundle, older: bool) -> None:
        """Raise unless a bundle whose signature counts may be used on this device."""
        manifest, own = bundle.manifest, version("sicklescope")
        for role in ROLES:
            if getattr(self._config, role).path is not None:
                raise ConfigError(
                    f"models.{role}.path names a model, which goes before any bundle. Take it out of the configuration"
                )
        if not manifest.suits(own):
            raise ModelError(
                f"{bundle.path} is for sicklescope {manifest.minimum_version} or newer; this is {own}. Upgrade first"
            )
        record = self.record()
        if bundle.digest in (record.waiting, *record.stack[-1:]):
            raise InputError(f"bundle {manifest.name} (serial {manifest.serial}) is in use already, or waits to be")
        _newer(bundle.path, manifest, record, older)

    def _install(self, bundle: Bundle) -> None:
        """Check both models and their reports, and put them among the installed ones, where nobody uses them yet."""
        models = ModelStore(self._state_dir)
        with locked(self._folder / "taking-in"), aside(self._folder / "taking-in") as folder:
            files = extract(bundle, folder)
            for role in ROLES:
                models.install(files[role, "model"], files[role, "report"], role)

    def switch(self) -> TakenIn | None:
        """Put what waits in use, from the next loading of the networks on; return it, or None."""
        with locked(self._folder):
            record = self.record()
            if not record.waiting:
                return None
            self._write(record, stack=(*record.stack, record.waiting), waiting="", began_well=False, starts=0)
            return record.of(record.waiting)

    def begin(self) -> TakenIn | None:
        """Note that the pair in use is about to be loaded.

        Return the bundle that was given up, where it failed so often that the device goes back; else None.
        """
        with locked(self._folder):
            record = self.record()
            if record.began_well or not record.stack:
                return None
            if record.starts >= STARTS_MAX:
                return self._give_up(record)
            self._write(record, starts=record.starts + 1)
            return None

    def confirm(self) -> TakenIn | None:
        """Note that the pair in use was loaded; return it when that was the first time."""
        with locked(self._folder):
            record = self.record()
            if record.began_well or not record.stack:
                return None
            self._write(record, began_well=True, starts=0)
            return record.in_use

    def give_up(self) -> TakenIn | None:
        """Go back to the pair before, if the one in use was never loaded; return it, else None."""
        with locked(self._folder):
            record = self.record()
            return None if record.began_well or not record.stack else self._give_up(record)

    def rollback(self, seen: str | None = None) -> TakenIn | None:
        """Take the bundle that waits, else the one in use, away; return the one then in use.

        Args:
            seen: digest of the one that a person wants to be taken away; None: whichever it is.

        Raises:
            InputError: No bundle is in use, and none waits, or it is another one by now.
        """
        with locked(self._folder):
            record = self.record()
            if seen is not None and seen != record.newest:
                raise InputError("the bundles were changed since your page was made. Nothing was changed: look again")
            if not record.stack and not record.waiting:
                raise InputError("no bundle is in use, and none waits. Single models: sicklescope model rollback ROLE")
            stack = record.stack if record.waiting else record.stack[:-1]
            return self._write(record, stack=stack, waiting="", began_well=True, starts=0).in_use

    def _give_up(self, record: BundleRecord) -> TakenIn:
        self._write(record, stack=record.stack[:-1], began_well=True, starts=0)
        return record.of(record.stack[-1])

    def _write(self, record: BundleRecord, **changes: object) -> BundleRecord:
        changed = record.model_copy(update=changes)
        write_record(self._folder, changed)
        return changed


def _newer(path: Path, manifest: Manifest, record: BundleRecord, older: bool) -> None:
    if manifest.serial <= record.highest and not older:
        raise InputError(
            f"{path} has serial {manifest.serial}; this device took in {record.highest} before, and takes newer ones "
            "only. If you mean it, at the device: sicklescope model install --older"
        )
