"""What is counted from the probabilities of cells and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from edge.screening.verdict import wilson
from edge.types import Floats
from training.metrics import bootstrap

FORGIVEN = frozenset({"elongated", "other"})
"""Classes of erythrocytesIDB between which the SDS-score forgives errors: both are deformed (Petrović et al. 2020)."""

BINS = 10
DRAWS = 500


def calibration(prob: Floats, y: np.ndarray) -> tuple[float, list[tuple[float, float, int]]]:
    """Return the expected calibration error and its ten bins.

    Each of the equal bins has mean confidence, accuracy and count.
    """
    sure, right = prob.max(1), prob.argmax(1) == y
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    rows = [(float(sure[bins == b].mean()), float(right[bins == b].mean()), int((bins == b).sum()))
            for b in range(BINS) if (bins == b).any()]  # fmt: skip
    return sum(n * abs(p - a) for p, a, n in rows) / len(y), rows


def sds(classes: Sequence[str], y: np.ndarray, called: np.ndarray) -> float | None:
    """Return the share of cells called right, or elongated for other and the reverse.

    None for other classes.
    """
    if not set(classes) >= FORGIVEN:
        return None
    deformed = [classes.index(name) for name in FORGIVEN]
    return float(((y == called) | (np.isin(y, deformed) & np.isin(called, deformed))).mean())


def figures(classes: Sequence[str], y: np.ndarray, prob: Floats, groups: Sequence[str]) -> dict[str, Any]:
    """Count everything of judged cells: y int (N,), prob (N, classes). Intervals are 95 %."""
    called, all_classes = prob.argmax(1), list(range(len(classes)))
    right = int((called == y).sum())
    counts = confusion_matrix(y, called, labels=all_classes)
    present = sorted(set(y.tolist()))  # balanced accuracy, and the mean F1, are of classes that have cells to find
    f1 = f1_score(y, called, labels=all_classes, average=None, zero_division=0)
    ece, bins = calibration(prob, y)

    def accuracy(rows: np.ndarray) -> float:
        return float((called[rows] == y[rows]).mean())

    return {
        "cells": len(y), "groups": len(set(groups)), "right": right, "accuracy": right / len(y),
        "accuracy_wilson": wilson(right, len(y)), "accuracy_bootstrap": bootstrap(groups, accuracy, DRAWS),
        "balanced_accuracy": float(recall_score(y, called, labels=present, average="macro")),
        "f1_macro": float(f1[present].mean()), "sds": sds(classes, y, called),
        "ece": ece, "bins": bins, "confusion": counts.tolist(),
        "classes": {name: {"f1": float(f1[i]), "recall": _part(counts[i, i], counts[i].sum()),
                           "precision": _part(counts[i, i], counts[:, i].sum())} for i, name in enumerate(classes)},
    }  # fmt: skip


def _part(hits: int, whole: int) -> dict[str, Any]:
    low, high = wilson(int(hits), int(whole)) if whole else (0.0, 1.0)
    return {"hits": int(hits), "of": int(whole), "value": float(hits / whole) if whole else None, "low": low,
            "high": high}  # fmt: skip


def difference(right: np.ndarray, other: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of how much more often `right` is true than `other`.

    Both are bool (N,) of the same cells.
    """
    apart = right.astype(float) - other.astype(float)
    return bootstrap(groups, lambda rows: float(apart[rows].mean()), DRAWS)
