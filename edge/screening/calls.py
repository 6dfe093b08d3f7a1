"""What a cell is called: from class probabilities to a label and to a calibrated probability, by a model's thresholds.

Both the pictures of one frame and the mean over several observations of a cell go through the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.types import ABSTAINED, CLASSES, Floats, Labels

SICKLE = CLASSES.index("sickle")

NAMED_PART = 0.5
"""Part of its observations in which a cell has to be familiar enough to be named."""

LEAST = 1e-7
"""Probabilities are taken to lie so far within 0 and 1."""


PLAIN_BELOW, PLAIN_ABOVE = 0.55, 0.2
"""A call is plain where the sickle probability is less than this part of its threshold, or lacks less than this part of
what the threshold lacks to 1 (docs/decisions/0056)."""


@dataclass(frozen=True, slots=True)
class CallRule:
    """The thresholds of a classifier's contract, and its calibration.

    sickle, abstain, log_odds: as in edge.runtime.contract.Contract.
    """

    sickle: float
    abstain: float
    log_odds: tuple[float, float] = (1.0, 0.0)

    def labels(self, prob: Floats) -> Labels:
        """Return labels (N,) of probabilities (N, 6), such as the mean over several observations."""
        return called(prob, self.sickle, self.abstain)

    def plain(self, prob: Floats) -> NDArray[np.bool_]:
        """Return bool (N,): too far from the sickle threshold for more looks to change the call."""
        sickle = prob[:, SICKLE]
        return (sickle < PLAIN_BELOW * self.sickle) | (1 - sickle < PLAIN_ABOVE * (1 - self.sickle))

    def classified(self, prob: Floats) -> tuple[Floats, Labels]:
        """Return calibrated probabilities (N, 6) and labels (N,) of probabilities (N, 6)."""
        return calibrated_probabilities(prob, self.log_odds), self.labels(prob)


def called(prob: Floats, sickle: float, abstain: float) -> Labels:
    """Turn probabilities (N, 6) into labels (N,): index into CLASSES, or ABSTAINED.

    A cell is sickle at a sickle probability of `sickle` or more. From `abstain` on it may be, and is abstained from,
    so that a person looks at it. Any other takes the most probable of the other classes (docs/decisions/0065). A cell
    that was too strange to be named in half of its observations is abstained from as well: its probabilities, the mean
    over all of them, add up to no more than NAMED_PART.
    """
    others = prob.copy()
    others[:, SICKLE] = -1
    label: Labels = others.argmax(1).astype(np.int8)
    label[(prob[:, SICKLE] >= abstain) | (prob.sum(1) <= NAMED_PART)] = ABSTAINED
    label[prob[:, SICKLE] >= sickle] = SICKLE
    return label


def platt_scaled(p: NDArray[np.float64], log_odds: tuple[float, float]) -> NDArray[np.float64]:
    """Return probabilities after their log odds are multiplied and shifted.

    J. Platt, Advances in Large Margin Classifiers, 1999.

    Args:
        p: probabilities of any shape.
        log_odds: factor and shift, as in a contract.
    """
    factor, shift = log_odds
    p = p.clip(LEAST, 1 - LEAST)
    return np.asarray(1 / (1 + np.exp(-factor * np.log(p / (1 - p)) - shift)))


def calibrated_probabilities(prob: Floats, log_odds: tuple[float, float]) -> Floats:
    """Return probabilities (N, 6) with that of sickle calibrated.

    The other classes share the rest as before.

    The order of cells stays; a row without any probability stays 0.
    """
    together = prob.sum(1, dtype=np.float64)  # less than 1 where one of several observations named nothing
    share = prob / np.maximum(together, LEAST)[:, None]
    out = share.copy()
    out[:, SICKLE] = 0
    rest = out.sum(1)
    # Where no other class has any share there is none to give back.
    sickle = np.where(rest > 0, platt_scaled(share[:, SICKLE], log_odds), 1)
    out *= ((1 - sickle) / np.where(rest > 0, rest, 1))[:, None]
    out[:, SICKLE] = sickle
    out[~prob.any(1)] = 0
    return np.asarray(out, np.float32)
