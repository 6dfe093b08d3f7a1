"""How the shipped networks are trained, step by step; a step whose file is there already is skipped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from edge.errors import ModelError
from edge.system.progress_bars import ReportProgress, quiet
from edge.types import CANONICAL_UM_PER_PX
from edge.vision.detect import decoded, padded
from edge.vision.scale import ScaleEstimator
from training.data.crops import SHARES_LAST, STREAMS, Patches, joined, middles, of_fields, of_slides
from training.data.datasets import DataError, LabelledField, read_chula, read_pixels, read_txl, read_uganda
from training.data.fields import TrainingField, resized, scaled_by_labels, taught_by_detector
from training.fit import classifier, detector, quantisation_aware
from training.fit.classifier import EXCHANGE_LAST
from training.fit.novelty_statistics import PARTS, fit_novelty
from training.fit.torch_network import TorchNetwork
from training.run_folder import TRAINED_ON, RunDir, write_text

CELLS_MIN = 10
"""Red cells behind an estimated scale that is believed in training."""

LIKELY_UM_PER_PX = 0.177
"""Usual scale of `uganda_scd` and `chula_rbc12`, as the base detector estimates it: taken where the estimate fails."""

BELIEVED_UM_PER_PX = (0.10, 0.33)
"""Estimates outside this are taken as failed: no picture of the two sets is so far from the usual."""

SLIDES = 60
"""Rendered slides that the classifier is taught with."""

LAST, ROUNDED = 100, 200
"""Added to the seed for the last steps, and for those that teach to bear INT8."""

USUAL = 12
"""Cells of a field by which a classifier learns what cells usually look like."""

WORKERS = 2
"""Fields whose labels are completed at a time."""

FLOOR = 0.1
"""Score down to which the base detector's boxes are looked at to complete labels."""

SHARES = (4, 2, 1, 1)
"""Crops of a batch from `txl_pbc`, positive and negative fields of `uganda_scd`, and `chula_rbc12`."""


@dataclass(frozen=True, slots=True)
class DetectorSteps:
    """Optimiser steps of the detectors, of 8 crops each.

    Of the base detector, of those for evaluation, and of the shipped one.

    rounded: of each but the base, to bear INT8; 0 leaves them out.
    """

    base: int
    fold: int
    shipped: int
    rounded: int


@dataclass(frozen=True, slots=True)
class ClassifierSteps:
    """Optimiser steps of the classifiers, of 192 cells each.

    For evaluation and for the shipped one.

    last, of each; rounded, of each, to bear INT8, 0 leaves them out.
    """

    fold: int
    shipped: int
    last: int
    rounded: int


def train_detectors(
    run: RunDir, root: Path, steps: DetectorSteps, seed: int = 0, progress: ReportProgress = quiet
) -> None:
    """Train the base detector, complete the other sets' labels, and train the others.

    Raises DataError when pictures or labels are missing, StorageError when the run's files cannot be written.
    """
    txl = [scaled_by_labels(field) for field in read_txl(root, "train")]
    if not run.base.is_file():
        net = detector.train(
            [txl], [sum(SHARES)], steps.base, seed, progress=_of("base detector", steps.base, progress)
        )
        detector.save(net, run.base)
    if not run.taught.is_file():
        complete_labels(run, root, progress)
    taught = taught_fields(run, root)
    for i, (name, folds) in enumerate(TRAINED_ON.items(), start=1):
        if run.detector(name).is_file():
            continue
        n = steps.shipped if name == "all" else steps.fold
        sets = [txl, *_sets(taught, folds)]
        net = detector.train(sets, SHARES, n, seed + i, detector.restored(run.base), 2e-3,
                             _of(f"detector {name}", n, progress))  # fmt: skip
        if steps.rounded:
            report = _of(f"detector {name} for INT8", steps.rounded, progress)
            rate = quantisation_aware.LEARNING_RATE
            net = detector.train(sets, SHARES, steps.rounded, seed + i + ROUNDED, net, rate, report, rounded=True)
        detector.save(net, run.detector(name))


def train_classifiers(
    run: RunDir, root: Path, steps: ClassifierSteps, seed: int = 10, progress: ReportProgress = quiet
) -> None:
    """Train a classifier without each of the folds, and the shipped one on all of them.

    Raises ModelError when `train_detectors` has not been run, DataError, StorageError.
    """
    missing = [name for name in TRAINED_ON if not run.classifier(name).is_file()]
    if not missing:
        return
    if not run.taught.is_file():
        raise ModelError(f"{run.taught} not found. Run first: sicklescope-train detector --out {run.path}")
    fields = [*(scaled_by_labels(field) for field in read_txl(root, "train")), *taught_fields(run, root)]
    cells = joined([of_fields(fields, seed=0), of_slides(SLIDES)])
    del fields  # some 800 MB
    for name in missing:
        n = steps.shipped if name == "all" else steps.fold
        report = _of(f"classifier {name}", n, progress)
        mine, own_seed = cells.within(TRAINED_ON[name]), seed + list(TRAINED_ON).index(name)
        net = classifier.train(mine, n, own_seed, progress=report)
        report = _of(f"classifier {name} at last", steps.last, progress)
        net = classifier.train(mine, steps.last, own_seed + LAST, 1.5e-3, net, SHARES_LAST, EXCHANGE_LAST, report)
        if steps.rounded:
            report = _of(f"classifier {name} for INT8", steps.rounded, progress)
            net = classifier.train(mine, steps.rounded, own_seed + ROUNDED, quantisation_aware.LEARNING_RATE, net,
                                   SHARES_LAST, EXCHANGE_LAST, report, rounded=True)  # fmt: skip
        usual = usual_cells(mine, own_seed)
        field, fold = mine.field[usual], mine.fold[usual]
        fit_novelty(net, middles(mine.patches[usual]), field, np.where(fold < 0, field % PARTS, fold))
        classifier.save(net, run.classifier(name))


