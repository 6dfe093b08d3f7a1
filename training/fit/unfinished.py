"""A training that was stopped goes on from what it kept, and ends as one that was never stopped."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.errors import ModelError
from training.run_folder import write_torch

KEPT_EVERY = 100
"""Steps between two writings."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Where the state of one training is kept until it ends."""

    path: Path

    def save(
        self,
        step: int,
        net: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        rng: Mapping[str, Any],
        **more: torch.Tensor,
    ) -> None:
        """Write everything that the next step depends on; raises StorageError.

        Args:
            step: how many are done.
            net: the network.
            optimiser: its optimiser.
            schedule: of the learning rate.
            rng: state of the generator that rows or fields are drawn by.
            more: what else the next step needs.
        """
        state = {
            "step": step, "net": net.state_dict(), "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(), "rng": dict(rng), "torch": torch.get_rng_state(), **more,
        }  # fmt: skip
        write_torch(state, self.path)

    def restore(
        self,
        net: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        rng: np.random.Generator,
    ) -> dict[str, Any] | None:
        """Take up what was kept, and return it; None where nothing was.

        Raises:
            ModelError: it cannot be read, or is of another network.
        """
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, weights_only=True)
            net.load_state_dict(state["net"])
            optimiser.load_state_dict(state["optimiser"])
            schedule.load_state_dict(state["schedule"])
            rng.bit_generator.state = state["rng"]
            torch.set_rng_state(state["torch"])
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            why = " ".join(str(error).split())[:200]
            raise ModelError(f"{self.path} cannot be taken up: {why}. Delete it, and its stage begins anew") from error
        return state


class _Nothing(Unfinished):
    """Keeps nothing: for a training that is short enough to be made anew."""

    def save(self, *_: object, **__: object) -> None:
        """Keep nothing."""


NOTHING_KEPT = _Nothing(Path("/nonexistent"))

Trained = Callable[[Unfinished], torch.nn.Module]
"""Trains one stage, and keeps its state there."""


def stage(folder: Path, name: str, train: Trained, load: Callable[[Path], Any]) -> Any:
    """Return the network of a stage, trained now or earlier.

    Args:
        folder: of the run.
        name: of the stage's files.
        train: trains it.
        load: reads its weights.
    """
    finished, unfinished = folder / f"stage-{name}.pt", Unfinished(folder / f"unfinished-{name}.pt")
    if finished.is_file():
        return load(finished)
    net = train(unfinished)
    write_torch(net.state_dict(), finished)
    unfinished.path.unlink(missing_ok=True)
    return net


def forget_stages(folder: Path, name: str) -> None:
    """Delete the stages of a network that is finished."""
    for path in folder.glob(f"stage-{name}-*.pt"):
        path.unlink()
