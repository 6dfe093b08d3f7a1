"""The frozen values that flow from the camera to the tally. Arrays are read-only for whoever receives them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int8]
Mask: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = NDArray[np.int64]
"""The numbers that registration gives the cells of a sample."""

CLASSES = ("normal", "sickle", "other", "wbc", "platelet", "artefact")
"""Order of the class probabilities everywhere. *sickle* is a crescent, or elongated with a pointed end."""

RED_CELLS = ("normal", "sickle", "other")
"""The classes that make the denominator of the sickle-like fraction."""

KINDS = ("rbc", "wbc", "platelet")
"""What the detector tells apart, in the order of its peaks."""

KIND_UNKNOWN = -1
"""Kind of a cell that no detector has seen."""

ABSTAINED = -1
"""Label of a cell whose class the classifier would not name."""

CANONICAL_UM_PER_PX = 0.25
"""The scale at which every network sees the slide: a red cell of 7.5 µm is 30 pixels wide."""

CELLS_KEPT = 1 << 17
"""Cells of one sample that are remembered, a hundred times its target; the memory of the oldest is then used again.
"""

ScaleSource: TypeAlias = Literal["configured", "calibrated", "estimated", "locked", "file"]
"""configured: in so many words. calibrated: with a stage micrometer. estimated: from the red cells of this field.
locked: from red cells too, of an earlier field or a calibration. file: stated by the picture's file, and not disputed
by its cells.
"""


class Reason(str, Enum):
    """Why a frame was not read. The value is the name on the wire."""

    UNREADABLE = "unreadable"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    UNDER_EXPOSED = "under_exposed"
    OVER_EXPOSED = "over_exposed"
    OUT_OF_FOCUS = "out_of_focus"
    MOTION = "motion"
    SCALE_UNKNOWN = "scale_unknown"
    EMPTY = "empty"
    CROWDED = "crowded"
    STACKED = "stacked"
    MAGNIFICATION = "magnification"
    UNFAMILIAR = "unfamiliar"
    NOT_PLACED = "not_placed"


class Exclusion(str, Enum):
    """Why a cell that was seen is in no class. The value is the name on the wire."""

    BORDER = "border"
    ABSTAINED = "abstained"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a camera or file: pixels uint8 (H, W, 3) RGB, read-only.

    stage_px: where a motorised stage says that the picture's middle lies on the slide, (x, y) in pixels of the picture,
    right and down, from wherever the stage counts; right to some µm, and good only against other frames.
    flags: names of the verdict's flags that the source raises.
    """

    pixels: Pixels
    index: int
    captured_at: datetime
    monotonic_s: float
    name: str = ""
    um_per_px: float | None = None
    stage_px: tuple[float, float] | None = None
    flags: tuple[str, ...] = ()
    um_per_px_source: Literal["configured", "file"] = "configured"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a frame was rejected: what was measured, and the limit it missed."""

    reason: Reason
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of a pixel of the given image, and where that is known from.

    `spread` is the relative interquartile range of the red-cell diameters behind an estimate, the relative standard
    uncertainty of a calibration, 0 when configured.
    """

    um_per_px: float
    source: ScaleSource
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Field:
    """A frame brought to the canonical scale.

    pixels: uint8 (h, w, 3) RGB at 0.25 µm/px. visible: bool (h, w), False outside the eyepiece's disc, or None when
    all of it can be seen. origin: position (x, y), in pixels of the given image, of the first pixel.
    zoom: pixels of the given image for one canonical pixel.
    """

    pixels: Pixels
    visible: Mask | None
    origin: tuple[float, float]
    zoom: float

    @property
    def um_per_px(self) -> float:
        """Size of a pixel of the given image, µm."""
        return CANONICAL_UM_PER_PX / self.zoom

    @property
    def area_mm2(self) -> float:
        """Area of slide that can be seen, in mm²."""
        n = self.pixels.shape[0] * self.pixels.shape[1] if self.visible is None else int(self.visible.sum())
        return n * (CANONICAL_UM_PER_PX / 1000.0) ** 2


