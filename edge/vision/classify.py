"""Names each cell from the crop around it, or abstains."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edge.runtime.base import Network
from edge.runtime.contract import NOVELTY
from edge.screening.accumulator import FAMILIAR_MIN
from edge.screening.calls import SICKLE, CallRule
from edge.types import CLASSES, Cells, Field, Floats, Labels, Mask, Pixels, Reason, Rejection

BATCH = 32
"""Crops that go to the network at once: bounds the memory of a crowded field."""

FAMILIAR_FROM = 32
"""Cells from which a field is judged familiar or not: one batch, which costs little where all are known already."""

QUARTER_TURNS = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
"""By OpenCV, which takes a fifth of the time of numpy's views and their copies."""

DETECTOR_CLASSIFIER_PRIOR = np.array(
    [
        # normal, sickle, other, wbc, platelet, artefact
        [1, 1, 1, 1 / 20, 1 / 3, 1],  # rbc
        [1 / 20, 1 / 20, 1 / 20, 1, 1 / 20, 1 / 3],  # wbc
        [1 / 3, 1 / 3, 1 / 3, 1 / 3, 1, 1],  # platelet
        [1, 1, 1, 1, 1, 1],  # KIND_UNKNOWN
    ],
    np.float32,
)
"""What the detector's kind of a cell makes of the odds of its classes. The detector sees a white cell whole, and knows
it better than the classifier, whose crop it overfills; of small things neither is sure.
"""


