"""Single cells for the classifier: patches cut from whole fields, each with the set of classes it may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.types import CLASSES, RED_CELLS, Floats, Mask, Pixels
from edge.vision.classify import crops
from training.data.datasets import (
    CHULA_NORMAL,
    CHULA_SIZES,
    CHULA_UNCATEGORISED,
    LABELLED_ENOUGH,
    NONE,
    WHITE,
    LabelledField,
)
from training.data.fields import TrainingField, centres, holds

CROP_PX = 64
"""Side of the classifier's crop: 16 µm, the length of the longest sickle cells."""

PATCH_PX = 96
"""Side of a patch: the crop of 64 turned by 45° and shrunk by a tenth still finds picture everywhere."""

STREAMS = ("sickle", "negative", "unboxed", "chula", "txl", "background", "rendered", "artefact")
"""Where a cell comes from, which decides how often it is drawn."""

SHARES = {"sickle": 44, "negative": 44, "unboxed": 20, "chula": 36, "txl": 14, "background": 16, "rendered": 6,
          "artefact": 12}  # fmt: skip
"""Cells of each stream in a batch."""

SHARES_LAST = {"sickle": 44, "negative": 42, "unboxed": 26, "chula": 34, "txl": 10, "background": 12, "rendered": 12,
               "artefact": 12}  # fmt: skip
"""The same for the last steps: drawn cells have the shapes of sickle cells, and of others, in any colour."""

ROOM_PX = 14
"""A spot so far from every cell, in canonical pixels, has room for another one."""

SICKLE_FREE = ("krd_wbc", "chula_diseases", "chula_unlabelled")
"""Sets in which no cell is a sickle cell, and none has a label of its own."""

RENDERED_SEED = 10_000
"""Slides from this seed on teach; those below it are for the demonstration and for tests."""


DOUBTFUL_OFTEN = 3.0
"""How many times as often as a cell what was barely taken for one is drawn."""

UNBOXED_SICKLE = 0.1
"""Weight of `sickle` for a cell that nobody boxed in a positive field, where others that it may be weigh 1: some sickle
cells have no box there, but no clump or smear has one, and while all weighed the same, those were called sickle."""

HEALTHY_OTHER = 0.3
"""Weight of `other` against `normal` for a cell known only not to be sickle: most such cells are healthy discs."""


def allowed(*names: str) -> Floats:
    """Return float32 (6,): 1 for each class that a label leaves open, else 0."""
    return np.isin(CLASSES, names).astype(np.float32)


def not_sickle() -> Floats:
    """Return float32 (6,): normal, or, less likely, another abnormal red cell."""
    weight = allowed("normal", "other")
    weight[CLASSES.index("other")] = HEALTHY_OTHER
    return weight


def perhaps_sickle(*names: str) -> Floats:
    """Return float32 (6,).

    1 for each of these classes, and for sickle what is left where nobody boxed a cell.
    """
    weight = allowed(*names)
    weight[CLASSES.index("sickle")] = UNBOXED_SICKLE
    return weight


@dataclass(frozen=True, slots=True)
class Patches:
    """Single cells and what is known of them.

    patches: uint8 (N, 96, 96, 3) at the canonical scale; may: float32 (N, 6) weight of each class it may be; stream:
    int (N,) into STREAMS; weight: float32 (N,) how often it is drawn within its stream; fold: int (N,), -1 where all
    may use it; field: int (N,), which picture it is cut from.
    """

    patches: Pixels
    may: np.ndarray
    stream: np.ndarray
    weight: Floats
    fold: np.ndarray
    field: np.ndarray

    def within(self, folds: Sequence[int]) -> Patches:
        """Keep what belongs to these folds or to none."""
        keep = np.isin(self.fold, (-1, *folds))
        return Patches(*(getattr(self, name)[keep] for name in NAMES))


NAMES = ("patches", "may", "stream", "weight", "fold", "field")


def of_fields(fields: Iterable[TrainingField], seed: int, most: int = 60) -> Patches:
    """Cut the cells of fields, and some spots where there is none.

    most: of a positive field, no more red cells in no box than this, beside what was barely taken for a cell.
    """
    rng = np.random.default_rng(seed)
    return joined([_of_field(field, number, rng, most) for number, field in enumerate(fields)])


