"""The size of a pixel that a TIFF states, where it is that of a microscope."""

from __future__ import annotations

import re
from typing import Any

UM_PER_PX = (0.02, 2.0)
"""Sizes of a microscope's pixels: 72 and 96 dots an inch are 353 and 265 µm."""

NOT_SQUARE = 1.02
"""Ratio of width to height from which the stated size is of no use: pixels are not square, or it is a mistake."""

OF_UNIT = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "\\u00b5m": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4, "inch": 25400.0, "in": 25400.0,
}  # fmt: skip
"""Micrometres in each unit of OME and ImageJ."""
_OF_RESOLUTION = {2: 25400.0, 3: 10000.0}


def stated_um_per_px(file: Any) -> float | None:
    """Return the µm per pixel that a tifffile.TiffFile states.

    OME first, then ImageJ, Aperio, resolution tags.
    """
    page = file.pages.first
    aperio = re.search(r"\bMPP = ([0-9]*\.?[0-9]+)", page.description or "")
    if aperio:
        sizes: tuple[float, float] | None = (float(aperio[1]), float(aperio[1]))
    else:
        sizes = _ome(file.ome_metadata) if file.is_ome else _tags(page, _unit_um(file, page))
    if sizes is None or not UM_PER_PX[0] <= min(sizes) or not max(sizes) <= UM_PER_PX[1]:
        return None
    return sizes[0] if max(sizes) < NOT_SQUARE * min(sizes) else None


def _ome(xml: str | None) -> tuple[float, float] | None:
    found = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", xml or "")
    if found is None:
        return None
    said = dict(re.findall(r'(\w+)="([^"]*)"', found[0]))
    try:
        x, y = (
            float(said[f"PhysicalSize{axis}"]) * OF_UNIT[said.get(f"PhysicalSize{axis}Unit", "µm")] for axis in "XY"
        )
    except (KeyError, ValueError):
        return None
    return x, y


def _unit_um(file: Any, page: Any) -> float | None:
    """Return the µm in the unit of the resolution tags."""
    if file.is_imagej:
        return OF_UNIT.get(str((file.imagej_metadata or {}).get("unit", "")))
    return _OF_RESOLUTION.get(int(page.tags.valueof(296) or 2))


def _tags(page: Any, unit_um: float | None) -> tuple[float, float] | None:
    x, y = page.tags.valueof(282), page.tags.valueof(283)
    if unit_um is None or not x or not y or 0 in (*x, *y):
        return None
    return unit_um * x[1] / x[0], unit_um * y[1] / y[0]
