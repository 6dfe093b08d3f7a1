"""How nearly two encodings of a network answer alike on the same pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.runtime.contract import Contract
from edge.runtime.onnx import SessionNetwork, cpu_session
from edge.screening.calls import SICKLE, called
from edge.types import Floats, Pixels
from edge.vision.detect import decoded

if TYPE_CHECKING:
    import onnx

LOST = 0.5
"""Change of score that a box counts for when it is not found again."""

SAME_CELL = 0.5
"""Boxes that share so much of their union are one cell."""


class InMemoryNetwork(SessionNetwork):
    """A network from memory instead of a pinned file; see edge.runtime.base.Network."""

    def __init__(self, model: onnx.ModelProto | bytes, contract: Contract, threads: int = 0) -> None:
        data = model if isinstance(model, bytes) else model.SerializeToString()
        super().__init__(cpu_session(data, f"the {contract.role}", threads), contract, "")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two forms of a network agree.

    changed: part of the cells that another class or none answers for; drift: mean change of score or probability.

    A detector's drift is the mean of its kinds', a lost box counting as LOST.
    """

    changed: float
    drift: float
    cells: int


Answer = tuple[Floats, Floats, NDArray[Any]]
"""Boxes (N, 4), scores (N,), kinds (N,) of one picture."""


def cells_found(network: InMemoryNetwork, picture: Pixels) -> Answer:
    """Return what a detector finds in one picture, uint8 (h, w, 3)."""
    maps = network(picture[None])
    threshold = network.contract.thresholds["score"]
    return decoded(maps["peaks"][0], maps["sides"][0], (picture.shape[0], picture.shape[1]), threshold)


def answers(network: InMemoryNetwork, pictures: Sequence[Pixels]) -> list[Any]:
    """Return an Answer for each picture, or probabilities for each 32 crops.

    Answers of a detector; probabilities (32, 6) of a classifier.
    """
    if network.contract.role == "detector":
        return [cells_found(network, picture) for picture in pictures]
    return [network(np.stack(pictures[i : i + 32]))["prob"] for i in range(0, len(pictures), 32)]


def agreement(contract: Contract, first: Sequence[Any], second: Sequence[Any]) -> Agreement:
    """Compare the answers of two networks to the same pictures."""
    if contract.role == "detector":
        return _of_boxes(first, second)
    before, after = np.concatenate(list(first)), np.concatenate(list(second))
    limits = contract.thresholds["sickle"], contract.thresholds["abstain"]
    changed = called(before, *limits) != called(after, *limits)
    drift = np.abs(after - before).mean() + np.abs(after - before)[:, SICKLE].mean()
    return Agreement(float(changed.mean()), float(drift), len(before))


def _of_boxes(first: Sequence[Answer], second: Sequence[Answer]) -> Agreement:
    changed, cells = 0, 0
    drift: dict[int, list[float]] = defaultdict(list)
    for (boxes, score, kind), (others, their_score, their_kind) in zip(first, second, strict=True):
        same = {i: j for i, j in paired(boxes, others) if kind[i] == their_kind[j]}
        changed += len(boxes) + len(others) - 2 * len(same)
        cells += len(boxes) + len(others)
        for i in range(len(boxes)):
            drift[int(kind[i])].append(abs(float(score[i] - their_score[same[i]])) if i in same else LOST)
    # Of each kind by itself: that every white cell is lost would hardly show among a hundred times as many red ones.
    by_kind = [float(np.mean(moved)) for moved in drift.values()]
    return Agreement(changed / max(1, cells), float(np.mean(by_kind)) if by_kind else 0.0, cells // 2)


def paired(boxes: Floats, others: Floats, least: float = SAME_CELL) -> list[tuple[int, int]]:
    """Pair boxes (N, 4), best first, with others (M, 4), one to one.

    By what they share of their union, from `least` on.
    """
    if not len(boxes) or not len(others):
        return []
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    meet = np.maximum(0, high - low).prod(2)
    areas = [(part[:, 2:] - part[:, :2]).prod(1) for part in (boxes, others)]
    share = meet / np.maximum(1e-6, areas[0][:, None] + areas[1][None] - meet)
    pairs = []
    for i in range(len(boxes)):
        j = int(share[i].argmax())
        if share[i, j] >= least:
            pairs.append((i, j))
            share[:, j] = 0
    return pairs
