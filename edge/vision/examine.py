"""From a prepared field to its cells: detection, density and familiarity, for the device and for calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.config.model import Config
from edge.types import Cells, Field, Mask, Rejection
from edge.vision import quality
from edge.vision.classify import CellClassifier, LazyClassification
from edge.vision.detect import CellDetector
from edge.vision.timing import timed


@dataclass(frozen=True, slots=True)
class Examined:
    """The cells of a field that is to be counted.

    whole: bool (N,), those that are classified: no edge cuts them, or cut cells are kept. classes: of each cell, on
    request. flags: of the verdict.
    """

    cells: Cells
    whole: Mask
    classes: LazyClassification
    flags: tuple[str, ...] = ()


class FieldExaminer:
    """Finds the cells of a field, and refuses a field that cannot be counted.

    One that shows too few or too many, or none of a known kind.
    """

    def __init__(self, config: Config, detect: CellDetector, classify: CellClassifier) -> None:
        self._limits = config.quality
        self._keep_border = config.screening.keep_border
        self._detect, self._classify = detect, classify

    def __call__(self, field: Field, size_off_max: float, stage_ms: dict[str, float]) -> Examined | Rejection:
        """Find the cells of a field, or say why it is not to be counted.

        Args:
            field: a prepared field.
            size_off_max: by how many times its cells may be larger or smaller than usual.
            stage_ms: takes what each stage took.
        """
        limits, gate = self._limits, self._limits.gate
        with timed(stage_ms, "detect"):
            cells = self._detect(field)
            bad = (
                quality.density(field, cells, limits)
                or quality.cell_size(cells, size_off_max)
                or quality.certainty(cells, self._detect.red_cell_threshold)
            )
            if bad and gate:
                return bad

        with timed(stage_ms, "familiar"):
            whole = np.ones(len(cells), bool) if self._keep_border else ~cells.border
            classes = self._classify.lazily(field, cells)
            bad = classes.unfamiliar(whole)
            if bad and gate:
                return bad
        flags = () if quality.square(cells) else ("pixels_not_square",)
        return Examined(cells, whole, classes, flags)
