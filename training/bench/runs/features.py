"""`bench features`: what a frozen trunk makes of cells, or eight measures of their masks, and a classical learner."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import joblib
import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from edge.errors import ConfigError
from edge.system.progress_bars import ReportProgress
from edge.types import Floats
from training.bench.datasets.cell_images import Cells
from training.bench.datasets.splits import Part
from training.bench.models import networks
from training.bench.models.shape_features import SHAPE, shapes
from training.bench.runs import trainer
from training.bench.runs.fit import WEIGHTS, said, same_division, unseen
from training.bench.runs.fold_outputs import Outcome, calibrated, of_fold
from training.bench.runs.predict import LEARNER, TRUNK, answers
from training.bench.runs.run import Plan, carry_out
from training.run_folder import write_bytes

INNER = 3
"""Folds, by group, of the grid search inside what a fold learns from."""

GRIDS: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "svm": (SVC(class_weight="balanced"), {"svc__C": [0.3, 1, 3, 10, 30], "svc__gamma": ["scale", 1e-4, 1e-3]}),
    "naive_bayes": (GaussianNB(), {"gaussiannb__var_smoothing": [1e-9, 1e-3, 1e-1, 1]}),
    "knn": (KNeighborsClassifier(weights="distance"), {"kneighborsclassifier__n_neighbors": [1, 3, 5, 9, 15]}),
    "random_forest": (RandomForestClassifier(300, class_weight="balanced_subsample", random_state=0),
                      {"randomforestclassifier__max_features": ["sqrt", 0.3, 0.6]}),
}  # fmt: skip
"""Learners with what the grid search tries."""


class FeatureSettings(BaseModel):
    """One run on frozen features; net: one of NETS, or `shape`.

    weights: as of a fit, or the folder of a fit to the same cells, of which each fold's own network measures.
    views: turned and mirrored looks at a cell whose features are averaged, 1 or 8.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    net: str
    classifier: Literal["svm", "naive_bayes", "knn", "random_forest"]
    weights: str = "none"
    side: int | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    views: Literal[1, 8] = 1
    copies: bool = False
    folds: tuple[int, ...] | None = None


def features_run(cells: Cells, settings: FeatureSettings, run: Path, progress: ReportProgress) -> dict[str, Any]:
    """Fit a classical learner to each fold and write the run; returns its figures. Errors.

    As `fit`.
    """
    if settings.net != SHAPE and settings.net not in networks.NETS:
        raise ConfigError(f"no network {settings.net!r}; there are {SHAPE}, {', '.join(networks.NETS)}")
    plan = Plan.of(cells, settings.validation, settings.seed, settings.folds, settings.copies)
    side = 0 if settings.net == SHAPE else settings.side or networks.NETS[settings.net].side
    measure = _measure(settings, plan, side)
    y, groups = plan.y, np.repeat(cells.groups, plan.copies)

    def fold(part: Part, folder: Path) -> Outcome:
        measured = measure(part, folder)
        learner, grid = GRIDS[settings.classifier]
        inner = StratifiedGroupKFold(min(INNER, len(set(groups[part.train]))), shuffle=True, random_state=settings.seed)
        search = GridSearchCV(make_pipeline(StandardScaler(), learner), grid, scoring="balanced_accuracy", cv=inner)
        search.fit(measured[part.train], y[part.train], groups=groups[part.train])
        buffer = io.BytesIO()
        joblib.dump(search.best_estimator_, buffer)
        write_bytes(folder / LEARNER, buffer.getvalue())
        classes = len(cells.source.classes)
        judged, checked = (answers(search.best_estimator_, measured[rows], classes) for rows in (part.test, part.check))
        return calibrated(part.fold, part.test, judged, part.check, checked, y)

    return carry_out(run, "features", {**settings.model_dump(mode="json"), "side": side,
                                       "weights": said(settings.weights)}, plan, fold, progress)  # fmt: skip


def _measure(settings: FeatureSettings, plan: Plan, side: int) -> Callable[[Part, Path], Floats]:
    """Return what measures all cells for a fold, float32 (rows, features), and leaves the trunk in its folder."""
    if settings.net == SHAPE:
        if plan.copies > 1:
            raise ConfigError("a mask's measures do not change when it is turned: drop --copies")
        shaped = shapes(plan.samples)
        return lambda part, folder: shaped
    classes, pixels = plan.cells.source.classes, plan.pixels(side)
    of_run = Path(settings.weights).is_dir()
    if of_run:
        same_division(Path(settings.weights), plan, settings.seed, settings.validation)

    @lru_cache(maxsize=1)
    def read(weights: str) -> tuple[networks.Net, Floats]:
        net = networks.built(settings.net, len(classes), side, weights, settings.seed)
        return net, trainer.features(net, pixels, settings.views)

    def measure(part: Part, folder: Path) -> Floats:
        weights = str(of_fold(Path(settings.weights), part.fold) / WEIGHTS) if of_run else settings.weights
        unseen(weights, plan, part)
        net, measured = read(weights)
        networks.save(net, classes, [], folder / TRUNK)
        return measured

    return measure
