"""Tests that a network has learnt sickling and not the camera, at the thresholds already chosen."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.system.progress_bars import ReportProgress, quiet
from edge.types import Floats, Pixels
from training.data.datasets import CHULA_NAMES, CHULA_NORMAL, CHULA_UNCATEGORISED, FOLDS, LabelledField, read_pixels
from training.evaluate import sickle_calls
from training.evaluate.estimates import Figure, LogOdds, Thresholds
from training.evaluate.interventions import (
    Appearance,
    appearance_of,
    grey_histogram,
    grey_matched,
    painted_over,
    pasted,
    sized,
    sprite_of,
    with_look,
)
from training.evaluate.novelty_limits import NoveltyLimits, judged
from training.evaluate.predict import Picture, read_fields
from training.evaluate.predictions import Prediction, of
from training.fit.completed_labels import LIKELY_UM_PER_PX
from training.run_folder import RunDir

PASTED_A_FIELD = 3
"""Sickle cells that are put into a field without any."""

MARGIN = 6
"""One part in so many of a picture's sides, at each edge, gets no pasted cell."""

TRIES = 200
"""Places that are tried for a pasted cell, and cells that are tried for a field."""


MIMICS = [i for i in range(len(CHULA_NAMES)) if i not in (CHULA_NORMAL, CHULA_UNCATEGORISED)]
"""Labelled classes of `chula_rbc12` that a sickle call could be taken from."""


def _rng(path: Path) -> np.random.Generator:
    """Return random numbers that are a picture's own, whatever was read before it."""
    return np.random.default_rng(zlib.crc32(f"{path.parent.name}/{path.name}".encode()))


def _scale(s: Prediction) -> float:
    return s.reading.um_per_px or LIKELY_UM_PER_PX


@dataclass(frozen=True, slots=True)
class Changed:
    """Reads changed pictures with the networks of a run, as the device would."""

    run: RunDir
    novelty: NoveltyLimits
    progress: ReportProgress = quiet

    def read(self, name: str, fields: list[LabelledField], picture: Picture) -> list[Prediction]:
        """Read changed pictures out of fold."""
        seen = []
        for fold in FOLDS:
            mine = [f for f in fields if f.fold == fold]
            cache = self.run.readings / f"{name}-fold{fold}.jsonl"
            if mine:
                read = read_fields(self.run.for_fold(fold), mine, cache, self.progress, picture)
                seen += [judged(s, self.novelty[fold]) for s in read]
        return seen


def field_scores(
    changed: Changed, uganda: list[Prediction], thresholds: Thresholds, log_odds: LogOdds
) -> dict[str, Figure]:
    """AUC of the field score in colour, without colour, and without the boxed sickle cells.

    One picture a group.
    """
    chosen = sickle_calls.one_a_group(uganda)
    fields = [s.field for s in chosen]
    histogram = np.mean([grey_histogram(read_pixels(f.path)) for f in fields], axis=0).astype(np.float32)
    grey = changed.read("grey", fields, lambda f: grey_matched(read_pixels(f.path), histogram))
    positive = [f for f in fields if f.label == "positive"]
    painted = changed.read("painted", positive, lambda f: painted_over(read_pixels(f.path), f.boxes, _rng(f.path)))
    return {
        "auc_colour": sickle_calls.field_auc(uganda, thresholds, log_odds),
        "auc_grey_matched": sickle_calls.field_auc(grey, thresholds, log_odds),
        "auc_sickle_cells_painted_over": sickle_calls.field_auc(
            painted + of(chosen, "uganda_scd", "negative"), thresholds, log_odds
        ),
    }


def exchanged_looks(
    changed: Changed, uganda: list[Prediction], chula: list[Prediction], thresholds: Thresholds
) -> dict[str, Figure]:
    """Return recall and false calls with the looks of two sets exchanged.

    Recall with the look of Chula's fields, calls on Chula's cells with that of Uganda's positive fields.
    """
    positive = of(uganda, "uganda_scd", "positive")
    looks = {s.field.path: appearance_of(read_pixels(s.field.path), _scale(s)) for s in [*positive, *chula]}

    def borrowed(from_: list[Prediction]) -> Picture:
        def picture(field: LabelledField) -> Pixels:
            rng = _rng(field.path)
            wanted = looks[from_[int(rng.integers(len(from_)))].field.path]
            return with_look(read_pixels(field.path), looks[field.path], wanted, rng)

        return picture

    as_chula = changed.read("as-chula", [s.field for s in positive], borrowed(chula))
    as_uganda = changed.read("as-uganda", [s.field for s in chula], borrowed(positive))
    figures = {
        "recall_as_taken": sickle_calls.recall(positive, thresholds),
        "recall_with_chula_look": sickle_calls.recall(as_chula, thresholds),
        "recall_lost": _lost(positive, as_chula, thresholds),
    }
    for name, seen in (("as_taken", chula), ("with_uganda_look", as_uganda)):
        figures[f"normal_calls_{name}"] = sickle_calls.normal_calls(seen, thresholds)
        figures[f"mimic_calls_{name}"] = sickle_calls.class_calls(seen, thresholds, MIMICS)
    return figures


