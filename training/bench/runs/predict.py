"""Finished runs read cells: a fold's own network, its learner, or its ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from edge.errors import ModelError
from edge.types import Floats
from training.bench.datasets.cell_images import pictures
from training.bench.datasets.labelled_cell import Sample
from training.bench.models import networks
from training.bench.models.shape_features import SHAPE, shapes
from training.bench.runs import trainer
from training.bench.runs.fold_outputs import configuration, loaded, of_fold, tempered

LEARNER, TRUNK = "learner.joblib", "trunk.pt"

FieldReader = Callable[[Sequence[Sample]], Floats]
"""Cells in, probabilities (N, classes) out, temperature in them."""


def answers(learner: Any, measured: Floats, classes: int) -> Floats:
    """Return probabilities (N, classes) of a classical learner.

    A class that it has not met gets none.

    An SVM has margins and no probabilities: their softmax, which the temperature of the fold then calibrates.
    """
    if hasattr(learner, "predict_proba"):
        found = learner.predict_proba(measured)
    else:
        margin = learner.decision_function(measured)
        margin = np.stack([-margin, margin], 1) if margin.ndim == 1 else margin
        found = tempered(np.exp(margin - margin.max(1, keepdims=True)), 1.0)
    prob = np.full((len(measured), classes), 1e-6, np.float32)
    prob[:, learner.classes_] = np.clip(found, 1e-6, 1)
    return np.asarray(prob / prob.sum(1, keepdims=True), np.float32)


def reader(run: Path, fold: int) -> FieldReader:
    """Return what a fold of a finished run reads cells with.

    Raises ModelError when it is not whole.
    """
    content = configuration(run)
    folder = of_fold(run, fold)
    if content["kind"] == "ensemble":
        members = [(Path(name), weight) for name, weight in zip(
            content["settings"]["members"], loaded_weights(folder), strict=True)]  # fmt: skip
        parts = [(reader(path, fold), weight) for path, weight in members]
        t = loaded(folder).temperature
        return lambda samples: tempered(
            np.sum([weight * read(samples) for read, weight in parts], axis=0, dtype=np.float32), t
        )
    t = loaded(folder).temperature
    if content["kind"] == "fit":
        net, views = networks.restored(folder / "weights.pt"), content["settings"]["views"]
        return lambda samples: tempered(trainer.probabilities(net, pictures(samples, net.side), views), t)
    return _classical(folder, content, t)


def _classical(folder: Path, content: dict[str, Any], t: float) -> FieldReader:
    if not (folder / LEARNER).is_file():
        raise ModelError(f"{folder / LEARNER} not found: run the command of {folder.parent} again")
    learner, classes = joblib.load(folder / LEARNER), len(content["classes"])
    if content["settings"]["net"] == SHAPE:
        return lambda samples: tempered(answers(learner, shapes(samples), classes), t)
    net, views = networks.restored(folder / TRUNK), content["settings"]["views"]
    return lambda samples: tempered(
        answers(learner, trainer.features(net, pictures(samples, net.side), views), classes), t
    )


def loaded_weights(folder: Path) -> list[float]:
    """Return the weights of an ensemble's members in a fold.

    Raises ModelError when they are absent.
    """
    try:
        return [float(w) for w in np.load(folder / "weights.npy")]
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'weights.npy'} cannot be read: {error}") from error
