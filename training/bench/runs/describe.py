"""What there is to know of a set before anything learns from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge.types import Pixels
from training.bench.datasets.cell_images import pictures
from training.bench.datasets.labelled_cell import CellSet, Sample
from training.bench.datasets.near_duplicates import NearDuplicates, twins
from training.bench.models.augmentation import Augmentation, augmenter
from training.data.datasets import DataError

OF_EACH = 12
"""Examples of a class on the page of a set."""

TWINS_SHOWN = 100
GROUPS_SHOWN = 40


def describe(source: CellSet) -> dict[str, Any]:
    """Count a set by class, group and fold, and look for pictures that are nearly the same.

    A set with one class or one group is described too. Raises DataError for a picture that cannot be read.
    """
    samples = source.samples
    folds = sorted({s.fold for s in samples})
    groups = Counter(s.group for s in samples)
    pairs = [_pair(t, samples) for t in twins(s.path for s in samples)]
    pairs.sort(key=lambda pair: (not pair["leak"], pair["bits"]))
    return {
        "name": source.name, "licence": source.licence, "cells": len(samples),
        "pictures": len({s.path for s in samples}), "folds": folds,
        "classes": [_of_class(label, samples, folds) for label in source.classes],
        "groups": groups.most_common(), "groups_shown": GROUPS_SHOWN,
        "cells_of_a_group": _spread(list(groups.values())),
        "fold_cells": [sum(s.fold == f for s in samples) for f in folds],
        "torn": _torn(samples), "um_per_px": Counter(s.um_per_px for s in samples).most_common(),
        "sizes": _sizes(samples), "masks": sum(s.mask is not None for s in samples),
        "twins": pairs, "twins_shown": TWINS_SHOWN, "leaks": sum(pair["leak"] != "" for pair in pairs),
    }  # fmt: skip


def _of_class(label: str, samples: Sequence[Sample], folds: Sequence[int]) -> dict[str, Any]:
    mine = [s for s in samples if s.label == label]
    return {"label": label, "cells": len(mine), "share": len(mine) / len(samples),
            "groups": len({s.group for s in mine}),
            "folds": [sum(s.fold == f for s in mine) for f in folds]}  # fmt: skip


def _torn(samples: Sequence[Sample]) -> list[str]:
    """Return the groups that lie in more than one fold."""
    folds = defaultdict(set)
    for s in samples:
        folds[s.group].add(s.fold)
    return sorted(group for group, held in folds.items() if len(held) > 1)


def _spread(values: Sequence[int]) -> tuple[int, int, int]:
    """Return the least, the median and the greatest."""
    return min(values), round(float(np.median(values))), max(values)


def _sizes(samples: Sequence[Sample]) -> list[tuple[str, tuple[int, int, int]]]:
    """Return, in pixels, the spread of the sides of the pictures, and of the boxes where cells have some."""
    widths, heights = zip(*(_size(path) for path in sorted({s.path for s in samples})), strict=True)
    rows = [("width of the pictures", _spread(widths)), ("height of the pictures", _spread(heights))]
    boxes = [s.box for s in samples if s.box is not None]
    if boxes:
        rows.append(("longer side of the boxes", _spread([max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes])))
    return rows


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            return width, height
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error


def _pair(pair: NearDuplicates, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return two near-duplicates, what is wrong with where they lie ("" where nothing is), and what they are called."""
    one, other = (next(s for s in samples if s.path == path) for path in (pair.first, pair.second))
    known = one.fold >= 0 and other.fold >= 0
    leak = "two folds" if known and one.fold != other.fold else "two groups" if one.group != other.group else ""
    labels = [sorted({s.label for s in samples if s.path == path}) for path in (pair.first, pair.second)]
    return {"first": one, "second": other, "bits": pair.bits, "leak": leak, "disagree": labels[0] != labels[1]}


def examples(samples: Sequence[Sample], of_each: int = OF_EACH) -> dict[str, list[Sample]]:
    """Return so many cells of each class, of as many groups as there are.

    The same ones each time.
    """
    by_class: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for s in samples:
        by_class[s.label][s.group].append(s)
    chosen = {}
    for label, groups in sorted(by_class.items()):
        turn = [(i, group, s) for group, mine in groups.items() for i, s in enumerate(mine)]
        turn.sort(key=lambda row: row[:2])  # the first of each group, then the second of each
        step = max(1, len(groups) // of_each)
        chosen[label] = [s for _, _, s in turn[::step]][:of_each]
    return chosen


def altered(
    samples: Sequence[Sample], side: int, augmentation: Augmentation, seed: int, times: int
) -> list[tuple[Sample, list[Pixels]]]:
    """Return each cell as it is and as the augmentation alters it.

    Pictures are uint8 (side, side, 3).
    """
    plain = pictures(samples, side)
    alter = augmenter(augmentation, seed)
    looks = [plain, *(alter(plain) for _ in range(times))]
    return [(sample, [look[i] for look in looks]) for i, sample in enumerate(samples)]