@dataclass(frozen=True, slots=True)
class Cells:
    """What the detector found in a field.

    boxes: float32 (N, 4) as x0, y0, x1, y1 in canonical pixels; score: float32 (N,) in 0–1; border: bool (N,), True
    where the cell is cut by the edge of the image or of the eyepiece's disc; kind: int8 (N,), what the detector takes
    it for: an index into KINDS, or KIND_UNKNOWN.
    """

    boxes: Floats
    score: Floats
    border: Mask
    kind: Labels

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame lies on the slide, and which of its cells the sample has seen before.

    island: number of the part of the slide that is known to hang together; x_um, y_um: the frame's middle, turned_deg:
    its rotation, all in the island's own measure. evidence: −log10 of the probability of such a likeness by chance;
    None for the first frame of an island. ids: (N,) one number for each cell of the slide, in the detector's order.
    joined: pairs (kept, dropped) of numbers that proved to be one cell; a cell that is cut by the edge of a frame
    without news has none, but −1. numbered_before, found: numbers given before this frame, and by it. new_share: part
    of the frame's area that no other showed. islands: how many there are now. absent: (K,) numbers of
    cells that this frame does not show, though it shows their place; and each new cell as often as there are linked
    fields that did not show it.
    """

    island: int
    x_um: float
    y_um: float
    turned_deg: float
    evidence: float | None
    ids: Numbers
    joined: tuple[tuple[int, int], ...]
    numbered_before: int
    found: int
    new_share: float
    islands: int
    absent: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Change:
    """What a frame changed in its sample's counts, up or down.

    Cells by class and exclusion, cells seen, islands.

    numbers: (M,) the cells that it named, or named otherwise; prob float32 (M, 6), label int8 (M,): what they are
    now.
    gone: (K,) cells that count no longer, for most frames that show their place do not show them.
    """

    counts: dict[str, int]
    cells_seen: int
    islands: int
    numbers: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    prob: Floats = field(default_factory=lambda: np.zeros((0, len(CLASSES)), np.float32))
    label: Labels = field(default_factory=lambda: np.zeros(0, np.int8))
    gone: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Masked:
    """What of the frame is left out because dirt or a pointer stays there.

    share: of the frame, 0–1. where: in words, such as `upper left, middle`.
    """

    share: float
    where: str

    @property
    def in_words(self) -> str:
        """What is in the picture, where, and what to do."""
        return f"dirt or a pointer in the picture, {self.where}: clean the eyepiece or camera"

    def with_earlier(self, other: Masked | None) -> Masked:
        """Return this and what was masked earlier of the same sample."""
        if other is None:
            return self
        where = dict.fromkeys([*other.where.split(", "), *self.where.split(", ")])
        return Masked(max(self.share, other.share), ", ".join(where))


@dataclass(frozen=True, slots=True)
class FieldReading:
    """The whole result of one frame.

    boxes: float32 (N, 4) x0, y0, x1, y1 in pixels of the given image; score: float32 (N,) of the detector;
    prob: float32 (N, 6) in the order of CLASSES; label: int8 (N,) index into CLASSES, or ABSTAINED; kind: int8 (N,) as
    in Cells; novelty: float32 (N,), how far a cell lies from those of the training, NaN where nobody asked.
    Border cells are in none of these arrays; `border` counts them. A rejected frame has N = 0.
    flags: what is to be known of a result with this frame, by the names of the verdict's flags.
    area_mm2: slide that was read and that no frame of the sample showed before. placement, change: where the frame
    lies and what it adds to the sample, where its frames are placed; a cell that was seen before then has its mean
    probabilities, and ids (N,) are the numbers of the cells in the arrays. copy_of: name of the picture that shows the
    same and whose cells count in place of this one's. masked: what dirt hides of the frame.
    """

    frame_index: int
    name: str
    width: int
    height: int
    scale: Scale | None
    rejected: Rejection | None
    boxes: Floats
    score: Floats
    prob: Floats
    label: Labels
    kind: Labels
    novelty: Floats
    border: int
    area_mm2: float
    stage_ms: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    placement: Placement | None = None
    change: Change | None = None
    ids: Numbers | None = None
    copy_of: str | None = None
    masked: Masked | None = None

    def counts(self) -> dict[str, int]:
        """Return the frame's cells by class and by reason of exclusion.

        Their sum is every cell that was seen in it.
        """
        by_class = {name: int(np.count_nonzero(self.label == i)) for i, name in enumerate(CLASSES)}
        abstained = int(np.count_nonzero(self.label == ABSTAINED))
        return {**by_class, Exclusion.ABSTAINED.value: abstained, Exclusion.BORDER.value: self.border}


def unread(name: str, frame_index: int, rejection: Rejection) -> FieldReading:
    """Return the reading of what never became a picture: a file that could not be decoded."""
    none = np.zeros(0, np.float32)
    return FieldReading(
        frame_index=frame_index,
        name=name,
        width=0,
        height=0,
        scale=None,
        rejected=rejection,
        boxes=none.reshape(0, 4),
        score=none,
        prob=none.reshape(0, len(CLASSES)),
        label=np.zeros(0, np.int8),
        kind=np.zeros(0, np.int8),
        novelty=none,
        border=0,
        area_mm2=0.0,
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """What has been counted in a sample so far; made by the tally, which checks that it adds up.

    by_class: cells of each of CLASSES. excluded: cells seen but in no class, by Exclusion. rejected: frames by Reason.
    fields_repeated: of fields_read, copies of others and those that showed no cell for the first time. islands: parts
    of the slide that were read with no known overlap between them; 0 where frames are not placed.
    """

    by_class: dict[str, int]
    excluded: dict[str, int]
    rejected: dict[str, int]
    cells_seen: int
    fields_read: int
    area_mm2: float
    fields_repeated: int = 0
    islands: int = 0

    @property
    def red_cells(self) -> int:
        """Denominator of the sickle-like fraction: normal + sickle + other."""
        return sum(self.by_class[name] for name in RED_CELLS)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the counts say. Fractions are of red cells, 0–1.

    None where there is no red cell to divide by.

    low, high: Wilson 95 % interval, of sampling only. fraction_if_none, fraction_if_all: the fraction if no abstained
    cell were sickle, and if all were (abstained cells then join the denominator). above_blank: whether `low` is above
    the limit of blank; None where the model has no limit of blank or the count is insufficient. A `withheld` verdict
    has no fraction, interval or comparison; its flags and words say why.
    """

    status: Literal["insufficient", "reported", "withheld"]
    red_cells: int
    sickle: int
    fraction: float | None
    low: float | None
    high: float | None
    fraction_if_none: float | None
    fraction_if_all: float | None
    limit_of_blank: float | None
    above_blank: bool | None
    flags: tuple[str, ...]
    text: str
