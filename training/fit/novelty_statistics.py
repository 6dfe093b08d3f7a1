"""Measures what usual cells look like to a trained classifier, so that it can tell what it has never seen."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edge.types import Pixels
from training.fit.networks import MEASURES, Classifier, Usual, normalised

SHRINKAGE = 0.02
"""Part of the mean variance that is added to each direction: the directions in which cells hardly vary are few cells'
noise, and rounding to INT8 would fill them."""

EDGE = 0.98
"""Part of the usual fields whose median distance is at most 1, by each measure."""

PARTS = 4
"""Parts that fields are divided into: those of each are judged by what the cells of the others look like."""

BATCH = 256


def fit_novelty(net: Classifier, pictures: Pixels, field: np.ndarray, part: np.ndarray) -> None:
    """Measure usual cells, uint8 (N, 64, 64, 3), as `Classifier.novelty` needs them.

    field, part: int (N,), the field that each cell is of, and one of PARTS, alike for all cells of a slide. A measure
    counts by how far whole fields lie from the cells of other slides, not by how cells differ within one: the colours
    of a slide are alike, and those of the next one may be far from them.
    """
    net.eval()
    with torch.inference_mode():
        parts = [net.measured(normalised(torch.from_numpy(pictures[i : i + BATCH])))
                 for i in range(0, len(pictures), BATCH)]  # fmt: skip
        by = {name: torch.cat([one[name] for one in parts]) for name in MEASURES}
        kind = net.head(by["features"]).argmax(1)
        for name, usual in net.usual.items():
            kinds = kind if name == "features" else torch.zeros_like(kind)
            apart = _apart(by[name], kinds, field, part, len(usual.middles))
            _fit(usual, by[name], kinds, max(1e-6, float(np.quantile(apart, EDGE))))


def _apart(measured: Tensor, kind: Tensor, field: np.ndarray, part: np.ndarray, kinds: int) -> np.ndarray:
    """Return the median distance of each field's cells from those of the other parts."""
    medians = []
    for one in np.unique(part):
        mine = part == one
        usual, others = Usual(measured.shape[1], kinds), torch.from_numpy(~mine if not mine.all() else mine)
        _fit(usual, measured[others], kind[others], 1.0)
        distance = usual(measured[torch.from_numpy(mine)]).numpy()
        medians += [np.median(distance[field[mine] == f]) for f in np.unique(field[mine])]
    return np.array(medians)


def _fit(usual: Usual, measured: Tensor, kind: Tensor, unit: float) -> None:
    """Learn what (N, d) of these kinds (N,) usually are; a distance of `unit` becomes 1."""
    middles = torch.stack([_middle(measured, kind == i) for i in range(len(usual.middles))])
    whiten = _whitening(measured - middles[kind]) / unit
    usual.whiten.copy_(whiten)
    usual.middles.copy_(middles @ whiten)


def _middle(measured: Tensor, chosen: Tensor) -> Tensor:
    return measured[chosen].mean(0) if chosen.any() else measured.mean(0)


def _whitening(apart: Tensor) -> Tensor:
    """Return the matrix (d, d) that gives each direction of `apart` (N, d) the same variance, small ones less."""
    covariance = (apart.double().T @ apart.double()) / len(apart)
    covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    values, vectors = np.linalg.eigh(covariance.numpy())
    return torch.from_numpy(vectors / np.sqrt(values)).float()
