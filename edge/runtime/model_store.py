"""A laboratory's own models: installed with a gate report that passed, chosen, rolled back, and never half-written.

`state_dir/models/<role>/<sha256>.onnx` are the files, `state_dir/models/<role>/history.json` says which there are and
every choice in order. Nothing is deleted: a result names its model by digest, and the file can still be looked at.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from edge.config.model import ModelConfig, ModelsConfig, Sha256
from edge.errors import InputError, ModelError
from edge.runtime.bundle_record import TakenIn, read_record
from edge.runtime.contract import ROLES, Contract, Role, self_contained, verified
from edge.runtime.gate_report import GateReport, passed_report
from edge.system.atomic_files import aside, move, remove_unfinished, storage_errors
from edge.system.digest import sha256_file

SHIPPED = "shipped"
"""Name of the model that came with the program, wherever a model is named."""

HISTORY = "history.json"

DIGEST_MIN = 6
"""A model may be named by so many first digits of its digest."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Installed(_Record):
    """One installed model, with the whole report that let it in."""

    sha256: Sha256
    name: str
    version: str
    installed_at: AwareDatetime
    report: GateReport

    def is_called(self, name: str) -> bool:
        """Whether a person may mean this model by the name."""
        digits = len(name) >= DIGEST_MIN and self.sha256.startswith(name.lower())
        return digits or name in (self.name, f"{self.name} {self.version}")


class Choice(_Record):
    """One decision: `use` puts a model, named by its digest or `shipped`, on the others.

    `rollback` takes it away.
    """

    at: AwareDatetime
    action: Literal["use", "rollback"]
    model: str
    """The model in use from then on."""


class History(_Record):
    """The whole of history.json. choices: never shortened, the newest last."""

    schema_version: Literal[1] = 1
    installed: tuple[Installed, ...] = ()
    choices: tuple[Choice, ...] = ()

    @property
    def stack(self) -> list[str]:
        """The models that a rollback would go through, the one in use last.

        The first is the shipped one.
        """
        stack: list[str] = [SHIPPED]
        for choice in self.choices:
            if choice.action == "use":
                stack.append(choice.model)
            elif len(stack) > 1:
                stack.pop()
        return stack


