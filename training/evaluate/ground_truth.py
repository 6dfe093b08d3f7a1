"""Cells of which the labels say whether they are sickle cells, with what the networks made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.types import CLASSES, KINDS, Floats, Labels, Mask
from training.data.datasets import CHULA_UNCATEGORISED
from training.evaluate.detection import matched_points
from training.evaluate.estimates import Thresholds, red
from training.evaluate.predictions import SICKLE, Prediction
from training.evaluate.sickle_calls import FAR, NEVER, nearness
from training.metrics import greedy

RBC = KINDS.index("rbc")


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Whole cells of known truth.

    sickle: bool (N,), the truth. prob: float32 (N, 6), all 0 where the cell is too strange to be named; label: int8
    (N,), as the device names it. threshold: (N,), that of its fold; fold: int (N,); group: str (N,).
    """

    sickle: Mask
    prob: Floats
    label: Labels
    threshold: Floats
    fold: np.ndarray
    group: np.ndarray

    @property
    def p(self) -> Floats:
        """The probabilities (N,) of being a sickle cell."""
        return self.prob[:, SICKLE]

    @property
    def named(self) -> Mask:
        """Cells (N,) that have probabilities at all."""
        return np.asarray(self.prob.any(1))

    def of(self, rows: np.ndarray) -> GroundTruth:
        """Return some of the cells, by mask or index."""
        return GroundTruth(self.sickle[rows], self.prob[rows], self.label[rows], self.threshold[rows], self.fold[rows],
                     self.group[rows])  # fmt: skip


def ground_truth(seen: Sequence[Prediction], thresholds: Thresholds) -> GroundTruth:
    """Gather the cells of known truth of `uganda_scd` and `chula_rbc12`.

    By the "Evaluation rules" of the data README.

    Not sickle are the red cells of negative fields, and those of `chula_rbc12` with a label other than uncategorised.
    Sickle is the cell that a box credits: of those within it, the one nearest to its middle, whatever the classifier
    says of it; a choice by probability would make the boxes agree with the classifier. A box that holds no cell found
    has none to judge: recall counts it. All other cells of positive fields are ignored.
    """
    rows = [_of_field(s) for s in seen]
    sizes = [len(row) for row in rows]

    def each(values: Sequence[object], kind: type) -> np.ndarray:
        return np.repeat(np.array(values, kind), sizes)

    return GroundTruth(
        each([_is_positive(s) for s in seen], bool),
        np.concatenate([np.zeros((0, len(CLASSES)), np.float32),
                        *(s.reading.prob[row] for s, row in zip(seen, rows, strict=True))]),
        np.concatenate([np.zeros(0, np.int8), *(s.reading.labels(thresholds[s.field.fold])[row]
                                                for s, row in zip(seen, rows, strict=True))]),
        each([thresholds[s.field.fold] for s in seen], float),
        each([s.field.fold for s in seen], int),
        each([s.field.group for s in seen], str),
    )  # fmt: skip


def _is_positive(s: Prediction) -> bool:
    return s.field.label == "positive"


def _of_field(s: Prediction) -> np.ndarray:
    """Return the indices of the cells of known truth; all those of one field have the same."""
    whole = ~s.reading.border
    likely_red = red(s.reading.labels(NEVER)) & whole
    if _is_positive(s):
        return _credited(s, np.nonzero(likely_red | (whole & (s.reading.kind == RBC)))[0])
    chosen = np.nonzero(likely_red)[0]
    if s.field.dataset != "chula_rbc12":
        return chosen
    pairs = matched_points(s.reading, chosen, s.field.points[:, :2])
    return np.array([i for i, j in pairs if s.field.points[j, 2] != CHULA_UNCATEGORISED], int)


def _credited(s: Prediction, candidates: np.ndarray) -> np.ndarray:
    """Return those of the candidates that a box credits, nearest first."""
    wanted = s.field.boxes[~s.field.partial]
    if not len(wanted) or not len(candidates):
        return np.zeros(0, int)
    near = nearness(s.reading.centres[candidates], wanted)
    order = np.argsort(-near.max(1), kind="stable")
    return candidates[order][[i for i, _ in greedy(near[order], FAR)]]
