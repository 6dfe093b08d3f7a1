"""How well cells are found and counted, by the "Evaluation rules" of the data README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.types import ABSTAINED, CLASSES, KINDS, Floats, Labels, Mask
from training.data.datasets import CHULA_UNCATEGORISED, LABELLED_ENOUGH
from training.evaluate.estimates import Figure, Thresholds, red
from training.evaluate.predictions import RED, PredictedCells, Prediction
from training.metrics import greedy, iou

IOU_MIN = 0.5
"""Boxes that share this much of their union are the same cell."""

EDGE_PX = 20
"""Cells of `chula_rbc12` with a centre nearer to the border than this are not compared: they are not all labelled."""


def kinds_of(reading: PredictedCells, labels: Labels) -> np.ndarray:
    """Return int (N,) into KINDS, -1 for artefacts.

    An abstained cell is what its probabilities together say.
    """
    p = reading.prob
    together = np.stack([p[:, RED].sum(1), p[:, CLASSES.index("wbc")], p[:, CLASSES.index("platelet")], p[:, -1]], 1)
    by_class = np.array([0, 0, 0, 1, 2, -1])
    likely = np.array([0, 1, 2, -1])[together.argmax(1)]
    return np.where(labels == ABSTAINED, likely, by_class[np.where(labels == ABSTAINED, 0, labels)])


@dataclass(frozen=True, slots=True)
class _Matched:
    """Of one kind in one field: hits, cells found, cells labelled; then the same away from the border."""

    hits: int
    found: int
    labelled: int
    inner_hits: int
    inner_found: int
    inner_labelled: int
    touching_hits: int
    touching: int


def _match(seen: Prediction, kind: int, labels: Labels) -> _Matched:
    reading, mine = seen.reading, seen.field.kinds == kind
    chosen = np.nonzero(kinds_of(reading, labels) == kind)[0]
    chosen = chosen[np.argsort(-reading.score[chosen], kind="stable")]
    found, wanted = reading.boxes[chosen], seen.field.boxes[mine]
    pairs = greedy(iou(found, wanted), IOU_MIN)
    hit = {j: i for i, j in pairs}
    h, w = reading.size
    cut: Mask = np.asarray((wanted[:, :2] < 1).any(1) | (wanted[:, 2] > w - 1) | (wanted[:, 3] > h - 1))
    unpaired = np.setdiff1d(np.arange(len(found)), [i for i, _ in pairs])
    false_inside = int((~reading.border[chosen[unpaired]]).sum())
    inner_hits = sum(not cut[j] for j in hit)
    near = iou(wanted, seen.field.boxes)
    near[np.arange(len(wanted)), np.nonzero(mine)[0]] = 0
    touching: Mask = np.asarray((near > 0).any(1))
    return _Matched(len(pairs), len(found), len(wanted), inner_hits, inner_hits + false_inside, int((~cut).sum()),
                    sum(bool(touching[j]) for j in hit), int(touching.sum()))  # fmt: skip


def detection(seen: Sequence[Prediction], threshold: float) -> dict[str, Figure]:
    """Return F1 of each kind and the recall of touching cells.

    F1 is given with the border's cells and without.
    """
    groups = [s.field.group for s in seen]
    figures = {}
    of_kinds = [[_match(s, k, s.reading.labels(threshold)) for s in seen] for k in range(3)]
    for name, of_kind in zip(KINDS, of_kinds, strict=True):
        figures[f"f1_{name}"] = _f1([(m.hits, m.found, m.labelled) for m in of_kind], groups)
        figures[f"f1_{name}_interior"] = _f1([(m.inner_hits, m.inner_found, m.inner_labelled) for m in of_kind], groups)
        figures[f"precision_{name}"] = Figure.ratio([m.hits for m in of_kind], [m.found for m in of_kind], groups)
        figures[f"recall_{name}"] = Figure.ratio([m.hits for m in of_kind], [m.labelled for m in of_kind], groups)
    figures["recall_touching"] = Figure.ratio(
        [sum(k[i].touching_hits for k in of_kinds) for i in range(len(seen))],
        [sum(k[i].touching for k in of_kinds) for i in range(len(seen))],
        groups,
    )
    return figures


def _f1(counts: Sequence[tuple[int, int, int]], groups: Sequence[str]) -> Figure:
    hits, found, labelled = (sum(c[i] for c in counts) for i in range(3))
    return Figure.ratio([2 * c[0] for c in counts], [c[1] + c[2] for c in counts], groups,
                        f"{hits} hits, {found} found, {labelled} labelled")  # fmt: skip


def matched_points(reading: PredictedCells, chosen: np.ndarray, points: Floats) -> list[tuple[int, int]]:
    """Pair chosen cells with labelled points (M, 2), best score first.

    A pair lies within half the field's usual diameter.
    """
    if not len(chosen) or not len(points):
        return []
    order = chosen[np.argsort(-reading.score[chosen], kind="stable")]
    boxes = reading.boxes[order]
    radius = float(np.median(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)))) / 2
    away = np.linalg.norm(reading.centres[order][:, None] - points[None], axis=2).astype(np.float32)
    return [(int(order[i]), j) for i, j in greedy(-away, -radius)]


def counts(seen: Sequence[Prediction], thresholds: Thresholds) -> dict[str, Figure]:
    """Precision, recall and count error of red cells, each averaged by series."""
    rows: dict[str, list[tuple[int, int, int]]] = {}
    for s in seen:
        if s.field.fraction_unlabelled < LABELLED_ENOUGH:
            rows.setdefault(s.field.group, []).append(_counted(s, thresholds[s.field.fold]))
    if not rows:
        return {}
    series = sorted(rows)
    hits, found, labelled = (np.array([sum(r[i] for r in rows[g]) for g in series], float) for i in range(3))
    said = f"{sum(map(len, rows.values()))} fields of {len(series)} series"
    return {
        "precision": Figure.mean(hits / np.maximum(found, 1), series, said),
        "recall": Figure.mean(hits / np.maximum(labelled, 1), series, said),
        "count_error": Figure.mean(found / labelled - 1, series, said),
        "count_error_absolute": Figure.mean(np.abs(found / labelled - 1), series, said),
    }


def _counted(s: Prediction, threshold: float) -> tuple[int, int, int]:
    """Return hits, cells found and cells labelled; uncategorised cells and what was found at them are left out."""

    def inside(xy: Floats) -> Mask:
        h, w = s.reading.size
        return np.asarray(((xy >= EDGE_PX) & (xy <= (w - EDGE_PX, h - EDGE_PX))).all(1))

    points = s.field.points
    chosen = np.nonzero(red(s.reading.labels(threshold)))[0]
    pairs = matched_points(s.reading, chosen, points[:, :2])
    ignored = {i for i, j in pairs if points[j, 2] == CHULA_UNCATEGORISED}
    found = [i for i in chosen[inside(s.reading.centres[chosen])] if i not in ignored]
    wanted = inside(points[:, :2]) & (points[:, 2] != CHULA_UNCATEGORISED)
    # A pair across the line of 20 px is right on both sides of it: it counts where its labelled point lies.
    across = sum(bool(wanted[j]) and i not in set(found) for i, j in pairs)
    strayed = sum(i in set(found) and not wanted[j] for i, j in pairs if i not in ignored)
    return sum(bool(wanted[j]) for _, j in pairs), len(found) + across - strayed, int(wanted.sum())