def of_slides(slides: int, fields: int = 3) -> Patches:
    """Cut the red cells of rendered slides, four in ten of them sickle cells.

    All folds may use them.
    """
    patches, may, field = [], [], []
    for seed in range(RENDERED_SEED, RENDERED_SEED + slides):
        slide = Slide(SlideSpec(seed=seed, n_fields=fields, sickle_fraction=0.4))
        for index in range(fields):
            cells = [c for c in slide.truth(index) if c.fully_visible and c.class_name in RED_CELLS]
            boxes = np.array([c.box for c in cells], np.float32).reshape(-1, 4)
            patches.append(crops(slide.render(index), boxes, PATCH_PX))
            may += [allowed(c.class_name) for c in cells]
            field += [-1 - seed * fields - index] * len(cells)
    n = len(may)
    stream, weight = np.full(n, STREAMS.index("rendered")), np.ones(n, np.float32)
    return Patches(np.concatenate(patches), np.stack(may), stream, weight, np.full(n, -1), np.array(field))


def middles(patches: Pixels) -> Pixels:
    """Cut the classifier's crops (N, 64, 64, 3) out of the middle of patches."""
    edge = (patches.shape[1] - CROP_PX) // 2
    return patches[:, edge : edge + CROP_PX, edge : edge + CROP_PX]


def joined(parts: Sequence[Patches]) -> Patches:
    """Put patches together."""
    return Patches(*(np.concatenate([getattr(part, name) for part in parts]) for name in NAMES))


def _of_field(field: TrainingField, number: int, rng: np.random.Generator, most: int) -> Patches:
    looked_at = _looked_at(field)
    boxes, may, stream, weight = _labelled(field, *(seen[: len(field.boxes)] for seen in looked_at))
    drop = rng.permutation(np.nonzero(stream == STREAMS.index("unboxed"))[0])[most:]
    keep = np.setdiff1d(np.arange(len(boxes)), drop)
    parts = [(boxes[keep], may[keep], stream[keep], weight[keep])]
    doubtful = _doubtful(field, *(seen[len(field.boxes) :] for seen in looked_at))
    ground = ("background", _spots(field, rng, 8), allowed("artefact"))
    for name, more, classes in (*doubtful, *_answered(field), ground):
        n, often = len(more), DOUBTFUL_OFTEN if name in ("negative", "chula") else 1.0
        parts.append((more, np.tile(classes, (n, 1)), np.full(n, STREAMS.index(name)), np.full(n, often)))
    boxes, may, stream, weight = (np.concatenate([part[i] for part in parts]) for i in range(4))
    n, patches = len(boxes), crops(field.pixels, boxes, PATCH_PX)
    fold, numbers = np.full(n, field.source.fold), np.full(n, number)
    return Patches(patches, may, stream, weight.astype(np.float32), fold, numbers)


def _doubtful(field: TrainingField, no: Mask, perhaps: Mask) -> list[tuple[str, Floats, Floats]]:
    """Return what a detector barely took for a cell: streams, boxes, and what those may be; no, perhaps: by eye.

    Clumps, rests and dirt, which the device's low score threshold lets through, are most of all false calls. In a
    negative field they are anything but sickle, and most likely so in a positive one where no box holds them; in a well
    labelled one of `chula_rbc12`, where no label lies in them, no red cell.
    """
    source, boxes = field.source, field.ignore
    if source.dataset in SICKLE_FREE or (source.dataset == "uganda_scd" and source.label == "negative"):
        return [("negative", boxes, 1 - allowed("sickle"))]
    if source.dataset == "uganda_scd":
        boxed = holds(source.boxes / field.zoom, centres(boxes)).any(0)
        return [
            ("negative", boxes[no & ~boxed], 1 - allowed("sickle")),
            ("unboxed", boxes[~no & ~perhaps & ~boxed], perhaps_sickle(*CLASSES)),
        ]
    if source.dataset == "chula_rbc12" and source.fraction_unlabelled < LABELLED_ENOUGH:
        points = source.points[:, :2] / field.zoom
        return [("chula", boxes[~holds(boxes, points).any(1)], allowed("wbc", "platelet", "artefact"))]
    return []


def _answered(field: TrainingField) -> list[tuple[str, Floats, Floats]]:
    """Return the places that a reviewer saw to be no red cell: stream, boxes, and what those may be."""
    places: list[tuple[str, Floats, Floats]] = []
    for kind, classes in ((NONE, allowed("artefact")), (WHITE, allowed("wbc", "platelet", "artefact"))):
        at = np.array([(x, y) for x, y, said in field.source.answers if said == kind], np.float32) / field.zoom
        at = at.reshape(-1, 2)
        places.append(("artefact", np.concatenate([at - 5, at + 5], 1).astype(np.float32), classes))
    return places


