"""How figures are counted: see "Evaluation rules" of the data README."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge.types import Floats


def iou(a: Floats, b: Floats) -> Floats:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    meet = np.maximum(0, np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])).prod(
        2
    )
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return np.asarray(meet / np.maximum(1e-6, areas[0][:, None] + areas[1][None] - meet), np.float32)


def greedy(affinity: Floats, least: float) -> list[tuple[int, int]]:
    """Pair rows, given best first, with columns one to one.

    Each takes its best free column of at least `least`.
    """
    free = np.ones(affinity.shape[1], bool)
    pairs = []
    for i, row in enumerate(affinity):
        row = np.where(free, row, -np.inf)
        if len(row) and row.max() >= least:
            j = int(row.argmax())
            free[j] = False
            pairs.append((i, j))
    return pairs


def f1(hits: int, found: int, labelled: int) -> float:
    """Return the harmonic mean of precision and recall; 0 where there is nothing."""
    return 2 * hits / (found + labelled) if found + labelled else 0.0


def auc(score: Floats, positive: np.ndarray) -> float:
    """Return the area under the ROC curve.

    The chance that a positive scores above a negative, ties half.
    """
    high, low = score[positive], score[~positive]
    return float(((high[:, None] > low[None]) + 0.5 * (high[:, None] == low[None])).mean())


def bootstrap(
    groups: Sequence[str], statistic: Callable[[np.ndarray], float], draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of `statistic(row indices)` over groups.

    Whole groups are drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.nonzero(inverse == i)[0] for i in range(len(names))]
    values = [
        statistic(np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])) for _ in range(draws)
    ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
