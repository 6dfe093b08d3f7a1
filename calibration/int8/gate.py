"""Whether an INT8 network may be deployed: what it does to cells, against fp32, on labelled pictures it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from calibration.int8.agreement import paired
from calibration.int8.paired_predictions import Both, CellPredictions
from edge.runtime.contract import Contract
from edge.screening.calls import SICKLE
from edge.types import ABSTAINED, CLASSES, RED_CELLS, Floats, Labels, Mask

RED = [CLASSES.index(name) for name in RED_CELLS]


@dataclass(frozen=True, slots=True)
class Limits:
    """What INT8 may lose, in points (parts of a hundred).

    Recall and F1 fall, false calls rise, cells change class.
    """

    recall: float = 0.5
    f1: float = 0.5
    false_calls: float = 0.05
    changed: float = 1.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of one pair of networks.

    Detector's score, and the classifier's sickle and abstain thresholds.
    """

    score: float
    sickle: float
    abstain: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one network: sickle boxes found, false calls, and the F1 of red cells.

    Found of so many boxes, called of so many red cells.

    mimic_calls: the same as false_calls, of fields of cells that look like sickle cells. f1 is None where no picture
    has its red cells labelled.
    """

    found: int
    boxes: int
    false_calls: int
    negative_cells: int
    mimic_calls: int
    mimic_cells: int
    f1: float | None

    @property
    def recall(self) -> float:
        """Part of the boxed sickle cells that were found."""
        return self.found / max(1, self.boxes)

    @property
    def rate(self) -> float:
        """Sickle calls for each red cell of negative fields."""
        return self.false_calls / max(1, self.negative_cells)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything the gate found.

    classes: recall and precision of INT8's calls against those of fp32, by class.
    """

    fp32: Measured
    int8: Measured
    classes: dict[str, dict[str, float | int | None]]
    changed: int
    cells: int
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether INT8 may be deployed."""
        return not self.reasons

    def figures(self) -> dict[str, Any]:
        """Return what a report writes."""
        sides = {
            name: {**asdict(one), "recall": one.recall, "false_call_rate": one.rate}
            for name, one in (("fp32", self.fp32), ("int8", self.int8))
        }
        return {
            **sides,
            "int8_calls_against_fp32": self.classes,
            "cells_that_change_class": {"cells": self.changed, "of": self.cells, "part": self.changed / self.cells},
        }


def judged(rows: Sequence[Both], before: Thresholds, after: Thresholds, limits: Limits) -> Verdict:
    """Measure the part for measuring and hold it against the limits."""
    rows = [row for row in rows if row.picture.part == "measure"]
    fp32, int8 = measured(rows, before, lambda row: row.fp32), measured(rows, after, lambda row: row.int8)
    confusion = confused(rows, before, after)
    cells = max(1, int(confusion.sum()))
    changed = cells - int(np.trace(confusion[:-1, :-1]))
    names = [*CLASSES, "abstained"]
    classes = {name: _shares(confusion, i) for i, name in enumerate(names)}
    return Verdict(fp32, int8, classes, changed, cells, _reasons(fp32, int8, changed / cells, limits))


def _shares(confusion: Any, i: int) -> dict[str, float | int | None]:
    row, column, hits = int(confusion[i].sum()), int(confusion[:, i].sum()), int(confusion[i, i])
    return {
        "fp32": row,
        "int8": column,
        "recall": hits / row if row else None,
        "precision": hits / column if column else None,
    }


def _reasons(fp32: Measured, int8: Measured, changed: float, limits: Limits) -> tuple[str, ...]:
    rows = [
        ("sickle recall falls by", fp32.recall - int8.recall, limits.recall),
        ("red-cell F1 falls by", (fp32.f1 or 0.0) - (int8.f1 or 0.0), limits.f1),
        ("the rate of false calls rises by", int8.rate - fp32.rate, limits.false_calls),
        ("cells that change class:", changed, limits.changed),
    ]
    return tuple(
        f"{what} {100 * value:.2f} points; at most {limit:g} are allowed"
        for what, value, limit in rows
        if 100 * value > limit + 1e-9
    )


def measured(rows: Sequence[Both], at: Thresholds, of: Callable[[Both], CellPredictions]) -> Measured:
    """Count what one network found."""
    found = boxes = hits = seen_red = labelled = 0
    false = {"negative": [0, 0], "mimics": [0, 0]}
    for row in rows:
        seen = of(row).above(at.score)
        labels = seen.labels(at.sickle, at.abstain)
        calls = (labels == SICKLE) & ~seen.border
        if row.picture.sickle:
            found += matched_boxes(seen, calls, np.array(row.picture.sickle, np.float32))
            boxes += len(row.picture.sickle)
        if row.picture.kind in false:
            false[row.picture.kind][0] += int(calls.sum())
            false[row.picture.kind][1] += int((red(labels) & ~seen.border).sum())
        if row.picture.red_cells:
            hits += len(paired(seen.boxes[red(labels)], np.array(row.picture.red_cells, np.float32)))
            seen_red += int(red(labels).sum())
            labelled += len(row.picture.red_cells)
    f1 = 2 * hits / (seen_red + labelled) if labelled else None
    (calls_n, cells_n), (calls_m, cells_m) = false["negative"], false["mimics"]
    return Measured(found, boxes, calls_n, cells_n, calls_m, cells_m, f1)


def red(labels: Labels) -> Mask:
    """Return bool (N,): the cells of the denominator, abstained ones with them."""
    return np.isin(labels, [*RED, ABSTAINED])


def matched_boxes(seen: CellPredictions, calls: Mask, boxes: Floats) -> int:
    """Return how many boxes (M, 4) hold the centre of a call.

    One call credits the one whose middle is nearest.
    """
    free = np.ones(len(boxes), bool)
    chosen = np.nonzero(calls)[0]
    for i in chosen[np.argsort(-seen.prob[chosen, SICKLE], kind="stable")]:
        at = (seen.boxes[i, :2] + seen.boxes[i, 2:]) / 2
        inside = free & (at > boxes[:, :2]).all(1) & (at < boxes[:, 2:]).all(1)
        if inside.any():
            away = np.linalg.norm(at - (boxes[:, :2] + boxes[:, 2:]) / 2, axis=1)
            free[np.where(inside, away, np.inf).argmin()] = False
    return int((~free).sum())


def confused(rows: Sequence[Both], before: Thresholds, after: Thresholds) -> Any:
    """Return int (8, 8): cells by fp32's call and INT8's.

    Order: cLASSES, abstained, and not found by the other.
    """
    none = len(CLASSES) + 1
    counts = np.zeros((none + 1, none + 1), int)
    for row in rows:
        first, second = row.fp32.above(before.score), row.int8.above(after.score)
        labels, others = first.labels(before.sickle, before.abstain), second.labels(after.sickle, after.abstain)
        pairs = paired(first.boxes, second.boxes)
        for i, j in pairs:
            counts[labels[i] % none, others[j] % none] += 1  # abstained is −1 and becomes the last but one
        for i in set(range(len(labels))) - {i for i, _ in pairs}:
            counts[labels[i] % none, none] += 1
        for j in set(range(len(others))) - {j for _, j in pairs}:
            counts[none, others[j] % none] += 1
    return counts


def rechosen(rows: Sequence[Both], contract: Contract, at: Thresholds) -> Thresholds:
    """Choose INT8's own threshold on the part for choosing.

    The nearest at which as many are called as by fp32.

    Detector: as many boxes reach the score. Classifier: as many red cells of negative fields are called sickle, so
    that
    the rate of false calls is fp32's; of all fields, where no field is negative.
    """
    rows = [row for row in rows if row.picture.part == "choose"]
    if contract.role == "detector":
        before = np.concatenate([row.fp32.score for row in rows])
        after = np.concatenate([row.int8.score for row in rows])
        return Thresholds(nearest(after, int((before >= at.score).sum()), at.score), at.sickle, at.abstain)
    negative = [row for row in rows if row.picture.kind == "negative"] or rows
    both = [[_whole_prob(seen.above(at.score)) for row in negative for seen in (side(row),)] for side in _SIDES]
    before, after = (np.concatenate(part) for part in both)
    return Thresholds(at.score, nearest(after, int((before >= at.sickle).sum()), at.sickle), at.abstain)


_SIDES: tuple[Callable[[Both], CellPredictions], ...] = (lambda row: row.fp32, lambda row: row.int8)


def _whole_prob(seen: CellPredictions) -> Floats:
    return np.asarray(seen.prob[~seen.border, SICKLE])


def nearest(values: Floats, wanted: int, threshold: float) -> float:
    """Return the threshold nearest to the given one that `wanted` values reach.

    To six digits.
    """
    ordered = np.sort(values.astype(float))[::-1]
    high = ordered[wanted - 1] if 0 < wanted <= len(ordered) else np.inf
    low = ordered[wanted] if wanted < len(ordered) else -np.inf
    if low < threshold <= high:
        return threshold
    moved = (np.floor(low * 1e6) + 1) / 1e6 if threshold <= low else np.floor(high * 1e6) / 1e6
    return round(float(moved), 6)
