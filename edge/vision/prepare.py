"""From a frame to a field at the canonical scale: everything before detection, for the device and for calibration."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from edge.config.model import Config, QualityConfig
from edge.runtime.base import Network
from edge.types import CANONICAL_UM_PER_PX, Field, Frame, Mask, Pixels, Reason, Rejection, Scale
from edge.vision import quality
from edge.vision.field_mask import visible_part
from edge.vision.flat_field import FrameOptics, Optics
from edge.vision.halves import one_half
from edge.vision.overlay import drawn_over
from edge.vision.scale import (
    CELLS_TO_ESTIMATE,
    CELLS_TO_LOCK,
    CONTRAST_MIN,
    LOCK_SURE,
    OFF_MAX,
    SAMPLE_OFF_MAX,
    ScaleEstimator,
    canonical_shape,
    contrast_of,
    to_canonical,
)
from edge.vision.scale_check import ScaleCheck
from edge.vision.surroundings import field_part
from edge.vision.timing import timed

SIZE_STEP = 1.1
"""Frames whose sides lie in one step of this factor share the check of their magnification.

Pictures cut by hand all differ a little in size. What was made smaller by so little has cells well within OFF_MAX.
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame as far as it came.

    outcome: the field to detect cells in, or why there is none. scale: None where it is not known. size_off_max: by
    how many times its cells may be larger or smaller than usual. flags: of the verdict. stage_ms: what each stage took.
    """

    outcome: Field | Rejection
    scale: Scale | None
    size_off_max: float
    flags: tuple[str, ...]
    stage_ms: dict[str, float]


class FieldPreparer:
    """Light, crop, optics, scale, sharpness, magnification, in this order.

    Remembers the scale of a sample.
    """

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
        self._locked: dict[tuple[int, ...], Scale] = {}
        self._agreeing: dict[tuple[int, ...], int] = {}
        self._first_size: tuple[int, ...] | None = None
        self._checks: defaultdict[tuple[int, ...], ScaleCheck] = defaultdict(lambda: ScaleCheck(self._estimate))

    def __call__(self, frame: Frame) -> Prepared:
        """Bring a frame to the canonical scale, or say why it is not to be read."""
        optics = self.optics.of(frame.pixels)
        stage_ms: dict[str, float] = {}
        flags = {*optics.flags, *frame.flags}
        outcome, scale = self._prepared(frame, optics, stage_ms, flags)
        if _states_file_scale(frame) and scale is not None and scale.source in ("estimated", "locked"):
            flags.add("file_scale_disagrees")
        return Prepared(outcome, scale, self._size_off_max(scale), tuple(sorted(flags)), stage_ms)

    def agrees(self, frame: Frame) -> None:
        """Take note that a field's cells have the size that the locked scale gives them."""
        self._agreeing[frame.pixels.shape] = self._agreeing.get(frame.pixels.shape, -1) + 1

    def unlock(self, frame: Frame) -> Scale | None:
        """Forget and return the locked scale of such frames, unless LOCK_SURE fields bore it out."""
        if self._agreeing.get(frame.pixels.shape, 0) >= LOCK_SURE:
            return None
        self._agreeing.pop(frame.pixels.shape, None)
        return self._locked.pop(frame.pixels.shape, None)

    def lock(self, frame: Frame, scale: Scale) -> None:
        """Hold a scale for frames of this size."""
        self._locked[frame.pixels.shape], self._agreeing[frame.pixels.shape] = scale, 0

    def _size_off_max(self, scale: Scale | None) -> float:
        """Return by how many times cells may differ from the usual size at a scale."""
        if scale is None or scale.source == "estimated":
            return math.inf
        return SAMPLE_OFF_MAX if scale in self._locked.values() else OFF_MAX

    def _prepared(
        self, frame: Frame, optics: FrameOptics, stage_ms: dict[str, float], flags: set[str]
    ) -> tuple[Field | Rejection, Scale | None]:
        limits, gate = self._limits, self._limits.gate
        with timed(stage_ms, "quality"):
            part = slide_part(frame.pixels, limits)
            if isinstance(part, Rejection):
                return part, None
            flags.update(part.flags)

        with timed(stage_ms, "optics"):  # after exposure, which asks what the sensor saw
            pixels = optics.corrected(frame.pixels)

        with timed(stage_ms, "scale"):
            slide, visible, corner = cropped(pixels, part.visible)
            if self._other_size(frame):
                flags.add("scale_changed")
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
            set_beforehand = scale.source not in ("estimated", "file") and scale not in self._locked.values()
            bad = self._checks[_size_class(frame)](slide, scale.um_per_px) if gate and set_beforehand else None
            if bad:
                return bad, scale
        return field, scale

    def _other_size(self, frame: Frame) -> bool:
        """Whether a frame has another size than the sample's first, and does not say what its pixels are.

        Another size is other optics, or a picture that was made smaller: its scale is its own.
        """
        self._first_size = self._first_size or frame.pixels.shape
        return frame.pixels.shape != self._first_size and frame.um_per_px is None

    def _scale(self, frame: Frame, optics: FrameOptics, slide: Pixels) -> Scale | Rejection:
        """Return the scale that is set, else the sample's, else that which the red cells show."""
        given = self._um_per_px if frame.um_per_px is None or _states_file_scale(frame) else frame.um_per_px
        if given != "auto":
            return Scale(given, "configured")
        if optics.scale is None and (stated := self._stated(frame, slide)) is not None:
            return stated
        known = optics.scale or self._locked.get(frame.pixels.shape)
        if known is not None:
            return known
        scale, cells_seen = self._estimate(slide, CELLS_TO_ESTIMATE, cut_too=True)
        if scale is None and contrast_of(slide) >= CONTRAST_MIN and quality.colour(slide) < quality.COLOUR_MIN:
            return Rejection(Reason.UNFAMILIAR, quality.colour(slide), quality.COLOUR_MIN)
        if scale is None and not cells_seen:
            return Rejection(Reason.EMPTY, 0.0, self._limits.cells_per_mm2_min)
        if scale is None:
            return Rejection(Reason.SCALE_UNKNOWN, float(cells_seen), float(CELLS_TO_ESTIMATE))
        if cells_seen >= CELLS_TO_LOCK:
            self._locked[frame.pixels.shape] = Scale(scale.um_per_px, "locked", scale.spread)
        return scale

    def _stated(self, frame: Frame, slide: Pixels) -> Scale | None:
        """Return the scale that the frame's file states, None where it states none or the red cells dispute it."""
        if frame.um_per_px is None or not _states_file_scale(frame):
            return None
        shown, _ = self._estimate(slide, CELLS_TO_ESTIMATE)
        if shown is not None and not 1 / OFF_MAX <= shown.um_per_px / frame.um_per_px <= OFF_MAX:
            return None
        return Scale(frame.um_per_px, "file")


