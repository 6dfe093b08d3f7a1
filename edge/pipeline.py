"""Frame → result: the main path, readable top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

import numpy as np

from edge.config.model import Config
from edge.runtime.base import Network
from edge.runtime.registry import open_network
from edge.screening.cell_registry import CellRegistry
from edge.types import (
    CANONICAL_UM_PER_PX,
    KIND_UNKNOWN,
    Cells,
    Change,
    Field,
    FieldReading,
    Floats,
    Frame,
    Labels,
    Mask,
    Masked,
    Numbers,
    Placement,
    Rejection,
    Scale,
    unread,
)
from edge.vision import quality
from edge.vision.classify import CellClassifier
from edge.vision.detect import CellDetector
from edge.vision.examine import Examined, FieldExaminer
from edge.vision.prepare import FieldPreparer, Prepared, canonical_field
from edge.vision.registration.registrar import Registrar
from edge.vision.stationary.dirt import StationaryDirt
from edge.vision.timing import timed


class Pipeline:
    """Reads frames with the configured networks. One thread uses it.

    A context manager that owns the networks.
    """

    def __init__(
        self,
        config: Config,
        networks: tuple[Network, Network] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """networks: detector and classifier to read with in place of the configured files, as in evaluation.

        progress: told in words while an engine is built, which takes minutes the first time.
        """
        self.config = config
        self.detector, self.classifier = networks or _opened(config, progress)
        self._classify = CellClassifier(self.classifier)
        self._prepare = FieldPreparer(config, self.detector)
        self._examine = FieldExaminer(config, CellDetector(self.detector), self._classify)
        self._rule = self._classify.rule
        # Their memory is taken once, and holds one sample after the other: taken anew for each, it would scatter.
        self._registrar, self._registry, self._dirt = Registrar(), CellRegistry(self._rule), StationaryDirt()
        self.new_sample()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detector.close()
        self.classifier.close()

    @property
    def known_um_per_px(self) -> float | None:
        """Size of a pixel as configured or calibrated, µm; None when it is estimated."""
        return self._prepare.known_um_per_px

    def new_sample(self, *, each_cell_once: bool = False) -> None:
        """Forget the locked scale and every place: the next frame begins another sample.

        each_cell_once: the frames to come are of one slide and may overlap: each is placed against those before it,
        and a cell that is seen again is known again. Else each frame counts by itself.
        """
        self._prepare.new_sample()
        self._each_cell_once = each_cell_once
        self._registrar.clear()
        self._registry.clear()
        self._dirt.clear()

    def hidden_part(self, frame: Frame) -> Mask | None:
        """Return bool (H, W): what dirt hides of such frames so far; None where nothing."""
        return self._dirt.hidden_part(frame)

    def read(self, frame: Frame) -> FieldReading:
        """Read a whole field.

        What is wrong with the picture comes back as the reading's rejection, not as an error.
        """
        prepared = self._prepare(frame)
        report = _Report(frame, prepared)
        field = prepared.outcome
        if isinstance(field, Rejection):
            return report.rejected(field)
        shown, field = field, self._dirt.hidden(field, frame)

        # Before the field is placed: one that is refused must leave no trace.
        examined = self._examine(field, prepared.size_off_max, prepared.stage_ms)
        if isinstance(examined, Rejection):
            held = prepared.scale is not None and prepared.scale.source == "locked"
            return (self._at_its_own_scale(frame) if held else None) or report.rejected(examined)
        if len(examined.cells) >= quality.SIZED_CELLS:
            self._prepare.agrees(frame)
        cells, whole, classes = examined.cells, examined.whole, examined.classes

        with timed(prepared.stage_ms, "place"):
            stage_um = None if frame.stage_px is None else complex(*frame.stage_px) * field.um_per_px
            placed = None
            if self._each_cell_once:
                placed = self._registrar.place(field, replace(cells, border=~whole), stage_um)
            if isinstance(placed, Rejection):
                return report.rejected(placed)

        with timed(prepared.stage_ms, "classify"):
            if placed is None:
                prob, label = self._rule.classified(classes.prob(whole))
                return report.read(field, examined, prob, label)
            dirt = self._dirt.update(frame, shown, placed, _in_frame(cells, field), whole)
            report.masked = self._dirt.masked()
            whole = whole & ~np.isin(placed.ids, dirt)
            examined = replace(examined, whole=whole)
            # A cell that was classified often enough is not again; of each the mean over all observations is given.
            new = whole & ~self._registry.known(placed)
            report.placement, report.ids = placed, placed.ids[whole]
            report.change = self._registry.update(placed, whole, new, classes.prob(new), dirt)
            prob, label = self._registry.calibrated_probabilities(placed.ids[whole])
            return report.read(field, examined, prob, label)

    def _at_its_own_scale(self, frame: Frame) -> FieldReading | None:
        """Read a field at the scale of its own cells, where the locked one is new and makes it unreadable."""
        locked = self._prepare.unlock(frame)
        if locked is None:
            return None
        reading = self.read(frame)
        if reading.rejected is not None:
            self._prepare.lock(frame, locked)
            return None
        return replace(reading, flags=tuple(sorted({*reading.flags, "scale_contradicted"})))

    def read_crop(self, frame: Frame) -> FieldReading:
        """Read a picture of one cell (`scan --cells`): the box is the whole picture."""
        stage_ms: dict[str, float] = {}
        bad = quality.size(frame.pixels.shape, self.config.quality)
        if bad:
            return _Report(frame, Prepared(bad, None, math.inf, frame.flags, stage_ms)).rejected(bad)
        with timed(stage_ms, "scale"):
            given = self.config.optics.um_per_px
            if given == "auto":
                # One cell shows no usual size to measure by: it is taken to fill its crop as our own crops are filled.
                given = self.classifier.contract.size * CANONICAL_UM_PER_PX / max(frame.pixels.shape[:2])
                scale = Scale(given, "estimated")
            else:
                scale = Scale(given, "configured")
            field = canonical_field(frame.pixels, None, (0, 0), scale)
        with timed(stage_ms, "classify"):
            h, w = field.pixels.shape[:2]
            box, kind = np.array([[0, 0, w, h]], np.float32), np.array([KIND_UNKNOWN], np.int8)
            cells = Cells(box, np.ones(1, np.float32), np.zeros(1, bool), kind)
            examined = Examined(cells, np.ones(1, bool), self._classify.lazily(field, cells))
            prob, label = self._rule.classified(examined.classes.prob(examined.whole))
            return _Report(frame, Prepared(field, scale, math.inf, frame.flags, stage_ms)).read(
                field, examined, prob, label
            )


def _opened(config: Config, progress: Callable[[str], None]) -> tuple[Network, Network]:
    detector = open_network("detector", config.models, config.device.state_dir, progress)
    try:
        return detector, open_network("classifier", config.models, config.device.state_dir, progress)
    except BaseException:
        detector.close()
        raise


def _in_frame(cells: Cells, field: Field) -> Floats:
    """Return the boxes (N, 4) of a field's cells in pixels of the frame."""
    origin = np.array([*field.origin, *field.origin], np.float32)
    return np.asarray(cells.boxes * np.float32(field.zoom) + origin, np.float32)


