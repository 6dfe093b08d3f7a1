"""Paths over the virtual slide, read by a perfect eye: the fields' true cells, with the errors of a good detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from edge.camera.virtual.layout import SlideSpec, View, VirtualCell
from edge.camera.virtual.specimen import Specimen, serpentine
from edge.screening.calls import CallRule
from edge.screening.cell_registry import CellRegistry
from edge.screening.tally import Tally
from edge.types import CLASSES, Cells, Change, Counts, Field, FieldReading, Floats, Placement, Rejection, Scale
from edge.vision.registration.registrar import Registrar


@dataclass(frozen=True, slots=True)
class Eye:
    """How well the detector sees.

    Share of cells missed, and the error of each side of a box, in canonical pixels.
    """

    missed: float = 0.02
    error_px: float = 1.0


def looked(truth: Sequence[VirtualCell], spec: SlideSpec, eye: Eye, rng: Generator) -> tuple[list[VirtualCell], Cells]:
    """Return the cells of a field that are found, and what the detector says of them."""
    found = [cell for cell in truth if rng.random() >= eye.missed]
    boxes = np.array([cell.box for cell in found]).reshape(-1, 4) + rng.normal(0, eye.error_px, (len(found), 4))
    sides = np.array([spec.width, spec.height, spec.width, spec.height])
    boxes = boxes.clip(0, sides)
    # Whole or cut is taken from the truth: no detector is to blame for what is measured here.
    border = np.array([not cell.fully_visible for cell in found], np.bool_)
    sure, red = np.ones(len(found), np.float32), np.zeros(len(found), np.int8)
    return found, Cells(boxes.astype(np.float32), sure, border, red)


def jittered(spec: SlideSpec, overlap: float, rng: Generator, turn_deg: float = 2.0) -> list[View]:
    """Return a path to and fro, each field some µm off, turned, and lighter or darker.

    A quarter is revisited.
    """
    path = [
        View(
            view.x_um + rng.normal(0, 2.0),
            view.y_um + rng.normal(0, 2.0),
            rng.uniform(-turn_deg, turn_deg),
            rng.uniform(0.7, 1.2),
        )
        for view in serpentine(spec, overlap)
    ]
    return path + [path[int(i)] for i in rng.integers(0, len(path), len(path) // 4)]


@dataclass
class Walk:
    """One sample read along a path.

    shown: the true cells that were found whole in a frame that was counted; change: what the last such frame changed.
    """

    spec: SlideSpec
    eye: Eye = Eye()
    registrar: Registrar = field(default_factory=Registrar)
    tally: Tally = field(default_factory=Tally)
    shown: dict[tuple[int, ...], str] = field(default_factory=dict)
    change: Change | None = None

    def __post_init__(self) -> None:
        self.registry = CellRegistry(CallRule(0.5, 0.5))
        self.specimen = Specimen(self.spec)
        height, width = self.spec.height, self.spec.width
        self.field = Field(np.broadcast_to(np.uint8(0), (height, width, 3)), None, (0.0, 0.0), 1.0)

    def read(self, view: View, rng: Generator, stage_um: complex | None = None) -> Placement | Rejection:
        """Read one frame."""
        found, cells = looked(self.specimen.truth(view), self.spec, self.eye, rng)
        return self.count(found, cells, stage_um)

    def count(
        self, found: Sequence[VirtualCell], cells: Cells, stage_um: complex | None = None
    ) -> Placement | Rejection:
        """Place a frame, of which a stage may say where it lies, and count its cells."""
        placed = self.registrar.place(self.field, cells, stage_um)
        rejected = placed if isinstance(placed, Rejection) else None
        none = np.zeros((0, len(CLASSES)), np.float32)
        change = None
        if isinstance(placed, Placement):
            wanted = ~cells.border & ~self.registry.known(placed)
            prob = np.array([sure_of(cell) for cell, ask in zip(found, wanted, strict=True) if ask], np.float32)
            change = self.registry.update(placed, ~cells.border, wanted, prob.reshape(-1, len(CLASSES)))
            self.change = change
            self.shown |= {cell.identity: cell.class_name for cell in found if cell.fully_visible}
        self.tally.add(
            FieldReading(
                frame_index=0, name="", width=self.spec.width, height=self.spec.height, scale=Scale(0.25, "configured"),
                rejected=rejected, boxes=none[:, :4], score=none[:, 0], prob=none, label=np.zeros(0, np.int8),
                kind=np.zeros(0, np.int8), novelty=none[:, 0], border=0, area_mm2=0.0,
                placement=placed if isinstance(placed, Placement) else None, change=change,
            )
        )  # fmt: skip
        return placed

    def counts(self) -> Counts:
        """Return what was counted."""
        return self.tally.counts()

    def true_by_class(self) -> Iterator[tuple[str, int]]:
        """Give how many cells of each class were truly shown whole."""
        names = list(self.shown.values())
        return ((name, names.count(name)) for name in CLASSES)


def sure_of(cell: VirtualCell) -> Floats:
    """Return the probabilities of a classifier that knows."""
    return np.array([0.95 if cell.class_name == name else 0.01 for name in CLASSES], np.float32)
