"""`bench ensemble`: several runs vote, each with the weight that the validation cells give it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from edge.errors import ConfigError
from edge.system.progress_bars import ReportProgress
from edge.types import Floats
from training.bench.datasets.cell_images import Cells
from training.bench.datasets.splits import Part
from training.bench.runs.fold_outputs import Outcome, calibrated, configuration, of_fold, outcomes
from training.bench.runs.run import Plan, carry_out
from training.run_folder import write_bytes

SPREAD = 0.02
"""Pull towards equal weights: a few dozen validation cells would else give everything to one member."""


def weights_of(members: Sequence[Floats], y: np.ndarray) -> np.ndarray:
    """Return the weights of members under which labels are likeliest.

    They are ≥ 0, their sum is 1, and they weigh the members' probabilities.

    members: (N, classes) each, of the same validation cells; y int (N,).
    """
    at = np.stack([prob[np.arange(len(y)), y] for prob in members], 1)
    equal = np.full(at.shape[1], 1 / at.shape[1])

    def unlikely(w: np.ndarray) -> float:
        return float(-np.log(np.clip(at @ w, 1e-9, 1)).mean() + SPREAD * ((w - equal) ** 2).sum())

    found = minimize(unlikely, equal, method="SLSQP", bounds=[(0, 1)] * len(equal),
                     constraints={"type": "eq", "fun": lambda w: w.sum() - 1})  # fmt: skip
    return np.asarray(np.clip(found.x, 0, 1) / np.clip(found.x, 0, 1).sum())


def ensemble(cells: Cells, members: Sequence[Path], run: Path, progress: ReportProgress) -> dict[str, Any]:
    """Let finished runs on the same cells and folds vote, and write the run.

    Returns its figures.

    Raises ConfigError where the members differ in data or folds, ModelError where one is not finished.
    """
    told = [configuration(member) for member in members]
    known = {str(m): outcomes(m) for m in members}
    first = told[0]["settings"]
    for member, content in zip(members, told, strict=True):
        same = all(content["settings"][k] == first[k] for k in ("seed", "validation", "folds"))
        if content["data_sha256"] != cells.digest or content["copies"] != told[0]["copies"] or not same:
            raise ConfigError(f"{member} was not fitted to the same cells and folds as {members[0]}: "
                              "an ensemble needs the same --set, --seed and --folds of all")  # fmt: skip
    only = None if first["folds"] is None else tuple(first["folds"])
    plan = Plan.of(cells, first["validation"], first["seed"], only, told[0]["copies"] > 1)

    def fold(part: Part, folder: Path) -> Outcome:
        mine = [next(o for o in known[str(m)] if o.fold == part.fold) for m in members]
        weights = weights_of([o.check_prob for o in mine], plan.y[part.check])
        buffer = io.BytesIO()
        np.save(buffer, weights)
        write_bytes(of_fold(run, part.fold) / "weights.npy", buffer.getvalue())
        judged, checked = (np.tensordot(weights, np.stack(p), 1).astype(np.float32) for p in (
            [o.prob for o in mine], [o.check_prob for o in mine]))  # fmt: skip
        return calibrated(part.fold, part.test, judged, part.check, checked, plan.y)

    settings = {"members": [str(m.resolve()) for m in members], "seed": first["seed"],
                "validation": first["validation"], "folds": first["folds"]}  # fmt: skip
    return carry_out(run, "ensemble", settings, plan, fold, progress)
