"""`bench fit`: a network, each fold anew from the same start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import ConfigError
from edge.system.digest import sha256_file
from edge.system.progress_bars import ReportProgress
from edge.types import Floats
from training.bench.datasets.cell_images import Cells
from training.bench.datasets.splits import Part
from training.bench.models import networks
from training.bench.models.settings import FitSettings
from training.bench.runs import trainer
from training.bench.runs.fold_outputs import Outcome, calibrated, configuration
from training.bench.runs.predict import reader
from training.bench.runs.run import Plan, carry_out
from training.bench.runs.trainer import Lesson, probabilities
from training.data.datasets import DataError
from training.run_folder import write_text

WEIGHTS, CURVE = "weights.pt", "curve.json"


def fit(cells: Cells, settings: FitSettings, run: Path, progress: ReportProgress) -> dict[str, Any]:
    """Fit a network to each fold of a set and write the run; returns its figures.

    Raises DataError, InputError, ConfigError, ModelError and StorageError, each before anything is lost.
    """
    if settings.net not in networks.NETS:
        raise ConfigError(f"no network {settings.net!r}; there are {', '.join(networks.NETS)}")
    if not sum(settings.schedule):
        raise ConfigError("epochs are 0, 0, 0: nothing would be learnt")
    side = settings.side or networks.NETS[settings.net].side
    plan = Plan.of(cells, settings.validation, settings.seed, settings.folds, settings.copies)
    networks.built(settings.net, len(cells.source.classes), side, settings.weights, settings.seed)  # fails early
    pixels, y = plan.pixels(side), plan.y

    def fold(part: Part, folder: Path) -> Outcome:
        net = networks.built(settings.net, len(cells.source.classes), side, settings.weights, settings.seed + part.fold)
        unseen(settings.weights, plan, part)
        lesson = Lesson(pixels[part.train], y[part.train], pixels[part.check], y[part.check],
                        _taught(settings, plan, part))  # fmt: skip

        def report(done: int, total: int, loss: float) -> None:
            progress(f"fold {part.fold}, validation loss {loss:.3f}", done, total)

        curve = trainer.learn(net, lesson, settings, folder, report)
        networks.save(net, cells.source.classes, plan.learnt_from(part), folder / WEIGHTS)
        write_text(folder / CURVE, json.dumps(curve, indent=1) + "\n")
        judged = probabilities(net, pixels[part.test], settings.views)
        checked = probabilities(net, pixels[part.check], settings.views)
        outcome = calibrated(part.fold, part.test, judged, part.check, checked, y)
        (folder / trainer.CHECKPOINT).unlink(missing_ok=True)
        return outcome

    return carry_out(run, "fit", {**settings.model_dump(mode="json"), "side": side, "weights": said(settings.weights)},
                     plan, fold, progress)  # fmt: skip


def said(weights: str) -> str:
    """Return what a run remembers of its weights.

    Files by their digest, so that they may lie elsewhere next time.
    """
    path = Path(weights)
    if path.is_dir():
        return " ".join(said(str(file)) for file in sorted(path.glob(f"fold*/{WEIGHTS}")))
    return f"sha256 {sha256_file(path)[:16]}" if path.is_file() else weights


def unseen(weights: str, plan: Plan, part: Part) -> None:
    """Raise DataError when a cell that judges this fold taught the starting weights."""
    if weights.endswith(".h5") or not Path(weights).is_file():
        return
    content = networks.saved(Path(weights))
    if plan.cells.source.name in content.get("sets", ()):
        raise DataError(f"{weights} was taught by pictures of {plan.cells.source.name}: start from others")
    known = set(content["trained_on"])
    leaks = [i for i in part.test // plan.copies if plan.cells.digests[i] in known]
    if leaks:
        raise DataError(f"{weights} was taught by {len(leaks)} of the cells that judge fold {part.fold} "
                        f"({plan.cells.source.samples[leaks[0]].path.name}): start from others")  # fmt: skip


def _taught(settings: FitSettings, plan: Plan, part: Part) -> Floats | None:
    """Return what the teacher's networks of this same fold, which have not seen its judges, say of what is learnt."""
    if settings.teacher is None:
        return None
    teacher = Path(settings.teacher)
    same_division(teacher, plan, settings.seed, settings.validation)
    samples = [plan.samples[i] for i in part.train]
    if plan.copies > 1:
        raise ConfigError("a teacher reads cells as they are: drop --copies")
    return np.asarray(reader(teacher, part.fold)(samples), np.float32)


def same_division(run: Path, plan: Plan, seed: int, validation: float) -> None:
    """Raise ConfigError unless a run divided the same cells in the same way.

    Its folds then know the same cells.
    """
    content = configuration(run)
    if content["data_sha256"] != plan.cells.digest or content["copies"] != plan.copies or (
        content["settings"]["seed"] != seed or content["settings"]["validation"] != validation
    ):  # fmt: skip
        raise ConfigError(f"{run} learnt from other cells or folds: fit it to the same set and --seed")