def _looked_at(field: TrainingField) -> tuple[Mask, Mask]:
    """Return which of its boxes, those that it ignores last, are by eye no sickle cell, and which one may be.

    What was seen is of the box whose middle it lies nearest to, of those that hold it.
    """
    boxes, seen = np.concatenate([field.boxes, field.ignore]), field.source.unboxed
    at = seen[:, :2] / field.zoom
    held = holds(boxes, at)
    away = np.where(held, np.linalg.norm(centres(boxes)[:, None] - at[None], axis=2), np.inf)
    nearest = held & (away == away.min(0, initial=np.inf))
    perhaps = np.asarray(nearest[:, seen[:, 2] == 1].any(1))
    return np.asarray(nearest.any(1) & ~perhaps), perhaps


def _labelled(field: TrainingField, no: Mask, perhaps: Mask) -> tuple[Floats, np.ndarray, np.ndarray, np.ndarray]:
    source, n = field.source, len(field.boxes)
    by_kind = np.stack([allowed("normal", "sickle", "other"), allowed("wbc"), allowed("platelet")])
    may = by_kind[field.kinds] if n else np.zeros((0, 6), np.float32)
    weight = np.ones(n)
    if source.dataset == "txl_pbc":
        weight = np.where(field.kinds == 0, 0.25, 1.0)  # one white cell to some twelve red ones in a picture
        return field.boxes, may, np.full(n, STREAMS.index("txl")), weight
    # A teacher's white cells and platelets in another clinic's pictures may be dirt.
    may[field.kinds > 0, CLASSES.index("artefact")] = 1
    red = field.kinds == 0
    if source.dataset == "chula_rbc12":
        may[red] = allowed("normal", "other")
        _name_points(field, source, may, weight)
        return field.boxes, may, np.full(n, STREAMS.index("chula")), weight
    if source.dataset in SICKLE_FREE or source.label == "negative":
        may[red] = not_sickle()
        mimics = "chula" if source.label == "elliptocytosis" else "negative"
        return field.boxes, may, np.full(n, STREAMS.index(mimics)), weight
    boxed, cut = (
        red & holds(source.boxes[which] / field.zoom, centres(field.boxes)).any(0)
        for which in (~source.partial, source.partial)
    )
    boxed &= ~cut
    no = no & red & ~boxed & ~cut
    may[red & ~cut & ~perhaps] = perhaps_sickle("normal", "other")
    may[boxed], may[no] = allowed("sickle"), 1 - allowed("sickle")
    stream = np.select([boxed, no], [STREAMS.index("sickle"), STREAMS.index("negative")], STREAMS.index("unboxed"))
    return field.boxes, may, stream, np.where(no, DOUBTFUL_OFTEN, 1.0)


def _name_points(field: TrainingField, source: LabelledField, may: np.ndarray, weight: np.ndarray) -> None:
    """Give the red cells of `chula_rbc12` the class of the labelled point in them; rare mimics are drawn more often."""
    points = source.points[:, :2] / field.zoom
    inside = holds(field.boxes, points)
    for i in np.nonzero(inside.any(1) & (field.kinds == 0))[0]:
        apart = np.where(inside[i], np.hypot(*(points - centres(field.boxes[i : i + 1])).T), np.inf)
        cls = int(source.points[int(apart.argmin()), 2])
        if cls == CHULA_NORMAL:
            may[i] = allowed("normal")
        elif cls not in (*CHULA_SIZES, CHULA_UNCATEGORISED):
            may[i] = allowed("other")
        weight[i] = {0: 1.5, 6: 2.0, 7: 3.0, 8: 1.5, 9: 2.5, 12: 2.0}.get(cls, 1.0)


def _spots(field: TrainingField, rng: np.random.Generator, n: int) -> Floats:
    """Return boxes round random positions that are no cell's; every other one, where there is room, far from cells."""
    h, w = field.pixels.shape[:2]
    taken = np.zeros((h, w), np.uint8)
    for box in np.concatenate([field.boxes, field.ignore]):
        x0, y0, x1, y1 = (int(v) for v in box)
        cv2.rectangle(taken, (x0, y0), (x1, y1), 1, -1)
    free = np.flatnonzero(taken == 0)
    if not len(free):
        return np.zeros((0, 4), np.float32)
    roomy = np.flatnonzero(cv2.distanceTransform(1 - taken, cv2.DIST_L2, 3) > ROOM_PX)
    chosen = free[rng.integers(len(free), size=n)]
    if len(roomy):
        chosen[::2] = roomy[rng.integers(len(roomy), size=len(chosen[::2]))]
    y, x = np.divmod(chosen, w)
    return np.stack([x - 5, y - 5, x + 5, y + 5], 1).astype(np.float32)
