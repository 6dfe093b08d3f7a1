"""Size of a pixel from a picture of a stage micrometer: parallel lines of known spacing, turned by any angle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.types import Floats, Pixels
from edge.vision.field_mask import visible_part
from edge.vision.optics_calibration import PixelSize, utc_now

WORKING_PX = 1400
"""Longest side of the picture in which lines are looked for; it tells spacings to 0.1 %."""

LINES_MIN = 4
"""Fewer lines than this might be scratches."""

PITCH_MIN_PX = 4.0
"""Lines nearer to each other run into one."""

PERIODIC_MIN = 0.3
"""Correlation of the lines' profile with itself one line on; a smear or bare glass has less."""

CONTRAST_MIN = 0.004
"""Standard deviation of the profile across the lines, as a part of the light, below which there is nothing to see."""

MISPLACED_MAX = 0.02
"""Standard deviation, in spacings, of the lines from where even spacing has them; more are no lines of a ruler."""

MISSING_MAX = 0.25
"""Share of the lines, between the first and the last, that may be hidden by dirt or a number."""

AGREE = 0.02
"""Pictures of a micrometer whose spacings are farther apart are not of one magnification."""

REMEDY = f"Bring {LINES_MIN} or more lines of the stage micrometer into view and into focus, and hold it still"

Profile = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lines:
    """Evenly spaced lines in a picture, all in pixels of the given image.

    spacing_px: distance of two lines; uncertainty_px: its standard uncertainty. angle_deg: direction across the lines,
    from x towards y. centre: the point (x, y) from which `offsets_px` are measured along that direction.
    """

    spacing_px: float
    uncertainty_px: float
    angle_deg: float
    centre: tuple[float, float]
    offsets_px: tuple[float, ...]


def find_lines(pixels: Pixels) -> Lines:
    """Find the lines of a stage micrometer in uint8 (H, W, 3).

    The strongest frequency of the picture (2-D Fourier transform) gives the direction, sharpened where the mean across
    the lines varies most; the autocorrelation of that profile gives the spacing, and a straight line through the
    lines' places against their numbers refines it. Raises InputError with the reason when there are no such lines.
    """
    ratio = min(1.0, WORKING_PX / max(pixels.shape[:2]))
    flat = _flattened(pixels, ratio)
    angle = _direction(flat)
    profile, middle = _profile(flat, angle)
    if profile.std() < CONTRAST_MIN:
        raise InputError(
            f"there is no structure: contrast {profile.std():.2%} across; expected {CONTRAST_MIN:.1%}. {REMEDY}"
        )
    places, spacing, uncertainty = _fitted(profile)
    h, w = flat.shape
    return Lines(
        spacing / ratio,
        uncertainty / ratio,
        angle,
        ((w - 1) / 2 / ratio, (h - 1) / 2 / ratio),
        tuple(float(place - middle) / ratio for place in places),
    )


def size_of_lines(lines: Sequence[Lines], division_um: float) -> PixelSize:
    """Return the size of a pixel from lines that are division_um apart on the slide.

    Raises:
        InputError: The pictures disagree, or no microscope has such pixels.
    """
    sizes = np.array([division_um / one.spacing_px for one in lines])
    apart = float(np.ptp(sizes) / sizes.mean())
    if apart > AGREE:
        raise InputError(
            f"the pictures disagree: {sizes.min():.4g} to {sizes.max():.4g} µm per pixel; at most {AGREE:.0%} apart is "
            "allowed. Give pictures of one magnification"
        )
    um_per_px = float(sizes.mean())
    if not 0.02 <= um_per_px <= 2.0:
        raise InputError(
            f"{um_per_px:.4g} µm per pixel cannot be read; expected 0.02 to 2. Is the distance of the lines right?"
        )
    relative = float(np.hypot(max(one.uncertainty_px / one.spacing_px for one in lines), sizes.std() / um_per_px))
    return PixelSize(
        made_at=utc_now(),
        method="micrometer",
        um_per_px=um_per_px,
        uncertainty_um=um_per_px * relative,
        frames=len(lines),
    )


def _flattened(pixels: Pixels, ratio: float) -> Floats:
    """Return the picture relative to its surroundings, float32 (h, w), 0 where it is as bright as they are."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    size = max(1, round(grey.shape[1] * ratio)), max(1, round(grey.shape[0] * ratio))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    visible = visible_part(pixels)
    seen = np.ones_like(small)
    if visible is not None:
        seen = cv2.resize(visible.view(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(np.float32)
    sigma = max(small.shape) / 12
    around = cv2.GaussianBlur(small * seen, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(seen, (0, 0), sigma), 1e-3)
    return np.asarray((small / np.maximum(around, 1.0) - 1) * seen, np.float32)


def _direction(flat: Floats) -> float:
    """Return the direction across the lines in degrees, 0–180: that of the strongest frequency, then sharpened."""
    h, w = flat.shape
    window = np.outer(np.hanning(h), np.hanning(w)).astype(np.float32)
    power = np.abs(np.fft.rfft2(flat * window)) ** 2
    fy, fx = np.meshgrid(np.fft.fftfreq(h), np.fft.rfftfreq(w), indexing="ij")
    radius = np.hypot(fx, fy)
    power[(radius < 3 / min(h, w)) | (radius > 1 / PITCH_MIN_PX)] = 0
    row, column = np.unravel_index(int(power.argmax()), power.shape)
    angle = float(np.degrees(np.arctan2(fy[row, column], fx[row, column])))
    # One step of the transform's grid is this much of an angle: the true direction lies within it.
    reach = float(np.degrees(1.0 / max(1e-6, radius[row, column] * min(h, w))))
    for _ in range(2):
        angles = np.linspace(angle - reach, angle + reach, 13)
        angle = float(angles[int(np.argmax([_profile(flat, one)[0].var() for one in angles]))])
        reach /= 6
    return angle % 180.0


def _profile(flat: Floats, angle_deg: float) -> tuple[Profile, float]:
    """Return the mean across the direction, for each pixel along it, and the place of the picture's centre in it."""
    h, w = flat.shape
    side = int(np.ceil(np.hypot(h, w)))
    turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), angle_deg, 1.0)
    turn[:, 2] += ((side - w) / 2, (side - h) / 2)
    inside = cv2.warpAffine(np.ones_like(flat), turn, (side, side)).sum(axis=0, dtype=np.float64)
    total = cv2.warpAffine(flat, turn, (side, side)).sum(axis=0, dtype=np.float64)
    long_enough = np.flatnonzero(inside >= 0.25 * inside.max())  # a short column is mostly noise
    first, last = int(long_enough[0]), int(long_enough[-1]) + 1
    return total[first:last] / inside[first:last], (side - 1) / 2 - first


