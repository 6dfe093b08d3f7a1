"""How the shipped networks are trained, step by step; a step whose file is there already is skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import ModelError
from edge.system.progress_bars import ReportProgress, quiet
from training.data.crops import SHARES_LAST, STREAMS, Patches, joined, middles, of_fields, of_slides
from training.data.datasets import DataError, read_txl
from training.data.fields import TrainingField, scaled_by_labels
from training.data.sets import taught_sets
from training.fit import classifier, detector, quantisation_aware
from training.fit.classifier import EXCHANGE_LAST
from training.fit.completed_labels import complete_labels, taught_fields
from training.fit.networks import Classifier, Detector
from training.fit.novelty_statistics import PARTS, fit_novelty
from training.fit.unfinished import Unfinished, forget_stages, stage
from training.run_folder import TRAINED_ON, RunDir

SLIDES = 60
"""Rendered slides that the classifier is taught with."""

LAST, ROUNDED = 100, 200
"""Added to the seed for the last steps, and for those that teach to bear INT8."""

USUAL = 12
"""Cells of a field by which a classifier learns what cells usually look like."""

SHARES = (3, 2, 1, 2)
"""Crops of a batch from `txl_pbc`, positive and negative fields of `uganda_scd`, and the other sets."""

TWICE = 48
"""Cells of a batch that are shown in two forms in the last steps."""


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
    run: RunDir,
    root: Path,
    steps: DetectorSteps,
    seed: int = 0,
    progress: ReportProgress = quiet,
    left_out: tuple[str, ...] = (),
) -> None:
    """Train the base detector, complete the other sets' labels, and train the others.

    Args:
        run: folder of the run.
        root: folder of the sets.
        steps: of the optimiser.
        seed: of the base detector; the others count on.
        progress: is told how far it is.
        left_out: sets of which the run is to see nothing.

    Raises:
        DataError: pictures or labels are missing or wrong.
        ModelError: the run leaves out other sets.
        StorageError: the run's files cannot be written.
    """
    txl = [scaled_by_labels(field) for field in read_txl(root, "train")]
    taught_sets(root, left_out)  # what is wrong with the data is told before anything is written
    run.leave_out(left_out)
    if not run.base.is_file():
        report = _of("base detector", steps.base, progress)
        unfinished = Unfinished(run.path / "unfinished-base.pt")
        net = detector.train([txl], [sum(SHARES)], steps.base, seed, progress=report, unfinished=unfinished)
        detector.save(net, run.base)
        unfinished.path.unlink(missing_ok=True)
    if not run.taught.is_file():
        complete_labels(run, root, progress)
    taught = taught_fields(run, root)
    for i, (name, folds) in enumerate(TRAINED_ON.items(), start=1):
        if run.detector(name).is_file():
            continue
        n = steps.shipped if name == "all" else steps.fold
        plan = _DetectorPlan(run, name, [txl, *_sets(taught, folds)], seed + i, progress)
        net = plan.stage("first", n, detector.restored(run.base), 2e-3)
        if steps.rounded:
            net = plan.stage("rounded", steps.rounded, net, quantisation_aware.LEARNING_RATE)
        detector.save(net, run.detector(name))
        forget_stages(run.path, f"detector-{name}")


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
        mine, own_seed = cells.within(TRAINED_ON[name]), seed + list(TRAINED_ON).index(name)
        net = _trained_classifier(run, name, mine, steps, own_seed, progress)
        usual = usual_cells(mine, own_seed)
        field, fold = mine.field[usual], mine.fold[usual]
        fit_novelty(net, middles(mine.patches[usual]), field, np.where(fold < 0, field % PARTS, fold))
        classifier.save(net, run.classifier(name))
        forget_stages(run.path, f"classifier-{name}")


@dataclass(frozen=True, slots=True)
class _DetectorPlan:
    """How one detector is trained, stage by stage; see `train_detectors`."""

    run: RunDir
    name: str
    sets: list[list[TrainingField]]
    seed: int
    progress: ReportProgress

    def stage(self, name: str, steps: int, start: Detector, rate: float) -> Detector:
        """Train one stage, or take it from the run."""
        rounded = name == "rounded"
        report = _of(f"detector {self.name}{' for INT8' if rounded else ''}", steps, self.progress)
        seed = self.seed + (ROUNDED if rounded else 0)

        def train(unfinished: Unfinished) -> Detector:
            return detector.train(self.sets, SHARES, steps, seed, start, rate, report, rounded, unfinished)

        made: Detector = stage(self.run.path, f"detector-{self.name}-{name}", train, detector.restored)
        return made


def _trained_classifier(
    run: RunDir, name: str, cells: Patches, steps: ClassifierSteps, seed: int, progress: ReportProgress
) -> Classifier:
    """Train the stages of a classifier, those that the run does not hold."""

    def first(unfinished: Unfinished) -> Classifier:
        n = steps.shipped if name == "all" else steps.fold
        report = _of(f"classifier {name}", n, progress)
        return classifier.train(cells, n, seed, progress=report, unfinished=unfinished)

    def last(unfinished: Unfinished) -> Classifier:
        report = _of(f"classifier {name} at last", steps.last, progress)
        return classifier.train(cells, steps.last, seed + LAST, 1.5e-3, net, SHARES_LAST, EXCHANGE_LAST, report,
                                twice=TWICE, unfinished=unfinished)  # fmt: skip

    def rounded(unfinished: Unfinished) -> Classifier:
        report = _of(f"classifier {name} for INT8", steps.rounded, progress)
        return classifier.train(cells, steps.rounded, seed + ROUNDED, quantisation_aware.LEARNING_RATE, net,
                                SHARES_LAST, EXCHANGE_LAST, report, rounded=True, twice=TWICE,
                                unfinished=unfinished)  # fmt: skip

    stages = {"first": first, "last": last, **({"rounded": rounded} if steps.rounded else {})}
    net: Classifier
    for part, train in stages.items():
        net = stage(run.path, f"classifier-{name}-{part}", train, classifier.restored)
    return net


def usual_cells(cells: Patches, seed: int) -> np.ndarray:
    """Return the rows of up to USUAL real cells of each field.

    What a device would show the classifier.
    """
    shown = ~np.isin(cells.stream, [STREAMS.index("rendered"), STREAMS.index("background")])
    rows = np.random.default_rng(seed).permutation(np.nonzero(shown)[0])
    rows = rows[np.argsort(cells.field[rows], kind="stable")]
    _, first, count = np.unique(cells.field[rows], return_index=True, return_counts=True)
    return rows[np.arange(len(rows)) - np.repeat(first, count) < USUAL]


def _sets(taught: Sequence[TrainingField], folds: Sequence[int]) -> list[list[TrainingField]]:
    """Return the fields of these folds: boxed ones, those of `uganda_scd` without boxes, and those of other sets."""
    mine = [f for f in taught if f.source.fold in folds]
    boxed = [f for f in mine if len(f.source.boxes)]
    unboxed = [f for f in mine if f.source.dataset == "uganda_scd" and not len(f.source.boxes)]
    others = [f for f in mine if f.source.dataset != "uganda_scd"]
    for name, fields in (("boxed", boxed), ("unboxed", unboxed), ("other sets'", others)):
        if not fields:
            raise DataError(
                f"folds {', '.join(map(str, folds))} hold no {name} fields; expected some in each pair of folds"
            )
    return [boxed, unboxed, others]


def _of(what: str, steps: int, progress: ReportProgress) -> Callable[[int, float], None]:
    """Report a step of training together with its loss."""
    recent: list[float] = []

    def report(step: int, loss: float) -> None:
        recent[:] = [*recent[-49:], loss]
        progress(f"{what}, loss {sum(recent) / len(recent):.3f}", step, steps)

    return report
