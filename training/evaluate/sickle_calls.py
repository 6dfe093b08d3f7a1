"""How well sickle cells are told from the rest, by the "Evaluation rules" of the data README."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.screening.calls import calibrated_probabilities
from edge.screening.tally import field_score
from edge.types import ABSTAINED, Floats, Mask
from training.data.datasets import CHULA_NAMES, CHULA_NORMAL
from training.evaluate.detection import matched_points
from training.evaluate.estimates import Figure, LogOdds, Thresholds, red
from training.evaluate.predictions import RED, SICKLE, Prediction
from training.metrics import auc, bootstrap, greedy

THRESHOLD_STEP = 1e-6
"""A threshold is the next multiple of this above a probability."""

FAR = -1e9
"""Least `nearness` of a cell within a box."""

NEVER = 2.0
"""A threshold at which no cell is called sickle."""


def found_boxes(s: Prediction, threshold: float, gate: bool = False) -> tuple[int, int]:
    """Return how many boxes round sickle cells were found in a field, and of how many.

    Cut ones are left out.
    """
    wanted = s.field.boxes[~s.field.partial]
    if not len(wanted) or (gate and s.reading.gated):
        return 0, len(wanted)
    called = np.nonzero((s.reading.labels(threshold) == SICKLE) & ~s.reading.border)[0]
    called = called[np.argsort(-s.reading.prob[called, SICKLE], kind="stable")]
    # One call credits one box: of several that hold it, the one whose middle it is nearest to.
    return len(greedy(nearness(s.reading.centres[called], wanted), FAR)), len(wanted)


def nearness(centres: Floats, boxes: Floats) -> Floats:
    """Return how near (N, M) centres (N, 2) are to the middles of boxes (M, 4).

    In pixels, negative; −∞ outside.
    """
    at = centres[:, None]
    inside = ((at > boxes[None, :, :2]) & (at < boxes[None, :, 2:])).all(2)
    away = np.linalg.norm(at - (boxes[None, :, :2] + boxes[None, :, 2:]) / 2, axis=2)
    return np.where(inside, -away, -np.inf).astype(np.float32)


def recall(seen: Sequence[Prediction], thresholds: Thresholds, gate: bool = False) -> Figure:
    """Return the part of boxed sickle cells that were found."""
    rows = [found_boxes(s, thresholds[s.field.fold], gate) for s in seen]
    return Figure.ratio([r[0] for r in rows], [r[1] for r in rows], [s.field.group for s in seen])


def offered(seen: Sequence[Prediction], thresholds: Thresholds) -> Figure:
    """Return the part of boxed sickle cells that a reviewer is offered: called or abstained."""
    rows = []
    for s in seen:
        boxes = s.field.boxes[~s.field.partial]
        labels = s.reading.labels(thresholds[s.field.fold])
        shown = np.isin(labels, (SICKLE, ABSTAINED)) & ~s.reading.border
        rows.append((int(np.isfinite(nearness(s.reading.centres[shown], boxes)).any(0).sum()), len(boxes)))
    return Figure.ratio([row[0] for row in rows], [row[1] for row in rows], [s.field.group for s in seen])


def abstained(seen: Sequence[Prediction], thresholds: Thresholds) -> Figure:
    """Return the part of whole red cells that stay without a name."""
    found = [s.reading.labels(thresholds[s.field.fold])[~s.reading.border] for s in seen]
    part, whole = ([int(kind(labels).sum()) for labels in found] for kind in (lambda x: x == ABSTAINED, red))
    return Figure.ratio(part, whole, [s.field.group for s in seen])


def calls(s: Prediction, threshold: float) -> tuple[int, int]:
    """Return sickle calls and whole red cells of a field."""
    labels = s.reading.labels(threshold)[~s.reading.border]
    return int((labels == SICKLE).sum()), int(red(labels).sum())


def calls_of_groups(seen: Sequence[Prediction], thresholds: Thresholds) -> dict[str, tuple[int, int]]:
    """Return sickle calls and whole red cells of each group."""
    sums: dict[str, tuple[int, int]] = {}
    for s in seen:
        called, cells = calls(s, thresholds[s.field.fold])
        before = sums.get(s.field.group, (0, 0))
        sums[s.field.group] = before[0] + called, before[1] + cells
    return sums


def false_calls(seen: Sequence[Prediction], thresholds: Thresholds) -> dict[str, Figure]:
    """Return the rate of sickle calls on fields without sickle cells.

    Pooled, and in the worst tenth of groups.
    """
    sums = calls_of_groups(seen, thresholds)
    names = sorted(sums)
    called, cells = np.array([sums[name] for name in names]).T

    def worst(rows: np.ndarray) -> tuple[int, int]:
        ordered = rows[np.argsort(-(called[rows] / np.maximum(1, cells[rows])), kind="stable")]
        ordered = ordered[: max(1, round(len(rows) / 10))]
        return int(called[ordered].sum()), int(cells[ordered].sum())

    def rate(rows: np.ndarray) -> float:
        k, n = worst(rows)
        return k / max(1, n)

    everything = np.arange(len(names))
    k, n = worst(everything)
    counted = f"{k} of {n} in {max(1, round(len(names) / 10))} of {len(names)} groups"
    return {
        "pooled": Figure.ratio(called.tolist(), cells.tolist(), names),
        "worst_tenth": Figure(rate(everything), *bootstrap(names, rate), counted),
    }


def unboxed_calls(seen: Sequence[Prediction], thresholds: Thresholds) -> Figure:
    """Return the part of whole red cells called sickle that lie in no box.

    Of positive fields.

    Not every sickle cell has a box, so nobody knows how many of these are false: fewer at the same recall is better.
    """
    rows = []
    for s in seen:
        called, cells = calls(s, thresholds[s.field.fold])
        sickle = (s.reading.labels(thresholds[s.field.fold]) == SICKLE) & ~s.reading.border
        boxed = np.isfinite(nearness(s.reading.centres[sickle], s.field.boxes)).any(1)
        rows.append((called - int(boxed.sum()), cells))
    return Figure.ratio([r[0] for r in rows], [r[1] for r in rows], [s.field.group for s in seen])


def normal_calls(seen: Sequence[Prediction], thresholds: Thresholds) -> Figure:
    """Return the rate of sickle calls on the cells of `chula_rbc12` that are labelled normal."""
    return class_calls(seen, thresholds, [CHULA_NORMAL])


def class_calls(seen: Sequence[Prediction], thresholds: Thresholds, classes: Sequence[int]) -> Figure:
    """Return the rate of sickle calls on cells of these labelled classes together."""
    rows = [_on_classes(s, thresholds[s.field.fold]) for s in seen]
    wanted = [np.isin(labelled, classes) for labelled, _ in rows]
    called = [int((sickle & w).sum()) for (_, sickle), w in zip(rows, wanted, strict=True)]
    return Figure.ratio(called, [int(w.sum()) for w in wanted], [s.field.group for s in seen])


def lowest_threshold(negatives: Sequence[Prediction], normals: Sequence[Prediction], rate: float) -> float:
    """Return the smallest sickle threshold within the limit of both kinds of cells.

    At most `rate` of each is called sickle.

    negatives: fields without sickle cells, of which all whole red cells count; normals: fields of which those labelled
    normal do. Fields are pooled.
    """
    lowest = THRESHOLD_STEP
    for p, cells in (_negative_cells(negatives), _normal_cells(normals)):
        allowed = int(rate * cells)
        if allowed < len(p):
            limit = float(np.sort(p)[::-1][allowed])
            lowest = max(lowest, (np.floor(limit / THRESHOLD_STEP) + 1) * THRESHOLD_STEP)
    return round(lowest, 6)


def _negative_cells(seen: Sequence[Prediction]) -> tuple[Floats, int]:
    """Return the sickle probabilities of all whole cells, and how many of them are red."""
    whole = [~s.reading.border for s in seen]
    p = [s.reading.prob[w, SICKLE] for s, w in zip(seen, whole, strict=True)]
    cells = sum(int((red(s.reading.labels(NEVER)) & w).sum()) for s, w in zip(seen, whole, strict=True))
    return np.concatenate([np.zeros(0, np.float32), *p]), cells


def _normal_cells(seen: Sequence[Prediction]) -> tuple[Floats, int]:
    p = []
    for s in seen:
        chosen = np.nonzero(red(s.reading.labels(NEVER)) & ~s.reading.border)[0]
        pairs = matched_points(s.reading, chosen, s.field.points[:, :2])
        p += [s.reading.prob[i, SICKLE] for i, j in pairs if s.field.points[j, 2] == CHULA_NORMAL]
    return np.array(p, np.float32), len(p)


def mimics(seen: Sequence[Prediction], thresholds: Thresholds) -> dict[str, Figure]:
    """Sickle calls on each labelled class of `chula_rbc12`.

    Wilson's interval, which takes cells as independent.
    """
    called = np.zeros(len(CHULA_NAMES), int)
    cells = np.zeros(len(CHULA_NAMES), int)
    for s in seen:
        classes, sickle = _on_classes(s, thresholds[s.field.fold])
        np.add.at(cells, classes, 1)
        np.add.at(called, classes[sickle], 1)
    return {name: Figure.proportion(int(called[i]), int(cells[i])) for i, name in enumerate(CHULA_NAMES) if cells[i]}


def _on_classes(s: Prediction, threshold: float) -> tuple[np.ndarray, Mask]:
    """Return the labelled class of each whole red cell that was found at a label, and whether it was called sickle."""
    labels = s.reading.labels(threshold)
    chosen = np.nonzero(red(labels) & ~s.reading.border)[0]
    pairs = matched_points(s.reading, chosen, s.field.points[:, :2])
    classes = np.array([int(s.field.points[j, 2]) for _, j in pairs], int)
    return classes, np.array([labels[i] == SICKLE for i, _ in pairs], bool)


def score(s: Prediction, threshold: float, log_odds: tuple[float, float]) -> float:
    """Return the field score as `scan` writes it."""
    whole = ~s.reading.border
    labels = s.reading.labels(threshold)[whole]
    return field_score(
        calibrated_probabilities(s.reading.prob[whole], log_odds)[:, SICKLE], int(np.isin(labels, RED).sum())
    )


def one_a_group(seen: Sequence[Prediction]) -> list[Prediction]:
    """Return the first picture of each group, by name."""
    first: dict[str, Prediction] = {}
    for s in sorted(seen, key=lambda s: s.reading.key):
        first.setdefault(s.field.group, s)
    return list(first.values())


def field_auc(seen: Sequence[Prediction], thresholds: Thresholds, log_odds: LogOdds) -> Figure:
    """Return the AUC of the field score between positive and negative fields.

    One picture a group.
    """
    chosen = one_a_group(seen)
    values = np.array([score(s, thresholds[s.field.fold], log_odds[s.field.fold]) for s in chosen], np.float32)
    positive = np.array([s.field.label == "positive" for s in chosen])
    low, high = bootstrap(
        [s.field.group for s in chosen],
        lambda rows: auc(values[rows], positive[rows]) if 0 < positive[rows].sum() < len(rows) else float("nan"),
    )
    return Figure(auc(values, positive), low, high, f"{positive.sum()} positive, {(~positive).sum()} negative groups")