def _lost(before: list[Prediction], after: list[Prediction], thresholds: Thresholds) -> Figure:
    """Return by how much recall falls on the same boxes."""
    later = {s.reading.key: s for s in after}
    rows = [(sickle_calls.found_boxes(s, thresholds[s.field.fold]),
             sickle_calls.found_boxes(later[s.reading.key], thresholds[s.field.fold])) for s in before]  # fmt: skip
    return Figure.ratio([a[0] - b[0] for a, b in rows], [a[1] for a, _ in rows], [s.field.group for s in before])


def pasted_cells(changed: Changed, uganda: list[Prediction], thresholds: Thresholds) -> dict[str, Figure]:
    """Return the share of pasted sickle cells that are found.

    They come from positive fields and lie in negative fields of the same fold.
    """
    looks: dict[Path, Appearance] = {}
    plans: dict[Path, list[tuple[Floats, tuple[int, int]]]] = {}
    fields, home = [], []
    for target in of(uganda, "uganda_scd", "negative"):
        sources = [s for s in of(uganda, "uganda_scd", "positive") if s.field.fold == target.field.fold]
        if not sources or target.reading.um_per_px is None:
            continue
        cells = planned(target, sources, looks)
        plans[target.field.path] = [(absorbance, at) for absorbance, at, _, _ in cells]
        boxes = [[x, y, x + a.shape[1], y + a.shape[0]] for a, (x, y), _, _ in cells]
        fields.append(_labelled(target.field, np.array(boxes, np.float32).reshape(-1, 4)))
        home += [_alone(source, box) for _, _, source, box in cells]

    def picture(field: LabelledField) -> Pixels:
        return pasted(read_pixels(field.path), plans[field.path], looks[field.path])

    there = changed.read("pasted", fields, picture)
    return {
        "pasted_found": sickle_calls.recall(there, thresholds),
        "pasted_found_in_their_own_field": sickle_calls.recall(home, thresholds),
    }


def _labelled(field: LabelledField, boxes: Floats) -> LabelledField:
    n = len(boxes)
    return replace(field, boxes=boxes, kinds=np.zeros(n, np.int64), partial=np.zeros(n, bool))


def _alone(source: Prediction, box: Floats) -> Prediction:
    """Return a field as it was read, labelled with one of its boxes only."""
    return Prediction(_labelled(source.field, box[None]), source.reading)


def planned(
    target: Prediction,
    sources: list[Prediction],
    looks: dict[Path, Appearance],
    most: int = PASTED_A_FIELD,
    margin: int = MARGIN,
) -> list[tuple[Floats, tuple[int, int], Prediction, Floats]]:
    """Choose free cells of the sources and free places for them.

    Absorbance, position, and where each comes from.

    Args:
        target: a field without sickle cells; its boxes are not free.
        sources: fields with some.
        looks: of pictures, by path; grows.
        most: cells.
        margin: see MARGIN.
    """
    rng = _rng(target.field.path)
    um_per_px = _scale(target)
    h, w = target.reading.size
    if target.field.path not in looks:
        looks[target.field.path] = appearance_of(read_pixels(target.field.path), um_per_px)
    taken = [*target.reading.boxes]
    chosen: list[tuple[Floats, tuple[int, int], Prediction, Floats]] = []
    for _ in range(TRIES):
        source = sources[int(rng.integers(len(sources)))]
        usable = source.field.boxes[~source.field.partial]
        if source.reading.um_per_px is None or not len(usable):
            continue
        box = usable[int(rng.integers(len(usable)))]
        at = source.reading.centres
        if ((at > box[:2]) & (at < box[2:])).all(1).sum() != 1:  # of two cells, or of one that no detector sees
            continue
        pixels = read_pixels(source.field.path)
        if source.field.path not in looks:
            looks[source.field.path] = appearance_of(pixels, _scale(source))
        sprite = sprite_of(pixels, box, looks[source.field.path])
        if sprite is None:
            continue
        absorbance = sized(sprite, um_per_px)
        place = _place(absorbance.shape[:2], (h, w), taken, rng, margin)
        if place is None:
            continue
        x, y = place
        taken.append(np.array([x, y, x + absorbance.shape[1], y + absorbance.shape[0]], np.float32))
        chosen.append((absorbance, place, source, box))
        if len(chosen) == most:
            break
    return chosen


def _place(
    size: tuple[int, ...], shape: tuple[int, int], taken: list[Floats], rng: np.random.Generator, margin: int
) -> tuple[int, int] | None:
    """Return a position (x, y) in the middle of the picture where no cell lies, or None."""
    h, w = size
    margin_y, margin_x = shape[0] // margin, shape[1] // margin
    if shape[0] - h <= 2 * margin_y or shape[1] - w <= 2 * margin_x:
        return None
    boxes = np.array(taken, np.float32).reshape(-1, 4)
    for _ in range(TRIES):
        x = int(rng.integers(margin_x, shape[1] - w - margin_x))
        y = int(rng.integers(margin_y, shape[0] - h - margin_y))
        apart = (boxes[:, 0] > x + w) | (boxes[:, 2] < x) | (boxes[:, 1] > y + h) | (boxes[:, 3] < y)
        if apart.all():
            return x, y
    return None
