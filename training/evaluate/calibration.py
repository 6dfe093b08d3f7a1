"""Whether the sickle probability is one, and what is gained by not naming the cells in doubt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.screening.calls import LEAST, calibrated_probabilities
from edge.types import ABSTAINED, Floats, Mask
from training.data.datasets import FOLDS
from training.evaluate.estimates import SHIPPED, Figure, LogOdds
from training.evaluate.ground_truth import GroundTruth
from training.evaluate.predictions import SICKLE
from training.metrics import bootstrap

BINS = 15
"""Bins of the calibration error, as many as Guo et al. take."""

DOUBTFUL = 0.05
"""Sickle probability above which a cell is hardly a plain one."""

NEWTON_STEPS = 30

COVERAGES = (1.0, 0.99, 0.98, 0.95, 0.9)
"""Parts of the cells that are named when those in most doubt are not, at which the error is given."""

DRAWS = 1000


def calibration(known: GroundTruth, log_odds: LogOdds) -> dict[str, Figure]:
    """Return the expected calibration error of calibrated and raw sickle probabilities.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML 2017, arXiv 1706.04599: cells are put in bins of equal width by
    their probability, and ECE is the mean over all cells of how far the part that is sickle lies from the mean
    probability, bin by bin. Nearly all cells here have a probability of nearly 0: bins of equal mass would put all that
    matters into one, where errors of both signs cancel, so they are given for the doubtful cells alone. Noise counts as
    error in every form: `if_exact` is what probabilities that are exactly right would get from so many cells.
    """
    cells = known.of(known.named)
    figures = {}
    for name, p in (("", fold_probabilities(cells, log_odds)), ("_of_the_networks", cells.p)):
        above = p > DOUBTFUL
        doubtful = p[above], cells.sickle[above], cells.group[above]
        figures[f"ece{name}"] = ece(p, cells.sickle, cells.group)
        figures[f"ece_above_0.05{name}"] = ece(*doubtful)
        if not name:
            equal_mass = np.quantile(p[above], np.linspace(0, 1, BINS + 1)[1:-1]) if above.any() else np.zeros(0)
            figures["ece_above_0.05_if_exact"] = _if_exact(p[above])
            figures["ece_above_0.05_equal_mass"] = ece(*doubtful, equal_mass)
    return figures


def ece(p: Floats, sickle: Mask, group: np.ndarray, inner_edges: np.ndarray | None = None) -> Figure:
    """Return the expected calibration error of probabilities (N,).

    Bins have equal width unless edges are given.
    """
    if not len(p):
        return Figure.ratio([], [], [])
    edges = np.linspace(0, 1, BINS + 1)[1:-1] if inner_edges is None else inner_edges
    names, of_group = np.unique(group, return_inverse=True)
    gap = np.zeros((len(names), len(edges) + 1))
    np.add.at(gap, (of_group, np.digitize(p, edges)), p.astype(float) - sickle)
    cells = np.bincount(of_group)

    def error(rows: np.ndarray) -> float:
        return float(np.abs(gap[rows].sum(0)).sum() / cells[rows].sum())

    said = f"{sickle.sum()} sickle of {len(p)} cells in {len(names)} groups"
    return Figure(error(np.arange(len(names))), *bootstrap(names.tolist(), error), said)


def _if_exact(p: Floats) -> Figure:
    """Return the mean ECE, and 95 % of those, if each cell were sickle with just its probability.

    J. Bröcker and L. A. Smith, Weather and Forecasting 22 (2007) 651–661, draw labels so.
    """
    if not len(p):
        return Figure.ratio([], [], [])
    rng = np.random.default_rng(0)
    bins = np.digitize(p, np.linspace(0, 1, BINS + 1)[1:-1])
    drawn = [np.abs(np.bincount(bins, p - (rng.random(len(p)) < p))).sum() / len(p) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(float(np.mean(drawn)), float(low), float(high), f"{DRAWS} drawn sets of labels of {len(p)} cells")


def chosen_log_odds(known: GroundTruth) -> dict[int, tuple[float, float]]:
    """Return for each fold, by the cells of the others, what makes log odds those of a chance.

    For SHIPPED by all.

    Factor and shift as in `edge.runtime.contract.Contract`: training shows sickle cells far more often than slides
    do,
    which raises the odds of every cell.
    """
    cells = known.of(known.named)
    p = np.clip(cells.p.astype(float), LEAST, 1 - LEAST)
    x = np.stack([np.log(p / (1 - p)), np.ones(len(p))], 1)
    chosen = {}
    for fold in (*FOLDS, SHIPPED):
        factor, shift = logistic(x[cells.fold != fold], cells.sickle[cells.fold != fold])
        chosen[fold] = float(max(factor, LEAST)), float(shift)
    return chosen


def fold_probabilities(known: GroundTruth, log_odds: LogOdds) -> Floats:
    """Return the chances (N,) of being a sickle cell, each with the numbers of its fold."""
    out: Floats = known.p.copy()
    for fold in np.unique(known.fold):
        mine = known.fold == fold
        out[mine] = calibrated_probabilities(known.prob[mine], log_odds[int(fold)])[:, SICKLE]
    return out


def logistic(x: Floats, y: Mask) -> np.ndarray:
    """Return the weights (K,) with which 1 / (1 + exp(−x w)) makes y (N,) likeliest; x (N, K).

    Newton's method from (1, 0, …). What is aimed at is a little within 0 and 1, as by Platt, so that there always is a
    best.
    """
    aim = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))
    weights: np.ndarray = np.eye(x.shape[1])[0]
    for _ in range(NEWTON_STEPS):
        p = _chance(x @ weights)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(len(weights))
        weights += np.clip(np.linalg.solve(curvature, x.T @ (aim - p)), -1, 1)
    return weights


def _chance(log_odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))))


def abstention(known: GroundTruth) -> dict[str, Figure]:
    """Return the error left when the cells in most doubt are not named.

    Also the area under that curve, and the point as shipped.

    Error: a cell on the wrong side of sickle / not sickle. Doubt: how unlikely the side is that the cell is put on,
    which is 1 − p above the threshold and p below it (R. Geifman and R. El-Yaniv, NIPS 2017, arXiv 1705.08500, call the
    rest softmax response); a cell without probabilities is in most doubt. The area (AURC, Geifman, Uziel, El-Yaniv,
    ICLR 2019, arXiv 1805.08206) is the mean of the error over all coverages.
    """
    if not len(known.p):
        return {}
    called = known.p >= known.threshold
    wrong = called != known.sickle
    sure = np.where(called, known.p, 1 - known.p.astype(float)) * known.named
    order = np.lexsort((~wrong, -sure))  # among equals those that are wrong are kept longest
    curve = _Curve(wrong[order], known.group[order])
    figures = {}
    for coverage in COVERAGES:
        left = order[: curve.kept(coverage)]
        said = f"{(wrong & called)[left].sum()} false calls, {(wrong & ~called)[left].sum()} missed, {len(left)} cells"
        figures[f"risk_at_{100 * coverage:.0f}_percent_coverage"] = curve.risk(coverage, said)
    figures["risk_mean_over_coverages"] = curve.area()
    named = known.label != ABSTAINED
    astray = (known.label == SICKLE) != known.sickle
    return {
        **figures,
        "coverage_as_shipped": Figure.ratio(named, [1.0] * len(named), known.group.tolist()),
        "risk_as_shipped": Figure.ratio(named & astray, named, known.group.tolist()),
        "wrong_among_abstained_as_shipped": Figure.ratio(~named & wrong, ~named, known.group.tolist()),
    }


class _Curve:
    """The error among the cells kept; wrong: bool (N,), surest first; group: of each cell."""

    def __init__(self, wrong: Mask, group: np.ndarray) -> None:
        self._wrong = wrong
        self._names, self._of_cell = np.unique(group, return_inverse=True)

    def kept(self, coverage: float) -> int:
        """Return how many cells are named."""
        return int(np.ceil(coverage * len(self._wrong)))

    def risk(self, coverage: float, counted: str) -> Figure:
        """Return the part of the cells kept that is wrong."""

        def of(rows: np.ndarray) -> float:
            errors, cells = self._sums(rows)
            last = np.searchsorted(cells, coverage * cells[-1])
            return float(errors[last] / cells[last])

        return self._figure(of, counted)

    def area(self) -> Figure:
        """Return the mean of the risk over the coverages at which one cell more is named."""

        def of(rows: np.ndarray) -> float:
            errors, cells = self._sums(rows)
            return float((errors / np.maximum(cells, 1) * np.diff(cells, prepend=0)).sum() / cells[-1])

        return self._figure(of, f"{len(self._wrong)} cells")

    def _sums(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return errors and cells (N,) up to each cell, where groups count as often as they were drawn."""
        times = np.bincount(rows, minlength=len(self._names))[self._of_cell]
        return np.cumsum(times * self._wrong), np.cumsum(times)

    def _figure(self, of: Callable[[np.ndarray], float], counted: str) -> Figure:
        return Figure(of(np.arange(len(self._names))), *bootstrap(self._names.tolist(), of), counted)
