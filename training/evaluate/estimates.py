"""A figure with its interval, and what all figures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.screening.verdict import wilson
from edge.types import ABSTAINED, Labels, Mask
from training.evaluate.predictions import RED
from training.metrics import bootstrap

SHIPPED = -1
"""The fold that stands for "no fold": `txl_pbc` validation, which no network was trained on, and the shipped pair."""

Thresholds = Mapping[int, float]
"""Sickle threshold of each fold; at SHIPPED that of the shipped pair."""

LogOdds = Mapping[int, tuple[float, float]]
"""Of each fold, and of the shipped pair, what makes log odds those of a chance; see `Contract.log_odds`."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval by bootstrap over groups, and what it was counted from."""

    value: float
    low: float
    high: float
    counted: str

    @classmethod
    def ratio(cls, part: Sequence[float], whole: Sequence[float], groups: Sequence[str], counted: str = "") -> Figure:
        """Return Σ part / Σ whole, one entry a field."""
        p, w = np.asarray(part, float), np.asarray(whole, float)
        if not w.sum():
            return cls(float("nan"), float("nan"), float("nan"), counted or "nothing")
        with np.errstate(invalid="ignore"):
            low, high = bootstrap(groups, lambda rows: float(p[rows].sum() / w[rows].sum()))
        return cls(float(p.sum() / w.sum()), low, high, counted or f"{p.sum():.0f} of {w.sum():.0f}")

    @classmethod
    def mean(cls, values: Sequence[float], groups: Sequence[str], counted: str) -> Figure:
        """Return the mean of one value a group."""
        v = np.asarray(values, float)
        low, high = bootstrap(groups, lambda rows: float(v[rows].mean()))
        return cls(float(v.mean()), low, high, counted)

    @classmethod
    def proportion(cls, part: int, whole: int) -> Figure:
        """Return part / whole with Wilson's interval: cells of one class, too few for a bootstrap."""
        low, high = wilson(part, whole) if whole else (float("nan"), float("nan"))
        return cls(part / whole if whole else float("nan"), low, high, f"{part} of {whole}")


def red(labels: Labels) -> Mask:
    """Return bool (N,): the cells of the denominator, abstained ones with them."""
    return np.isin(labels, [*RED, ABSTAINED])
