"""Size of a pixel from the red cells themselves, where there is no stage micrometer: over several fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.config.model import Config
from edge.errors import InputError
from edge.runtime.registry import open_network
from edge.types import Pixels
from edge.vision.optics_calibration import PixelSize, utc_now
from edge.vision.scale import OFF_MAX, RED_CELL_UM, ScaleEstimator

FIELDS_MIN = 3
"""Fields that must show enough cells: their scatter is a part of the uncertainty."""

CELLS_MIN = 15
"""Whole red cells that a field must show to have a say."""

APART_MAX = 0.15
"""Relative standard deviation between fields; more are fields of several magnifications, or no red cells."""

RED_CELL_UM_UNCERTAINTY = 0.3
"""Standard uncertainty of a person's usual red-cell diameter on a dried smear: most people's lies in 7.2–7.8 µm."""

BOXES_UNCERTAINTY = 0.13
"""Relative: how far off the detector's boxes are on rendered smears, whose truth is known (root mean square); on real
ones nobody has measured it against a ruler.
"""


@dataclass(frozen=True, slots=True)
class CellCheck:
    """What red cells say of a pixel's size.

    diameter_um: their usual one, were the size right; nearly everybody's is RED_CELL_UM. fields: that showed enough.
    """

    diameter_um: float
    fields: int

    @property
    def agrees(self) -> bool:
        """Whether the device would read fields of this size, or refuse them as `magnification`."""
        return 1 / OFF_MAX <= self.diameter_um / RED_CELL_UM <= OFF_MAX


def check_by_cells(frames: Sequence[Pixels], um_per_px: float, config: Config) -> CellCheck:
    """Measure red cells in uint8 (H, W, 3) by a size of a pixel that was found otherwise.

    Raises:
        InputError: No frame shows enough of them.
    """
    sizes = _sizes(frames, config)
    if not len(sizes):
        raise InputError(
            f"none of {len(frames)} pictures shows at least {CELLS_MIN} whole red cells. Put a thin, stained smear "
            "under the microscope, in focus"
        )
    return CellCheck(RED_CELL_UM * um_per_px / float(np.median(sizes)), len(sizes))


def _sizes(frames: Sequence[Pixels], config: Config) -> NDArray[np.float64]:
    """Return the size of a pixel, in micrometres, by the red cells of each frame that shows enough of them."""
    with closing(open_network("detector", config.models, config.device.state_dir)) as network:
        estimate = ScaleEstimator(network)
        found = [estimate(pixels, CELLS_MIN) for pixels in frames]
    return np.array([scale.um_per_px for scale, cells in found if scale is not None and cells >= CELLS_MIN])


def from_red_cells(frames: Sequence[Pixels], config: Config) -> PixelSize:
    """Estimate the size of a pixel in each uint8 (H, W, 3) and take the median.

    Raises InputError with the reason.

    The uncertainty is that of the median over the fields together with that of the detector's boxes and that of the
    red cells' own size, which are larger and do not shrink with more fields.
    """
    sizes = _sizes(frames, config)
    if len(sizes) < FIELDS_MIN:
        raise InputError(
            f"{len(sizes)} of {len(frames)} pictures show at least {CELLS_MIN} whole red cells; {FIELDS_MIN} are "
            "needed. Give more fields of a thin, stained smear in focus, or a picture of a stage micrometer"
        )
    scatter = float(sizes.std(ddof=1) / sizes.mean())
    if scatter > APART_MAX:
        raise InputError(
            f"the fields disagree: {sizes.min():.4g} to {sizes.max():.4g} µm per pixel, a scatter of {scatter:.0%}; at "
            f"most {APART_MAX:.0%} is allowed. Give fields of one slide at one magnification"
        )
    um_per_px = float(np.median(sizes))
    # The median of n normal values is 1.25 times as uncertain as their mean (Kendall and Stuart).
    of_fields = 1.25 * scatter / math.sqrt(len(sizes))
    relative = math.hypot(of_fields, BOXES_UNCERTAINTY, RED_CELL_UM_UNCERTAINTY / RED_CELL_UM)
    return PixelSize(
        made_at=utc_now(),
        method="red_cells",
        um_per_px=um_per_px,
        uncertainty_um=um_per_px * relative,
        frames=len(sizes),
    )
