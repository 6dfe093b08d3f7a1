"""Pictures brought to the canonical scale by the device's own stages, as its networks would see them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.camera.base import RejectedInputError
from edge.camera.image_files import read_image
from edge.config.model import QualityConfig
from edge.runtime.base import Network
from edge.types import Cells, Field, Mask, Pixels, Scale
from edge.vision import quality
from edge.vision.detect import CellDetector
from edge.vision.field_mask import visible_part
from edge.vision.prepare import bounded, canonical_field
from edge.vision.scale import CELLS_TO_ESTIMATE, ScaleEstimator, canonical_shape

LIMITS = QualityConfig()


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a picture before any network: enough to choose by.

    colour: mean red, green and blue of the slide, 0–255. focus: fine edges against coarse, as the device measures it.
    """

    path: Path
    sha256: str
    slide: str
    colour: tuple[float, float, float]
    focus: float


def looked_at(path: Path, slide: str) -> Look | str:
    """Look at a file; returns why it is no use instead, where it is none."""
    try:
        pixels = read_image(path, LIMITS.megapixels_max)
    except RejectedInputError as error:
        return error.rejection.reason.value
    rejection = quality.size(pixels.shape, LIMITS)
    if rejection is not None:
        return rejection.reason.value
    slide_pixels, visible, _ = bounded(pixels, visible_part(pixels))
    dark = quality.exposure(slide_pixels, visible, LIMITS)
    if dark is not None:
        return dark.reason.value
    step = max(1, max(slide_pixels.shape[:2]) // quality.SAMPLES)
    thin = slide_pixels[::step, ::step]
    seen = thin.reshape(-1, 3) if visible is None else thin[visible[::step, ::step]]
    red, green, blue = seen.mean(0).tolist()
    _, focus, _ = quality.edges(Field(slide_pixels, visible, (0.0, 0.0), 1.0))
    return Look(path, digest(path), slide, (red, green, blue), focus)


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Stages:
    """The stages before the networks, and the detector, one picture at a time."""

    def __init__(self, detector: Network, um_per_px: float | None = None) -> None:
        """um_per_px: size of a pixel, µm, where it is known; else it is estimated for each picture."""
        self._estimate = ScaleEstimator(detector)
        self._detect = CellDetector(detector)
        self._um_per_px = um_per_px

    def field(self, path: Path, gate: bool = True, um_per_px: float | None = None) -> Field | str:
        """Return a picture at the canonical scale, or why the device would not read it; gate as in the configuration.

        um_per_px: of this picture, where it is known.
        Raises RejectedInputError when the file cannot be read.
        """
        pixels = read_image(path, LIMITS.megapixels_max)
        visible = visible_part(pixels)
        slide, visible, corner = bounded(pixels, visible)
        scale = self._scale(slide, um_per_px or self._um_per_px)
        if scale is None:
            return "scale_unknown"
        rejection = quality.size(canonical_shape(slide, scale.um_per_px), LIMITS)
        if rejection is None:
            field = canonical_field(slide, visible, corner, scale)
            rejection = quality.sharpness(field, LIMITS) if gate else None
        return field if rejection is None else rejection.reason.value

    def cells(self, field: Field) -> Cells:
        """Find the cells of a field."""
        return self._detect(field)

    def _scale(self, slide: Pixels, um_per_px: float | None) -> Scale | None:
        if um_per_px is not None:
            return Scale(um_per_px, "configured")
        scale, _ = self._estimate(slide, CELLS_TO_ESTIMATE)
        return scale


def whole(cells: Cells) -> Mask:
    """Return bool (N,): the cells that no edge cuts."""
    return np.asarray(~cells.border)
