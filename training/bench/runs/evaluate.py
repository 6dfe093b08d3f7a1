"""`bench evaluate`: a run or an ONNX file judged on a set that it need not know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import InputError, ModelError
from edge.types import Floats
from training.bench.datasets.cell_images import Cells, pictures
from training.bench.models.networks import saved
from training.bench.runs import scores
from training.bench.runs.fit import WEIGHTS
from training.bench.runs.fold_outputs import configuration, of_fold, outcomes
from training.bench.runs.predict import reader

BATCH = 64


def judge(model: Path, cells: Cells, renamed: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures of a model on a set.

    renamed: class of the model → name that the set has for it.

    A run that was fitted to the same cells answers each by the fold that did not learn from it. Raises InputError
    where the classes have nothing in common, ModelError where the model cannot be read.
    """
    if model.is_dir():
        told = configuration(model)
        rows, prob = _of_run(model, told, cells)
        classes = told["classes"]
    else:
        classes, prob = _of_onnx(model, cells)
        rows = np.arange(len(cells.y))
    merged = _as_named(prob, [renamed.get(name, name) for name in classes], cells.source.classes, str(model))
    return scores.figures(cells.source.classes, cells.y[rows], merged, cells.groups[rows].tolist())


def _of_run(run: Path, told: Mapping[str, Any], cells: Cells) -> tuple[np.ndarray, Floats]:
    done = outcomes(run)
    if told["data_sha256"] == cells.digest and told["copies"] == 1:
        return np.concatenate([o.test for o in done]), np.concatenate([o.prob for o in done])
    known = {d for o in done for d in _taught_by(run, o.fold)}
    if leaks := known.intersection(cells.digests):
        raise InputError(f"{run} learnt from {len(leaks)} of these cells: judge it on others, or on its own set whole")
    prob = np.mean([reader(run, o.fold)(cells.source.samples) for o in done], axis=0, dtype=np.float32)
    return np.arange(len(cells.y)), np.asarray(prob)


def _taught_by(run: Path, fold: int) -> list[str]:
    path = of_fold(run, fold) / WEIGHTS
    return list(saved(path)["trained_on"]) if path.is_file() else []


def _of_onnx(path: Path, cells: Cells) -> tuple[list[str], Floats]:
    """Read cells with an ONNX classifier whose contract names its classes and its scale: uint8 NHWC in."""
    from edge.runtime.contract import read_contract
    from edge.runtime.onnx import cpu_session, metadata_of

    if not path.is_file():
        raise ModelError(f"{path} is neither a run of the bench nor an ONNX file")
    session = cpu_session(path, f"model {path}")
    contract = read_contract(metadata_of(session), "classifier", path)
    read = [session.run(["prob"], {session.get_inputs()[0].name: batch})[0] for batch in _batches(cells, contract)]
    return list(contract.classes), np.concatenate(read)


def _batches(cells: Cells, contract: Any) -> list[np.ndarray]:
    side = contract.size
    pixels = pictures(cells.source.samples, side)
    return [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]


def _as_named(prob: Floats, names: list[str], wanted: tuple[str, ...], model: str) -> Floats:
    """Return the probabilities (N, wanted) of the set's classes, those of equal names added, scaled to sum to 1."""
    if not set(names) & set(wanted):
        raise InputError(f"{model} tells {', '.join(names)}; the set holds {', '.join(wanted)}. "
                         "Say which is which: --as normal=circular")  # fmt: skip
    out = np.full((len(prob), len(wanted)), 1e-6, np.float32)
    for i, name in enumerate(names):
        if name in wanted:
            out[:, wanted.index(name)] += prob[:, i]
    return np.asarray(out / out.sum(1, keepdims=True), np.float32)
