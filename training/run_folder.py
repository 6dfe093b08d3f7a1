"""The folder of a training run: what lies in it, under which name, and how it gets there whole."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge.errors import ModelError
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.digest import sha256_file
from training.data.datasets import FOLDS

LEFT_OUT = "left-out.json"

TRAINED_ON = {**{f"without{fold}": tuple(f for f in FOLDS if f != fold) for fold in FOLDS}, "all": FOLDS}
"""Folds that each pair of networks is trained on: four are judged by the fold they lack, `all` is shipped."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """Names of the files of a run. A file that is there is whole.

    It was written aside and renamed.
    """

    path: Path

    @property
    def left_out(self) -> tuple[str, ...]:
        """Sets of which the run has seen nothing; raises ModelError for a damaged file."""
        path = self.path / LEFT_OUT
        if not path.is_file():
            return ()
        try:
            return tuple(str(name) for name in json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ModelError(f"{path} cannot be read: {error}. Write the names of the sets, or begin anew") from error

    def leave_out(self, names: tuple[str, ...]) -> None:
        """Settle which sets a run leaves out.

        Raises:
            ModelError: it has begun with others.
        """
        path = self.path / LEFT_OUT
        begun = path.is_file() or self.taught.is_file()
        if begun and set(self.left_out) != set(names):
            said, asked = (", ".join(sets) or "no set" for sets in (self.left_out, names))
            raise ModelError(f"run {self.path} leaves out {said}; asked was {asked}. Take another folder")
        write_text(path, json.dumps(names) + "\n")

    @property
    def base(self) -> Path:
        """Weights of the detector taught by `txl_pbc` alone.

        It completes the labels of the other sets.
        """
        return self.path / "detector-base.pt"

    @property
    def taught(self) -> Path:
        """Boxes of the other sets as the base detector completed them, one JSON line a field."""
        return self.path / "taught.jsonl"

    @property
    def release(self) -> Path:
        """Folder of what `sicklescope-export onnx` reads."""
        return self.path / "release"

    @property
    def readings(self) -> Path:
        """Folder of what the networks saw in each field; every figure is counted from there."""
        return self.path / "readings"

    def detector(self, name: str) -> Path:
        """Weights of a detector, of one of TRAINED_ON."""
        return self.path / f"detector-{name}.pt"

    def classifier(self, name: str) -> Path:
        """Weights of a classifier, of one of TRAINED_ON."""
        return self.path / f"classifier-{name}.pt"

    def for_fold(self, fold: int) -> tuple[Path, Path]:
        """Weights of the detector and classifier that have never seen a fold."""
        return self.detector(f"without{fold}"), self.classifier(f"without{fold}")

    def shipped(self) -> tuple[Path, Path]:
        """Weights of the pair trained on all folds."""
        return self.detector("all"), self.classifier("all")


def write_text(path: Path, text: str) -> None:
    """Write a file aside and rename it; raises StorageError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file aside and rename it; raises StorageError."""
    with aside(path.parent) as unfinished:
        with storage_errors(path):
            (unfinished / path.name).write_bytes(data)
        move(unfinished / path.name, path)


def save_weights(net: torch.nn.Module, path: Path) -> None:
    """Write the weights of a network aside and rename them; raises StorageError."""
    write_torch(net.state_dict(), path)


def write_torch(content: dict[str, Any], path: Path) -> None:
    """Write what torch can save aside and rename it; raises StorageError."""
    buffer = io.BytesIO()  # torch.save hides a full disk behind an error of its own
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load_weights(path: Path) -> dict[str, Any]:
    """Read weights written by `save_weights`; raises ModelError when they are absent or damaged."""
    if not path.is_file():
        raise ModelError(f"weights {path} not found. Train them with: sicklescope-train detector, then classifier")
    try:
        weights: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(f"weights {path} cannot be read: {error}. Delete the file and train again") from error
    return weights


def restore(net: torch.nn.Module, path: Path) -> None:
    """Give a network weights written by `save_weights`.

    Raises ModelError, also when they are of another network.
    """
    weights = load_weights(path)
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        missing = " ".join(str(error).split())[:200]
        raise ModelError(
            f"weights {path} are not those of today's {type(net).__name__}: {missing}… Those of an earlier version run "
            "with that version alone. Train again, in another folder"
        ) from error
    net.eval()


def digest(path: Path) -> str:
    """Return the sha256 of a file of weights; raises ModelError when it is absent."""
    if not path.is_file():
        raise ModelError(f"weights {path} not found. Train them with: sicklescope-train detector, then classifier")
    return sha256_file(path)
