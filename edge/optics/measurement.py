"""One measurement of the optics: the part of the calibration file, and pictures by which a person judges it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.optics.illumination import Unevenness, find_flat_field, unevenness
from edge.optics.micrometer import find_lines, size_of_lines
from edge.optics.preview import STRETCH, Row, exaggerated, with_lines
from edge.types import Pixels
from edge.vision.flat_field import apply_gain, flat_gain
from edge.vision.optics_calibration import FlatField, PixelSize


@dataclass(frozen=True, slots=True)
class SizeMeasurement:
    """A pixel's size from a ruler.

    lines: how many were found in the first picture. rows: before, and with the lines drawn.
    """

    part: PixelSize
    lines: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class LightMeasurement:
    """A flat field.

    light: how uneven, and how much of it is left. rows: before and after, plain and exaggerated.
    """

    part: FlatField
    light: Unevenness
    rows: tuple[Row, ...]


def measure_size(pictures: Sequence[Pixels], division_um: float) -> SizeMeasurement:
    """Measure the size of a pixel from pictures, uint8 (H, W, 3), of lines division_um apart.

    Raises:
        InputError: They show no such lines, or disagree.
    """
    lines = [find_lines(pixels) for pixels in pictures]
    size = size_of_lines(lines, division_um)
    found = f"{size.um_per_px:.5g} um per pixel, uncertainty {size.uncertainty_um:.2g}"
    return SizeMeasurement(
        size, len(lines[0].offsets_px), (("before", pictures[0], found, with_lines(pictures[0], lines[0])),)
    )


def measure_light(pictures: Sequence[Pixels]) -> LightMeasurement:
    """Measure the light from pictures of empty fields, or of cells that moved in between.

    Args:
        pictures: uint8 (H, W, 3) of one size.

    Raises:
        InputError: As `find_flat_field`.
    """
    flat, before = find_flat_field(pictures), pictures[0]
    after = apply_gain(before, flat_gain(flat, before.shape[1], before.shape[0]))
    stretched = f"differences x{STRETCH}"
    rows = (
        ("before", before, "after", after),
        (f"before, {stretched}", exaggerated(before), f"after, {stretched}", exaggerated(after)),
    )
    return LightMeasurement(flat, unevenness(pictures), rows)