def crops(pixels: Pixels, boxes: Floats, side: int) -> Pixels:
    """Cut uint8 (N, side, side, 3) round the centres of boxes (N, 4).

    The picture is mirrored where it ends.
    """
    half = side // 2
    grown = cv2.copyMakeBorder(pixels, half, half, half, half, cv2.BORDER_REFLECT)
    out = np.empty((len(boxes), side, side, 3), np.uint8)
    corner = np.rint((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)
    for i, (x, y) in enumerate(corner):
        out[i] = grown[y : y + side, x : x + side]
    return out


def agreed(prob: Floats, kind: Labels) -> Floats:
    """Return probabilities (N, 6) with the detector's kinds (N,) taken into account.

    A row without any stays 0.
    """
    together = prob * DETECTOR_CLASSIFIER_PRIOR[kind]
    share: Floats = together / np.maximum(1e-12, together.sum(1, keepdims=True))
    return share


class CellClassifier:
    """The classification stage: a field and its boxes in, probabilities and labels out."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._side = network.contract.size
        thresholds = network.contract.thresholds
        self.rule = CallRule(thresholds["sickle"], thresholds["abstain"], network.contract.log_odds)
        self._second_look = thresholds["second_look"]
        # A classifier that cannot tell what it never saw sets no limit, and nothing is asked of it.
        self._novelty_cell, self._novelty_field = thresholds.get("novelty_cell"), thresholds.get("novelty_field")

    def lazily(self, field: Field, cells: Cells) -> LazyClassification:
        """Return the classes of the cells of a field, each of which is found on request."""

        def named(which: Mask) -> tuple[Floats, Floats]:
            prob, novelty = self._named(crops(field.pixels, cells.boxes[which], self._side))
            return agreed(prob, cells.kind[which]), novelty

        return LazyClassification(named, len(cells), self._novelty_field)

    def __call__(self, field: Field, cells: Cells) -> tuple[Floats, Labels]:
        """Return probabilities float32 (N, 6) and labels int8 (N,) of the cells of a field."""
        prob = self.lazily(field, cells).prob(np.ones(len(cells), bool))
        return prob, self.rule.labels(prob)

    def name(self, pictures: Pixels) -> tuple[Floats, Labels]:
        """Classify uint8 (N, side, side, 3) crops."""
        prob, _ = self._named(pictures)
        return prob, self.rule.labels(prob)

    def _named(self, pictures: Pixels) -> tuple[Floats, Floats]:
        """Return probabilities (N, 6) and novelty (N,); a cell unlike all that were seen in training has none: 0."""
        prob, novelty = self._answers(pictures)
        suspect = np.nonzero(prob[:, SICKLE] >= self._second_look)[0]
        if len(suspect):
            prob[suspect] = self._looked_again(pictures[suspect], prob[suspect])
        if self._novelty_cell is not None:
            prob[~(novelty <= self._novelty_cell)] = 0
        return prob, novelty

    def _looked_again(self, pictures: Pixels, first: Floats) -> Floats:
        """Return the mean probabilities (N, 6) of suspects, of two looks, or of all eight where those leave doubt."""
        others = _other_views(pictures).reshape(7, *pictures.shape)
        second, _ = self._answers(others[0])
        mean = np.asarray((first + second) / 2, np.float32)
        doubt = np.nonzero(~self.rule.plain(mean))[0]
        if len(doubt):
            rest, _ = self._answers(others[1:, doubt].reshape(-1, *pictures.shape[1:]))
            mean[doubt] = (first[doubt] + second[doubt] + rest.reshape(6, len(doubt), -1).sum(0)) / 8
        return mean

    def _answers(self, pictures: Pixels) -> tuple[Floats, Floats]:
        prob, novelty = np.zeros((len(pictures), len(CLASSES)), np.float32), np.zeros(len(pictures), np.float32)
        for i in range(0, len(pictures), BATCH):
            answer = self._network(pictures[i : i + BATCH])
            prob[i : i + BATCH] = answer["prob"]
            if self._novelty_cell is not None:
                novelty[i : i + BATCH] = answer[NOVELTY]
        return prob, novelty


class LazyClassification:
    """The classes of the cells of one field.

    Each cell is classified on request, and at most once.
    """

    def __init__(self, named: Callable[[Mask], tuple[Floats, Floats]], cells: int, novelty_field: float | None) -> None:
        """named: gives probabilities (M, 6) and novelty (M,) of the cells in a mask (N,); cells: N."""
        self._named, self._limit = named, novelty_field
        self._prob = np.zeros((cells, len(CLASSES)), np.float32)
        self.novelty = np.full(cells, np.nan, np.float32)
        self._done = np.zeros(cells, bool)

    def prob(self, which: Mask) -> Floats:
        """Return probabilities float32 (M, 6) of the cells in the mask (N,)."""
        new = which & ~self._done
        if new.any():
            self._prob[new], self.novelty[new] = self._named(new)
            self._done |= new
        return self._prob[which]

    def unfamiliar(self, whole: Mask) -> Rejection | None:
        """Refuse a field whose cells are unlike those of the training.

        whole: bool (N,), those that are not cut.

        Measured is the median novelty of up to FAMILIAR_FROM whole cells, from the surest to the faintest.
        """
        cells = np.nonzero(whole)[0]
        if self._limit is None or len(cells) < FAMILIAR_MIN:
            return None
        some = np.zeros_like(whole)
        some[cells[np.linspace(0, len(cells) - 1, min(len(cells), FAMILIAR_FROM)).astype(int)]] = True
        self.prob(some)
        value = float(np.median(self.novelty[some]))
        # Written so that a distance which is no number is refused too.
        return None if value <= self._limit else Rejection(Reason.UNFAMILIAR, value, self._limit)


def _other_views(pictures: Pixels) -> Pixels:
    """Return (7 N, side, side, 3): the seven other rotations and mirror images by right angles of N pictures."""
    views = np.empty((7, *pictures.shape), np.uint8)
    for i, picture in enumerate(pictures):
        mirrored = cv2.flip(picture, 1)
        views[3, i] = mirrored
        for k, turn in enumerate(QUARTER_TURNS):
            cv2.rotate(picture, turn, dst=views[k, i])
            cv2.rotate(mirrored, turn, dst=views[4 + k, i])
    return views.reshape(-1, *pictures.shape[1:])
