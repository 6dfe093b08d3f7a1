"""From a frame to a field at the canonical scale: everything before detection, for the device and for calibration."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.config.model import Config, QualityConfig
from edge.runtime.base import Network
from edge.types import CANONICAL_UM_PER_PX, Field, Frame, Mask, Pixels, Reason, Rejection, Scale
from edge.vision import quality
from edge.vision.field_mask import visible_part
from edge.vision.flat_field import FrameOptics, Optics
from edge.vision.scale import (
    CELLS_TO_ESTIMATE,
    CELLS_TO_LOCK,
    ScaleCheck,
    ScaleEstimator,
    canonical_shape,
    to_canonical,
)
from edge.vision.timing import timed


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame as far as it came.

    outcome: the field to detect cells in, or why there is none. scale: None where it is not known. flags: of the
    verdict, raised by the frame's optics. stage_ms: what each stage took.
    """

    outcome: Field | Rejection
    scale: Scale | None
    flags: tuple[str, ...]
    stage_ms: dict[str, float]


class FieldPreparer:
    """Light, crop, optics, scale, sharpness, magnification, in this order; remembers the scale of a sample."""

    def __init__(self, config: Config, detector: Network) -> None:
        """Read the optics calibration that the configuration names; raises ConfigError."""
        self._limits = config.quality
        self._um_per_px = config.optics.um_per_px
        self.optics = Optics(config)
        self._estimate = ScaleEstimator(detector)
        self.new_sample()

    @property
    def known_um_per_px(self) -> float | None:
        """Size of a pixel as configured or calibrated, µm; None when it is estimated."""
        if self._um_per_px != "auto":
            return self._um_per_px
        return self.optics.scale.um_per_px if self.optics.scale is not None else None

    def new_sample(self) -> None:
        """Forget the locked scale: the next frame begins another sample."""
        self._locked: Scale | None = None
        self._check = ScaleCheck(self._estimate)

    def __call__(self, frame: Frame) -> Prepared:
        """Bring a frame to the canonical scale, or say why it is not to be read."""
        optics = self.optics.of(frame.pixels)
        stage_ms: dict[str, float] = {}
        outcome, scale = self._prepared(frame, optics, stage_ms)
        return Prepared(outcome, scale, optics.flags, stage_ms)

    def _prepared(
        self, frame: Frame, optics: FrameOptics, stage_ms: dict[str, float]
    ) -> tuple[Field | Rejection, Scale | None]:
        limits, gate = self._limits, self._limits.gate
        with timed(stage_ms, "quality"):
            visible = visible_slide(frame.pixels, limits)
            if isinstance(visible, Rejection):
                return visible, None

        with timed(stage_ms, "optics"):  # after exposure, which asks what the sensor saw
            pixels = optics.corrected(frame.pixels)

        with timed(stage_ms, "scale"):
            slide, visible, corner = cropped(pixels, visible)
            scale = self._scale(frame, optics, slide)
            if isinstance(scale, Rejection):
                return scale, None
            bad = quality.size(canonical_shape(slide, scale.um_per_px), limits)
            if bad:
                return bad, scale
            field = canonical_field(slide, visible, corner, scale)

        with timed(stage_ms, "sharpness"):
            bad = quality.sharpness(field, limits)
            if bad and gate:
                return bad, scale

        with timed(stage_ms, "magnification"):  # after sharpness: blurred cells do not have their size
            set_beforehand = scale.source != "estimated" and scale is not self._locked
            bad = self._check(slide, scale.um_per_px) if gate and set_beforehand else None
            if bad:
                return bad, scale
        return field, scale

    def _scale(self, frame: Frame, optics: FrameOptics, slide: Pixels) -> Scale | Rejection:
        """Return the scale that is set, else the sample's, else that which the red cells show."""
        given = self._um_per_px if frame.um_per_px is None else frame.um_per_px
        if given != "auto":
            return Scale(given, "configured")
        known = optics.scale or self._locked
        if known is not None:
            return known
        scale, cells_seen = self._estimate(slide, CELLS_TO_ESTIMATE, cut_too=True)
        if scale is None and not cells_seen:
            return Rejection(Reason.EMPTY, 0.0, self._limits.cells_per_mm2_min)
        if scale is None:
            return Rejection(Reason.SCALE_UNKNOWN, float(cells_seen), float(CELLS_TO_ESTIMATE))
        if cells_seen >= CELLS_TO_LOCK:
            self._locked = Scale(scale.um_per_px, "locked", scale.spread)
        return scale


def visible_slide(pixels: Pixels, limits: QualityConfig) -> Mask | Rejection | None:
    """Return where a picture shows the slide, None for all of it, or why its size or light forbids to read it.

    Args:
        pixels: uint8 (H, W, 3) as the sensor gave it.
        limits: of size and, where its gate is on, of light.

    Returns:
        bool (H, W), None, or the rejection.
    """
    bad = quality.size(pixels.shape, limits)
    if bad:
        return bad
    visible = visible_part(pixels)
    bad = quality.exposure(pixels, visible, limits)
    return bad if bad and limits.gate else visible


def cropped(pixels: Pixels, visible: Mask | None) -> tuple[Pixels, Mask | None, tuple[int, int]]:
    """Cut picture and mask to the box round what can be seen; returns them and the (x, y) of the box's corner."""
    if visible is None:
        return pixels, None, (0, 0)
    x, y, w, h = cv2.boundingRect(visible.astype(np.uint8))
    return pixels[y : y + h, x : x + w], visible[y : y + h, x : x + w], (x, y)


def canonical_field(slide: Pixels, visible: Mask | None, corner: tuple[int, int], scale: Scale) -> Field:
    """Bring the seen part of a frame to the canonical scale."""
    pixels = to_canonical(slide, scale.um_per_px)
    h, w = pixels.shape[:2]
    mask = None
    if visible is not None:
        mask = cv2.resize(visible.view(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST).view(np.bool_)
    return Field(pixels, mask, (float(corner[0]), float(corner[1])), CANONICAL_UM_PER_PX / scale.um_per_px)
