"""Names each cell from the crop around it, or abstains."""

from __future__ import annotations

import cv2
import numpy as np

from edge.runtime.base import Network
from edge.types import ABSTAINED, CLASSES, Field, Floats, Labels, Pixels

BATCH = 32
"""Crops that go to the network at once: bounds the memory of a crowded field."""

SICKLE = CLASSES.index("sickle")


def crops(pixels: Pixels, boxes: Floats, side: int) -> Pixels:
    """Cut uint8 (N, side, side, 3) round the centres of boxes (N, 4), the picture mirrored where it ends."""
    half = side // 2
    grown = cv2.copyMakeBorder(pixels, half, half, half, half, cv2.BORDER_REFLECT)
    out = np.empty((len(boxes), side, side, 3), np.uint8)
    corner = np.rint((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)
    for i, (x, y) in enumerate(corner):
        out[i] = grown[y : y + side, x : x + side]
    return out


def called(prob: Floats, sickle: float, abstain: float) -> Labels:
    """Turn probabilities (N, 6) into labels (N,): index into CLASSES, or ABSTAINED.

    A cell is sickle at a probability of `sickle` or more. Any other takes its most probable class, unless that is
    sickle after all, or no class reaches `abstain`; normal and other count together there, for the line between
    them decides nothing about sickling.
    """
    label: Labels = prob.argmax(1).astype(np.int8)
    certainty = np.maximum(prob.max(1), prob[:, 0] + prob[:, 2])
    doubtful = (label == SICKLE) | (certainty < abstain)
    label[doubtful] = ABSTAINED
    label[prob[:, SICKLE] >= sickle] = SICKLE
    return label


class CellClassifier:
    """The classification stage: a field and its boxes in, probabilities and labels out."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._side = network.contract.size
        thresholds = network.contract.thresholds
        self._sickle, self._abstain = thresholds["sickle"], thresholds["abstain"]
        self._second_look = thresholds["second_look"]

    def __call__(self, field: Field, boxes: Floats) -> tuple[Floats, Labels]:
        """Return probabilities float32 (N, 6) and labels int8 (N,) of the cells in boxes (N, 4), canonical pixels."""
        return self.name(crops(field.pixels, boxes, self._side))

    def name(self, pictures: Pixels) -> tuple[Floats, Labels]:
        """Classify uint8 (N, side, side, 3) crops."""
        prob = self._probabilities(pictures)
        # Few cells are suspect, so looking at those again from all eight sides costs little and halves the doubt.
        suspect = np.nonzero(prob[:, SICKLE] >= self._second_look)[0]
        if len(suspect):
            others = self._probabilities(_other_views(pictures[suspect]))
            prob[suspect] = (prob[suspect] + others.reshape(7, len(suspect), -1).sum(0)) / 8
        return prob, self.label(prob)

    def label(self, prob: Floats) -> Labels:
        """Return the labels (N,) that follow from probabilities (N, 6), such as the mean of several looks."""
        return called(prob, self._sickle, self._abstain)

    def _probabilities(self, pictures: Pixels) -> Floats:
        prob = np.zeros((len(pictures), len(CLASSES)), np.float32)
        for i in range(0, len(pictures), BATCH):
            prob[i : i + BATCH] = self._network(pictures[i : i + BATCH])["prob"]
        return prob


def _other_views(pictures: Pixels) -> Pixels:
    """Return (7 N, side, side, 3): the seven other rotations and mirror images by right angles of N pictures."""
    mirrored = pictures[:, :, ::-1]
    turned = [np.rot90(pictures, k, (1, 2)) for k in (1, 2, 3)]
    return np.concatenate([*turned, mirrored, *(np.rot90(mirrored, k, (1, 2)) for k in (1, 2, 3))])
