"""The gate list: labelled pictures that no network was calibrated on, one JSON line each.

`sicklescope-train gate-list` writes one from the public sets; a laboratory may write its own, by hand if need be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.config.model import Sha256
from edge.errors import InputError, first_fault

Box = tuple[float, float, float, float]


class GatePicture(BaseModel):
    """One picture of the gate, with what is known of it.

    Boxes are x0, y0, x1, y1 in pixels of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    picture: Path
    """The file, from the folder of the list if not absolute."""
    sha256: Sha256
    """Its digest: the gate measures nothing on a picture that has changed, and it is never calibrated on."""
    kind: Literal["positive", "negative", "mimics", "unlabelled"]
    """positive: sickle cells are boxed; negative: there are none; mimics: none, but cells that look like them."""
    part: Literal["choose", "measure"] = "measure"
    """Thresholds are chosen on the one part and figures measured on the other."""
    group: str = ""
    """What must never be split: a slide, or a place on one."""
    fold: Annotated[int, Field(ge=-1)] = -1
    sickle: tuple[Box, ...] = ()
    """Boxes round sickle cells, whole ones only."""
    um_per_px: Annotated[float, Field(ge=0.02, le=2.0)] | None = None
    """Size of a pixel where it is known; else it is estimated, as the device does."""
    red_cells: tuple[Box, ...] = ()
    """Boxes round all red cells, or none where they are not labelled."""


def read_gate_list(path: Path) -> tuple[GatePicture, ...]:
    """Read a gate list; raises InputError that names the line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"gate list {path} cannot be read: {error}. Write one with sicklescope-train gate-list"
        ) from error
    pictures = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = GatePicture.model_validate_json(line)
        except ValidationError as error:
            raise InputError(f"gate list {path} line {number}: {first_fault(error, 'the line')}") from error
        pictures.append(one.model_copy(update={"picture": path.parent / one.picture}))
    parts = {one.part for one in pictures}
    if missing := {"choose", "measure"} - parts:
        raise InputError(
            f"gate list {path} has no picture of part {', '.join(sorted(missing))}; both are needed: thresholds are "
            "never chosen on what they are measured on"
        )
    return tuple(pictures)
