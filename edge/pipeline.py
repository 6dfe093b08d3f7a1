"""Frame → result: the main path, readable top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    Numbers,
    Pixels,
    Placement,
    Reason,
    Rejection,
    Scale,
    unread,
)
from edge.vision import quality
from edge.vision.classify import CellClassifier, LazyClassification
from edge.vision.detect import CellDetector
from edge.vision.field_mask import visible_part
from edge.vision.flat_field import Optics
from edge.vision.prepare import bounded, canonical_field
from edge.vision.registration.registrar import Registrar
from edge.vision.scale import (
    CELLS_TO_ESTIMATE,
    CELLS_TO_LOCK,
    ScaleCheck,
    ScaleEstimator,
    canonical_shape,
)


class Pipeline:
    """Reads frames with the configured networks. One thread uses it; a context manager that owns the networks."""

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
        self.optics = Optics(config)
        self.detector, self.classifier = networks or _opened(config, progress)
        self._detect = CellDetector(self.detector)
        self._classify = CellClassifier(self.classifier)
        self._estimate = ScaleEstimator(self.detector)
        # Their memory is taken once, and holds one sample after the other: taken anew for each, it would scatter.
        self._registrar, self._registry = Registrar(), CellRegistry(self._classify.told)
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
        if self.config.optics.um_per_px != "auto":
            return self.config.optics.um_per_px
        return self.optics.scale.um_per_px if self.optics.scale is not None else None

    def new_sample(self, *, each_cell_once: bool = False) -> None:
        """Forget the locked scale and every place: the next frame begins another sample.

        each_cell_once: the frames to come are of one slide and may overlap: each is placed against those before it,
        and a cell that is seen again is known again. Else each frame counts by itself.
        """
        self._locked: Scale | None = None
        self._check = ScaleCheck(self._estimate)
        self._each_cell_once = each_cell_once
        self._registrar.clear()
        self._registry.clear()

    def read(self, frame: Frame) -> FieldReading:
        """Read a whole field; what is wrong with the picture comes back as the reading's rejection, not as an error."""
        limits, gate = self.config.quality, self.config.quality.gate
        report = _Report(frame, self.optics.flags_of(frame.pixels))

        with report.stage("quality"):
            bad = quality.size(frame.pixels.shape, limits)
            if bad:
                return report.rejected(bad)
            visible = visible_part(frame.pixels)
            bad = quality.exposure(frame.pixels, visible, limits)
            if bad and gate:
                return report.rejected(bad)

        with report.stage("optics"):  # after exposure, which asks what the sensor saw
            pixels = self.optics.corrected(frame.pixels)

        with report.stage("scale"):
            slide, visible, corner = bounded(pixels, visible)
            scale, cells_seen = self._scale(frame, slide)
            if scale is None and not cells_seen:
                return report.rejected(Rejection(Reason.EMPTY, 0.0, limits.cells_per_mm2_min))
            if scale is None:
                return report.rejected(Rejection(Reason.SCALE_UNKNOWN, float(cells_seen), float(CELLS_TO_ESTIMATE)))
            report.scale = scale
            bad = quality.size(canonical_shape(slide, scale.um_per_px), limits)
            if bad:
                return report.rejected(bad)
            field = canonical_field(slide, visible, corner, scale)

        with report.stage("sharpness"):
            bad = quality.sharpness(field, limits)
            if bad and gate:
                return report.rejected(bad)

        with report.stage("magnification"):  # after sharpness: blurred cells do not have their size
            set_beforehand = scale.source != "estimated" and scale is not self._locked
            bad = self._check(slide, scale.um_per_px) if gate and set_beforehand else None
            if bad:
                return report.rejected(bad)

        with report.stage("detect"):
            cells = self._detect(field)
            bad = quality.density(field, cells, limits)
            if bad and gate:
                return report.rejected(bad)

        with report.stage("familiar"):  # before the field is placed: one that is refused must leave no trace
            whole = np.ones(len(cells), bool) if self.config.screening.keep_border else ~cells.border
            looks = self._classify.looks(field, cells)
            bad = looks.unfamiliar(whole)
            if bad and gate:
                return report.rejected(bad)

        with report.stage("place"):
            stage_um = None if frame.stage_px is None else complex(*frame.stage_px) * scale.um_per_px
            placed = None
            if self._each_cell_once:
                placed = self._registrar.place(field, replace(cells, border=~whole), stage_um)
            if isinstance(placed, Rejection):
                return report.rejected(placed)

        with report.stage("classify"):
            if placed is None:
                return report.read(field, cells, whole, *self._classify.told(looks.prob(whole)), looks.novelty)
            report.placement, report.ids = placed, placed.ids[whole]
            chance, label, report.change = self._once(looks, whole, placed)
            return report.read(field, cells, whole, chance, label, looks.novelty)

    def _once(self, looks: LazyClassification, whole: Mask, placed: Placement) -> tuple[Floats, Labels, Change]:
        """Classify the whole cells that are not known yet; of every cell is told what all looks at it come to."""
        looked = whole & ~self._registry.known(placed)
        change = self._registry.update(placed, whole, looked, looks.prob(looked))
        return *self._registry.calibrated_probabilities(placed.ids[whole]), change

    def read_crop(self, frame: Frame) -> FieldReading:
        """Read a picture of one cell (`scan --cells`): the box is the whole picture."""
        report = _Report(frame)
        bad = quality.size(frame.pixels.shape, self.config.quality)
        if bad:
            return report.rejected(bad)
        with report.stage("scale"):
            given = self.config.optics.um_per_px
            if given == "auto":
                # One cell shows no usual size to measure by: it is taken to fill its crop as our own crops are filled.
                given = self.classifier.contract.size * CANONICAL_UM_PER_PX / max(frame.pixels.shape[:2])
                report.scale = Scale(given, "estimated")
            else:
                report.scale = Scale(given, "configured")
            field = canonical_field(frame.pixels, None, (0, 0), report.scale)
        with report.stage("classify"):
            h, w = field.pixels.shape[:2]
            box, unsaid = np.array([[0, 0, w, h]], np.float32), np.array([KIND_UNKNOWN], np.int8)
            cells = Cells(box, np.ones(1, np.float32), np.zeros(1, bool), unsaid)
            looks, whole = self._classify.looks(field, cells), np.ones(1, bool)
            return report.read(field, cells, whole, *self._classify.told(looks.prob(whole)), looks.novelty)

    def _scale(self, frame: Frame, slide: Pixels) -> tuple[Scale | None, int]:
        given = self.config.optics.um_per_px if frame.um_per_px is None else frame.um_per_px
        if given != "auto":
            return Scale(given, "configured"), 0
        known = self.optics.scale_of(frame.pixels) or self._locked
        if known is not None:
            return known, 0
        scale, cells_seen = self._estimate(slide, CELLS_TO_ESTIMATE, cut_too=True)
        if scale is not None and cells_seen >= CELLS_TO_LOCK:
            self._locked = Scale(scale.um_per_px, "locked", scale.spread)
        return scale, cells_seen


