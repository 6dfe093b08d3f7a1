"""One calibration file that grows part by part, each command adding its own or making it anew."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from edge.config.model import Config
from edge.errors import ConfigError, InputError
from edge.vision.optics_calibration import (
    Calibration,
    FlatField,
    PixelSize,
    WhiteBalance,
    camera_identity,
    read_calibration,
    write_calibration,
)


def begin(
    path: Path | None, objective: str | None, config: Config, width: int, height: int
) -> tuple[Path, Calibration]:
    """Return where the calibration of frames of that size goes, and what is there already.

    Else an empty one for this camera and objective.

    Both default to what the configuration says. Raises ConfigError when neither says it, or when a file that is there
    is no calibration, and InputError when it is of another camera, objective or size of frames.
    """
    path = path or config.optics.calibration
    objective = objective or config.optics.objective
    if path is None:
        raise ConfigError("where does the calibration go? Give --output FILE, or set optics.calibration")
    if objective is None:
        raise ConfigError("which objective is it? Give --objective NAME, such as 100x, or set optics.objective")
    camera = camera_identity(config.camera, width, height)
    fresh = Calibration(sicklescope=version("sicklescope"), objective=objective, camera=camera)
    if not path.exists():
        return path, fresh
    there = read_calibration(path)
    if (there.objective, there.camera) != (fresh.objective, fresh.camera):
        raise InputError(
            f"{path} is of {there.in_words()}; now it is {fresh.in_words()}. Give another --output, or set "
            "optics.calibration to another file: a calibration is of one objective on one camera at one size"
        )
    return path, there.model_copy(update={"sicklescope": fresh.sicklescope})


def finish(calibration: Calibration, path: Path, part: PixelSize | FlatField | WhiteBalance) -> Calibration:
    """Put a part into the calibration and write it; return what was written."""
    name = {PixelSize: "pixel_size", FlatField: "flat_field", WhiteBalance: "white_balance"}[type(part)]
    changed = calibration.model_copy(update={name: part})
    write_calibration(changed, path)
    return changed