def _fitted(profile: Profile) -> tuple[Profile, float, float]:
    """Return the places of the lines, their spacing and its standard uncertainty, in pixels of the profile."""
    spacing = _period(profile)
    places = _places(profile, spacing)
    if len(places) < LINES_MIN:
        raise InputError(f"{len(places)} lines were found; expected at least {LINES_MIN} with even spacing. {REMEDY}")
    number = np.concatenate([[0.0], np.cumsum(np.round(np.diff(places) / spacing))])  # from line to line: no drift
    for _ in range(3):
        spacing, start = np.polyfit(number, places, 1)
        number = np.round((places - start) / spacing)
    off = places - (start + number * spacing)
    keep = np.abs(off) <= max(3 * 1.4826 * float(np.median(np.abs(off))), 0.02 * spacing)
    places, number = places[keep], number[keep]
    if len(np.unique(number)) < max(LINES_MIN, (1 - MISSING_MAX) * (number.max() - number.min() + 1)):
        raise InputError(
            f"the lines are not evenly spaced: {len(places)} of {int(np.ptp(number)) + 1} are in place. {REMEDY}"
        )
    spacing, start = np.polyfit(number, places, 1)
    off = places - (start + number * spacing)
    scatter = float(np.sqrt((off**2).sum() / (len(off) - 2)))
    if scatter > MISPLACED_MAX * spacing:
        raise InputError(
            f"the lines are not evenly spaced: they lie {scatter / spacing:.0%} of a spacing off; "
            f"at most {MISPLACED_MAX:.0%} is allowed. {REMEDY}"
        )
    return places, float(spacing), scatter / float(np.sqrt(((number - number.mean()) ** 2).sum()))


def _period(profile: Profile) -> float:
    """Return the smallest lag at which the profile looks like itself; raises InputError when there is none."""
    n = len(profile)
    centred = profile - cv2.GaussianBlur(profile[None], (0, 0), n / 10)[0]
    spectrum = np.fft.rfft(centred, 2 * n)
    alike = np.fft.irfft(np.abs(spectrum) ** 2)[: n // 2] / np.arange(n, n - n // 2, -1)
    alike = alike / max(alike[0], 1e-12)
    crossed = int(np.argmax(alike < 0)) if (alike < 0).any() else len(alike)
    lags = np.arange(1, len(alike) - 1)
    peaks = lags[(alike[1:-1] >= alike[:-2]) & (alike[1:-1] > alike[2:]) & (lags > crossed)]
    if not len(peaks) or alike[peaks].max() < PERIODIC_MIN:
        found = float(alike[peaks].max()) if len(peaks) else 0.0
        raise InputError(
            f"nothing repeats evenly in any direction (correlation {found:.2f}; a ruler has {PERIODIC_MIN:g} or more). "
            f"{REMEDY}"
        )
    # Every fifth or tenth line is longer: the profile is most like itself that many lines on, not one.
    lag = int(peaks[alike[peaks] >= 0.5 * alike[peaks].max()][0])
    left, middle, right = alike[lag - 1 : lag + 2]
    return lag + 0.5 * float(left - right) / max(float(left - 2 * middle + right), -1e9, key=abs)


def _places(profile: Profile, spacing: float) -> Profile:
    """Return where the lines are, to a fraction of a pixel, dark or bright as they may be."""
    smooth = cv2.GaussianBlur(profile[None], (0, 0), max(0.6, spacing / 10))[0]
    smooth = smooth - cv2.GaussianBlur(profile[None], (0, 0), spacing)[0]
    if ((smooth - smooth.mean()) ** 3).mean() < 0:  # a ruler is mostly glass: its lines are the rare side
        smooth = -smooth
    at = np.arange(1, len(smooth) - 1)
    tops = at[(smooth[1:-1] >= smooth[:-2]) & (smooth[1:-1] > smooth[2:])]
    tops = tops[smooth[tops] > 0.4 * np.percentile(smooth[tops], 90)] if len(tops) else tops
    reach = max(1, round(spacing / 4))
    places = []
    for top in tops[(tops >= reach) & (tops < len(smooth) - reach)]:
        around = smooth[top - reach : top + reach + 1]
        weight = np.clip(around - 0.3 * around.max(), 0, None)
        places.append(top + float((weight * np.arange(-reach, reach + 1)).sum() / weight.sum()))
    return np.array(places)
