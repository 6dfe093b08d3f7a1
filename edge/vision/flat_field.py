"""Applies the optics calibration to frames: even light and grey glass in one multiplication, and the known pixel size.

Gains act on the camera's values as they are: where a camera applies a curve of its own (gamma), they hold for what
is about as bright as the glass.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import cv2
import numpy as np

from edge.config.model import Config
from edge.types import Floats, Pixels, Scale, ScaleSource
from edge.vision.optics_calibration import (
    Calibration,
    FlatField,
    Misfit,
    misfits,
    read_calibration,
    utc_now,
    wrong_size,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrameOptics:
    """What the calibration gives for frames of one size.

    flags: of the verdict. scale: size of a pixel, or None. gain: float32 (H, W, 3) to multiply by, or None.
    """

    flags: tuple[str, ...]
    scale: Scale | None
    gain: Floats | None

    def corrected(self, pixels: Pixels) -> Pixels:
        """Return the frame with even light and grey glass.

        Uint8 (H, W, 3), the given array where nothing is to do.
        """
        return pixels if self.gain is None else apply_gain(pixels, self.gain)


class Optics:
    """The configured calibration at work, if there is one.

    One that has expired is applied and flagged. A foreign one (of another camera, objective or size of frames) is
    flagged and not applied: it would spoil good fields. What is wrong is logged once, in words.
    """

    def __init__(self, config: Config) -> None:
        """Read the file that the configuration names; raises ConfigError."""
        path = config.optics.calibration
        self._calibration = None if path is None else read_calibration(path)
        found = misfits(self._calibration, config, utc_now()) if self._calibration else ()
        self._flags = {misfit.flag for misfit in found}
        self._told: set[Misfit] = set()
        self._tell(*found)
        applied = self._calibration if "calibration_foreign" not in self._flags else None
        self._gain = None if applied is None else gain_of(applied)
        self.scale = None if applied is None else _scale(applied)
        """Size of a pixel of the frames that were calibrated, or None; its spread is the relative uncertainty."""

    def _tell(self, *misfits: Misfit) -> None:
        for misfit in misfits:
            if misfit not in self._told:
                self._told.add(misfit)
                log.warning("optics calibration: %s", misfit.text)

    def of(self, pixels: Pixels) -> FrameOptics:
        """Return what of the calibration holds for a frame, uint8 (H, W, 3).

        Logs once why it does not.
        """
        h, w = pixels.shape[:2]
        misfit = wrong_size(self._calibration, w, h) if self._calibration else None
        if misfit is None:
            return FrameOptics(tuple(sorted(self._flags)), self.scale, self._gain)
        self._tell(misfit)
        return FrameOptics(tuple(sorted(self._flags | {misfit.flag})), None, None)


def apply_gain(pixels: Pixels, gain: Floats) -> Pixels:
    """Multiply uint8 (H, W, 3) by gains float32 (H, W, 3), rounded and kept within 0–255.

    The array is the caller's.
    """
    return np.asarray(cv2.multiply(pixels, gain, dtype=cv2.CV_8U), np.uint8)


def gain_of(calibration: Calibration) -> Floats | None:
    """Return what to multiply frames by, float32 (H, W, 3).

    None without a flat field and white balance.
    """
    flat, white, camera = calibration.flat_field, calibration.white_balance, calibration.camera
    if flat is None and white is None:
        return None
    gain = np.ones((camera.height, camera.width, 3), np.float32)
    if flat is not None:
        gain *= flat_gain(flat, camera.width, camera.height)
    if white is not None:
        gain *= np.array(white.gain, np.float32)
    return gain


def flat_gain(flat: FlatField, width: int, height: int) -> Floats:
    """Return the grid of a flat field at full size, float32 (height, width, 3)."""
    grid = np.array(flat.gain, np.float32)
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _scale(calibration: Calibration) -> Scale | None:
    size = calibration.pixel_size
    if size is None:
        return None
    # Found from red cells it is an estimate that is held, and the verdict is to say so.
    source: ScaleSource = "calibrated" if size.method == "micrometer" else "locked"
    return Scale(size.um_per_px, source, size.uncertainty_um / size.um_per_px)