def usual_cells(cells: Patches, seed: int) -> np.ndarray:
    """Return the rows of up to USUAL real cells of each field.

    What a device would show the classifier.
    """
    shown = ~np.isin(cells.stream, [STREAMS.index("rendered"), STREAMS.index("background")])
    rows = np.random.default_rng(seed).permutation(np.nonzero(shown)[0])
    rows = rows[np.argsort(cells.field[rows], kind="stable")]
    _, first, count = np.unique(cells.field[rows], return_index=True, return_counts=True)
    return rows[np.arange(len(rows)) - np.repeat(first, count) < USUAL]


def complete_labels(run: RunDir, root: Path, progress: ReportProgress = quiet) -> None:
    """Write boxes of every cell of `uganda_scd` and `chula_rbc12`.

    As the base detector and the labels give them.
    """
    fields = [*read_uganda(root), *read_chula(root)]
    networks: SimpleQueue[TorchNetwork] = SimpleQueue()
    for _ in range(WORKERS):
        networks.put(TorchNetwork(detector.restored(run.base)))

    def line_of(field: LabelledField) -> str:
        network = networks.get()
        try:
            return _to_json(_taught(field, network), root)
        finally:
            networks.put(network)

    lines = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for line in pool.map(line_of, fields):
            lines.append(line)
            progress("completing labels", len(lines), len(fields))
    write_text(run.taught, "\n".join(lines) + "\n")


def _taught(field: LabelledField, network: TorchNetwork) -> TrainingField:
    scale, _ = ScaleEstimator(network)(read_pixels(field.path), CELLS_MIN)
    low, high = BELIEVED_UM_PER_PX
    um_per_px = scale.um_per_px if scale is not None and low < scale.um_per_px < high else LIKELY_UM_PER_PX

    def detect(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        maps = network(padded(pixels)[None])
        h, w = pixels.shape[:2]
        return decoded(maps["peaks"][0], maps["sides"][0], (h, w), FLOOR)

    return taught_by_detector(field, CANONICAL_UM_PER_PX / um_per_px, detect)


def taught_fields(run: RunDir, root: Path) -> list[TrainingField]:
    """Read what `complete_labels` wrote; raises ModelError when it is of other fields."""
    sources = [*read_uganda(root), *read_chula(root)]
    try:
        rows = [json.loads(line) for line in run.taught.read_text(encoding="utf-8").splitlines()]
        if [row["path"] for row in rows] != [str(s.path.relative_to(root)) for s in sources]:
            raise ValueError("it is of other fields than the data folder holds")
        return [_from_row(row, source) for row, source in zip(rows, sources, strict=True)]
    except (ValueError, KeyError) as error:
        raise ModelError(f"{run.taught} cannot be used: {error}. Delete it, and it is made anew") from error


def _to_json(field: TrainingField, root: Path) -> str:
    return json.dumps({
        "path": str(field.source.path.relative_to(root)), "zoom": field.zoom, "kinds": field.kinds.tolist(),
        "boxes": field.boxes.astype(float).round(2).tolist(), "ignore": field.ignore.astype(float).round(2).tolist(),
    }, separators=(",", ":"))  # fmt: skip


def _from_row(row: dict[str, object], source: LabelledField) -> TrainingField:
    boxes, ignore = (np.array(row[k], np.float32).reshape(-1, 4) for k in ("boxes", "ignore"))
    zoom = float(row["zoom"])  # type: ignore[arg-type]
    pixels = resized(read_pixels(source.path), zoom)
    return TrainingField(source, pixels, boxes, np.array(row["kinds"], np.int64), ignore, zoom)


def _sets(taught: Sequence[TrainingField], folds: Sequence[int]) -> list[list[TrainingField]]:
    """Return the positive and negative fields of `uganda_scd` and those of `chula_rbc12` in these folds."""
    mine = [f for f in taught if f.source.fold in folds]
    uganda, chula = ([f for f in mine if f.source.dataset == name] for name in ("uganda_scd", "chula_rbc12"))
    boxed, unboxed = [f for f in uganda if len(f.source.boxes)], [f for f in uganda if not len(f.source.boxes)]
    for name, fields in (("boxed", boxed), ("unboxed", unboxed), ("chula_rbc12", chula)):
        if not fields:
            raise DataError(
                f"folds {', '.join(map(str, folds))} hold no {name} fields; expected some in each pair of folds"
            )
    return [boxed, unboxed, chula]


def _of(what: str, steps: int, progress: ReportProgress) -> Callable[[int, float], None]:
    """Report a step of training together with its loss."""
    recent: list[float] = []

    def report(step: int, loss: float) -> None:
        recent[:] = [*recent[-49:], loss]
        progress(f"{what}, loss {sum(recent) / len(recent):.3f}", step, steps)

    return report