def _opened(config: Config, progress: Callable[[str], None]) -> tuple[Network, Network]:
    detector = open_network("detector", config.models, config.device.state_dir, progress)
    try:
        return detector, open_network("classifier", config.models, config.device.state_dir, progress)
    except BaseException:
        detector.close()
        raise


class _Report:
    """Gathers what is known of a frame on its way, so that each exit gives a whole reading."""

    def __init__(self, frame: Frame, flags: tuple[str, ...] = ()) -> None:
        self._frame = frame
        self._flags = flags
        self._stage_ms: dict[str, float] = {}
        self.scale: Scale | None = None
        self.placement: Placement | None = None
        self.change: Change | None = None
        self.ids: Numbers | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._stage_ms[name] = (time.perf_counter() - start) * 1e3

    def rejected(self, rejection: Rejection) -> FieldReading:
        """Make the reading of a frame that is not read."""
        h, w = self._frame.pixels.shape[:2]
        nothing = unread(self._frame.name, self._frame.index, rejection)
        return replace(nothing, width=w, height=h, scale=self.scale, stage_ms=self._stage_ms, flags=self._flags)

    def read(
        self, field: Field, cells: Cells, whole: Mask, prob: Floats, label: Labels, novelty: Floats
    ) -> FieldReading:
        """Make the reading of a frame whose cells `whole` were classified; novelty is that of all its cells."""
        h, w = self._frame.pixels.shape[:2]
        origin = np.array([*field.origin, *field.origin], np.float32)
        return FieldReading(
            frame_index=self._frame.index,
            name=self._frame.name,
            width=w,
            height=h,
            scale=self.scale,
            rejected=None,
            boxes=(cells.boxes[whole] * np.float32(field.zoom) + origin).astype(np.float32),
            score=cells.score[whole],
            prob=prob,
            label=label,
            kind=cells.kind[whole],
            novelty=novelty[whole],
            border=int((~whole).sum()),
            area_mm2=field.area_mm2 * (self.placement.new_share if self.placement else 1.0),
            stage_ms=self._stage_ms,
            flags=self._flags,
            placement=self.placement,
            change=self.change,
            ids=self.ids,
        )