class _Report:
    """Gathers what is known of a frame on its way, so that each exit gives a whole reading."""

    def __init__(self, frame: Frame, prepared: Prepared) -> None:
        self._frame, self._prepared = frame, prepared
        self.placement: Placement | None = None
        self.change: Change | None = None
        self.ids: Numbers | None = None
        self.masked: Masked | None = None

    def rejected(self, rejection: Rejection) -> FieldReading:
        """Make the reading of a frame that is not read."""
        h, w = self._frame.pixels.shape[:2]
        prepared, nothing = self._prepared, unread(self._frame.name, self._frame.index, rejection)
        return replace(
            nothing, width=w, height=h, scale=prepared.scale, stage_ms=prepared.stage_ms, flags=prepared.flags
        )

    def read(self, field: Field, examined: Examined, prob: Floats, label: Labels) -> FieldReading:
        """Make the reading of a frame; prob (N, 6) and label (N,) are of its whole cells."""
        h, w = self._frame.pixels.shape[:2]
        cells, whole = examined.cells, examined.whole
        dirt = {"dirt"} if self.masked else set()
        return FieldReading(
            frame_index=self._frame.index,
            name=self._frame.name,
            width=w,
            height=h,
            scale=self._prepared.scale,
            rejected=None,
            boxes=_in_frame(cells, field)[whole],
            score=cells.score[whole],
            prob=prob,
            label=label,
            kind=cells.kind[whole],
            novelty=examined.classes.novelty[whole],
            border=int((~whole).sum()),
            area_mm2=field.area_mm2 * (self.placement.new_share if self.placement else 1.0),
            stage_ms=self._prepared.stage_ms,
            flags=tuple(sorted({*self._prepared.flags, *examined.flags, *dirt})),
            placement=self.placement,
            change=self.change,
            ids=self.ids,
            masked=self.masked,
        )