def _size_class(frame: Frame) -> tuple[int, ...]:
    """Return the sides of a frame, lying or upright, in steps of SIZE_STEP."""
    return tuple(round(math.log(side, SIZE_STEP)) for side in sorted(frame.pixels.shape[:2]))


def _states_file_scale(frame: Frame) -> bool:
    return frame.um_per_px is not None and frame.um_per_px_source == "file"


@dataclass(frozen=True, slots=True)
class SlidePart:
    """Where a picture shows the slide: bool (H, W), or None for all of it.

    And the verdict's flags that this raises.
    """

    visible: Mask | None
    flags: tuple[str, ...] = ()


def slide_part(pixels: Pixels, limits: QualityConfig) -> SlidePart | Rejection:
    """Find where a picture shows the slide, or why its size or light forbids to read it.

    Args:
        pixels: uint8 (H, W, 3) as the sensor gave it.
        limits: of size and, where its gate is on, of light.
    """
    bad = quality.size(pixels.shape, limits)
    if bad:
        return bad
    visible = visible_part(pixels)
    drawn = field_part(pixels) if visible is None else None
    half = one_half(pixels, drawn if visible is None else visible)
    if drawn is not None or half is not None:
        flags: tuple[str, ...] = ("surroundings",)  # whose edges are drawn lines too
    else:
        flags = ("drawn_over",) if drawn_over(pixels, visible) else ()
    masks = [mask for mask in (visible, drawn, half) if mask is not None]
    part = SlidePart(reduce(np.logical_and, masks) if masks else None, flags)  # one mask is not copied
    bad = quality.exposure(pixels, part.visible, limits)
    return bad if bad and limits.gate else part


def cropped(pixels: Pixels, visible: Mask | None) -> tuple[Pixels, Mask | None, tuple[int, int]]:
    """Cut picture and mask to the box round what can be seen.

    Returns them and the (x, y) of the box's corner.
    """
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