class ModelStore:
    """The installed models below a state folder. Two programs at once wait for each other."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "models"

    def history(self, role: Role) -> History:
        """Read what is installed and chosen; raises ModelError when the file is damaged."""
        path = self._folder / role / HISTORY
        try:
            return History.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return History()
        except (OSError, ValidationError) as error:
            raise ModelError(
                f"{path} cannot be read: {error}. Expected what `sicklescope model` wrote. Put a copy of it back, or "
                f"name a model by models.{role}.path; without the file only the shipped model is known"
            ) from error

    def path(self, role: Role, sha256: str) -> Path:
        """Return where an installed model's file is."""
        return self._folder / role / f"{sha256}.onnx"

    def chosen(self, role: Role, with_bundle: bool = True) -> ModelConfig | None:
        """Return the file and digest of the model of the bundle in use, else of the chosen model.

        None for the shipped one. Raises ModelError if it is gone.
        """
        bundle = self.bundle() if with_bundle else None
        sha256 = self.history(role).stack[-1] if bundle is None else str(getattr(bundle, role))
        return None if sha256 == SHIPPED else ModelConfig(path=self._there(role, sha256), sha256=sha256)

    def install(self, file: Path, report: Path, role: Role | None = None) -> tuple[Contract, str]:
        """Copy a model in after checking its contract, its graph and the report.

        Return its contract and digest. role: that it must have, where one is asked for.

        It is not in use until chosen. Raises ModelError when the model breaks its contract, or the report did not
        pass
        or is of another file; InputError when one of the two cannot be read; StorageError when there is no room.
        """
        data = _read(file)
        sha256 = hashlib.sha256(data).hexdigest()
        self_contained(file, data)
        passed = passed_report(report, _read(report), sha256)
        contract = _loaded(file, sha256)
        if role not in (None, contract.role):
            raise ModelError(f"{file} is a {contract.role}; expected a {role}. Two files were exchanged")
        if contract.name == SHIPPED:
            raise ModelError(f"{file} calls itself {SHIPPED!r}, which is the shipped model. Export it by another name")
        entry = Installed(
            sha256=sha256, name=contract.name, version=contract.version, installed_at=_now(), report=passed
        )
        with self._locked(contract.role) as folder:
            history = self.history(contract.role)
            with aside(folder) as unfinished:
                with storage_errors(folder):
                    (unfinished / file.name).write_bytes(data)
                move(unfinished / file.name, self.path(contract.role, sha256))
            others = tuple(one for one in history.installed if one.sha256 != sha256)
            self._write(contract.role, history.model_copy(update={"installed": (*others, entry)}))
        return contract, sha256

    def use(self, name: str, role: Role | None = None) -> tuple[Role, str]:
        """Choose by name, `name version`, the first digits of a digest, or `shipped`.

        Return role and digest or that.

        Raises InputError when there is no such model or several, ModelError when its file is gone.
        """
        self._no_bundle()
        role, model = self._named(name, role)
        if model != SHIPPED:
            self._there(role, model)
        self._choose(role, "use", model)
        return role, model

    def rollback(self, role: Role) -> str:
        """Go back to the model in use before, and return its digest or `shipped`.

        Raises InputError at the end.
        """
        self._no_bundle()
        stack = self.history(role).stack
        if len(stack) == 1:
            raise InputError(f"there is no {role} to go back to: the shipped one is in use")
        self._choose(role, "rollback", stack[-2])
        return stack[-2]

    def bundle(self) -> TakenIn | None:
        """Return the bundle in use, whose pair goes before every choice; raises ModelError."""
        return read_record(self._folder).in_use

    def _no_bundle(self) -> None:
        """Raise InputError while a bundle is in use: one model of another pair beside it would count."""
        bundle = self.bundle()
        if bundle is not None:
            raise InputError(
                f"the bundle {bundle.in_words} is in use, a pair: sicklescope model rollback, without a role"
            )

    def _named(self, name: str, role: Role | None) -> tuple[Role, str]:
        if name == SHIPPED:
            if role is None:
                raise InputError("there is a shipped model of each role: add --role detector or --role classifier")
            return role, SHIPPED
        roles = ROLES if role is None else (role,)
        known = [(one, model) for one in roles for model in self.history(one).installed]
        found = [(one, model.sha256) for one, model in known if model.is_called(name)]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(f"{m.name} {m.version} ({r}, {m.sha256[:12]})" for r, m in known) or "none"
        what = "several installed models are" if found else "no installed model is"
        raise InputError(f"{what} called {name!r}; installed: {listed}. Name one by the first digits of its digest")

    def _there(self, role: Role, sha256: str) -> Path:
        """Return the path of an installed model's file; raises ModelError when it is not the file that came in."""
        path = self.path(role, sha256)
        if not path.is_file() or sha256_file(path) != sha256:
            raise ModelError(
                f"installed {role} {path} is not there or was changed. Install it again from its file, or go back: "
                f"`sicklescope model rollback {role}`"
            )
        return path

    def _choose(self, role: Role, action: Literal["use", "rollback"], model: str) -> None:
        with self._locked(role):
            history = self.history(role)
            choice = Choice(at=_now(), action=action, model=model)
            self._write(role, history.model_copy(update={"choices": (*history.choices, choice)}))

    def _write(self, role: Role, history: History) -> None:
        target = self._folder / role / HISTORY
        with aside(target.parent) as folder:
            with storage_errors(target):
                (folder / HISTORY).write_text(history.model_dump_json(indent=1) + "\n", encoding="utf-8")
            move(folder / HISTORY, target)

    @contextmanager
    def _locked(self, role: Role) -> Iterator[Path]:
        """Hold a role's folder, made where it is missing, for this program alone; give its path."""
        folder = self._folder / role
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / ".lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            remove_unfinished(folder)
            yield folder


def located(role: Role, models: ModelsConfig, state_dir: Path, form: str) -> tuple[Path, str]:
    """Return path and sha256 of the model to run.

    The configured one, else the chosen one, else the shipped one.

    form: which of the shipped files. Raises ModelError when the file is not what was pinned.
    """
    model: ModelConfig = getattr(models, role)
    if model.path is None:
        # A bundle is a pair: beside a model of one's own its other half does not count.
        alone = all(getattr(models, one).path is None for one in ROLES)
        model = ModelStore(state_dir).chosen(role, with_bundle=alone) or model
    return verified(role, model, form)


def _loaded(path: Path, sha256: str) -> Contract:
    """Try a model as the device would run it and return its contract; raises ModelError."""
    from edge.runtime.base import Source  # heavy, and of no use to whoever only asks what is chosen
    from edge.runtime.onnx import OnnxNetwork
    from edge.runtime.trial import tried

    tried(path)
    network = OnnxNetwork(Source(None, path, sha256, ModelsConfig(threads=1)))
    network.close()
    return network.contract


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _now() -> datetime:
    return datetime.now(timezone.utc)
