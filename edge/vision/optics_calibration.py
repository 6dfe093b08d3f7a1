"""The optics calibration: the file that `sicklescope-calibrate` writes and the configuration names, and where it holds.

One file is one objective on one camera. Each part says when it was made, for each is made by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.config.model import CameraConfig, Config
from edge.errors import ConfigError, first_fault
from edge.system.atomic_files import aside, move, storage_errors

GAIN_MAX = 5.0
"""No part of a field is brightened by more: what is darker than this is not lit."""

CLOCK_TOLERANCE = timedelta(days=1)
"""A calibration may be so much younger than now: clocks of two computers differ."""

Flag: TypeAlias = Literal["calibration_expired", "calibration_foreign"]
"""What a reader of results should know of the calibration; each is a flag of the verdict."""

Gain = Annotated[float, Field(gt=0.0, le=GAIN_MAX)]


class Part(BaseModel):
    """A part of the file: frozen, finite, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class CameraIdentity(Part):
    """Which camera the calibration is of, and the size of its frames in pixels.

    As the configuration names it.
    """

    kind: str
    device: str
    width: Annotated[int, Field(ge=1, le=16384)]
    height: Annotated[int, Field(ge=1, le=16384)]


class PixelSize(Part):
    """Size of a camera pixel on the slide."""

    made_at: AwareDatetime
    method: Literal["micrometer", "red_cells"]
    um_per_px: Annotated[float, Field(ge=0.02, le=2.0)]
    uncertainty_um: Annotated[float, Field(ge=0.0)]
    """Standard uncertainty of um_per_px, without that of the ruler; that of the red cells' usual size is in it."""
    frames: Annotated[int, Field(ge=1)]


class FlatField(Part):
    """What each place of a field is multiplied by to be as bright as the field's mean."""

    made_at: AwareDatetime
    frames: Annotated[int, Field(ge=1)]
    gain: tuple[tuple[tuple[Gain, Gain, Gain], ...], ...]
    """Rows of (red, green, blue) on an even grid whose cells tile the frame."""

    @model_validator(mode="after")
    def _is_a_grid(self) -> FlatField:
        if len({len(row) for row in self.gain}) != 1 or not self.gain[0]:
            raise ValueError("gain has rows of different lengths, or none; expected a grid")
        return self


class WhiteBalance(Part):
    """What red, green and blue are multiplied by for empty glass to be grey."""

    made_at: AwareDatetime
    frames: Annotated[int, Field(ge=1)]
    gain: tuple[Gain, Gain, Gain]


class Calibration(Part):
    """The whole file."""

    schema_version: Literal[1] = 1
    sicklescope: str
    """Version of the program that wrote it last."""
    objective: str
    camera: CameraIdentity
    pixel_size: PixelSize | None = None
    flat_field: FlatField | None = None
    white_balance: WhiteBalance | None = None

    @property
    def parts(self) -> dict[str, PixelSize | FlatField | WhiteBalance]:
        """The parts that were made, by the name of the command that makes them."""
        made = {"pixel size": self.pixel_size, "flat field": self.flat_field, "white balance": self.white_balance}
        return {name: part for name, part in made.items() if part is not None}

    def in_words(self) -> str:
        """Return one line about it for a person."""
        camera = self.camera
        said = [f"{self.objective}, {camera.kind} {camera.device} {camera.width}x{camera.height}"]
        if self.pixel_size is not None:
            size = self.pixel_size
            said += [f"{size.um_per_px:.5g} ± {size.uncertainty_um:.2g} µm per pixel ({size.method})"]
        return "; ".join([*said, *(f"{name} of {part.made_at:%Y-%m-%d}" for name, part in self.parts.items())])


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a calibration should not be trusted here.

    The flag on every result, and the reason in words.
    """

    flag: Flag
    text: str


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises ConfigError when it is not there, damaged, or of another version.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"optics calibration {path} cannot be read: {error.strerror or error}. Make it with sicklescope-calibrate, "
            "or set optics.calibration to the file"
        ) from error
    except ValidationError as error:
        raise ConfigError(
            f"optics calibration {path} cannot be used: {first_fault(error, 'the file')}. Expected a file of "
            "sicklescope-calibrate, schema_version 1; make it again"
        ) from error


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write the file whole, or not at all; raises StorageError."""
    with aside(path.absolute().parent) as folder:
        with storage_errors(path):
            (folder / path.name).write_text(calibration.model_dump_json(indent=1) + "\n", encoding="utf-8")
        move(folder / path.name, path.absolute())


def camera_identity(camera: CameraConfig, width: int, height: int) -> CameraIdentity:
    """Return the identity of the configured camera when its frames have that size."""
    # A virtual slide's light comes with its seed, as a real one's with the microscope.
    device = f"slide {camera.seed}" if camera.kind == "virtual" else camera.device
    return CameraIdentity(kind=camera.kind, device=device, width=width, height=height)


def misfits(calibration: Calibration, config: Config, now: datetime) -> tuple[Misfit, ...]:
    """Return why the calibration may not hold for the configured objective and camera, or today."""
    found = []
    made, here = calibration.camera, camera_identity(config.camera, 1, 1)
    if calibration.objective != config.optics.objective:
        found += [f"of objective {calibration.objective!r}; optics.objective is {config.optics.objective!r}"]
    if (made.kind, made.device) != (here.kind, here.device):
        found += [f"of camera {made.kind} {made.device}; configured is {here.kind} {here.device}"]
    foreign = tuple(Misfit("calibration_foreign", f"it is {text}, and is not applied") for text in found)
    return foreign + _expired(calibration, config.optics.calibration_days, now)


def wrong_size(calibration: Calibration, width: int, height: int) -> Misfit | None:
    """Return the misfit of frames of another size than were calibrated, or None."""
    made = calibration.camera
    if (made.width, made.height) == (width, height):
        return None
    text = f"it is of frames {made.width}x{made.height}, and is not applied to one of {width}x{height}"
    return Misfit("calibration_foreign", text)


def _expired(calibration: Calibration, days: int, now: datetime) -> tuple[Misfit, ...]:
    for name, part in calibration.parts.items():
        age = now - part.made_at
        if age > timedelta(days=days):
            text = f"its {name} is {age.days} days old; optics.calibration_days is {days}. Calibrate again"
            return (Misfit("calibration_expired", text),)
        if age < -CLOCK_TOLERANCE:
            text = f"its {name} is dated {part.made_at:%Y-%m-%d}, which is to come by this computer's clock"
            return (Misfit("calibration_expired", f"{text}: its age is unknown. Set the clock"),)
    return ()


def utc_now() -> datetime:
    """Return the time by this computer's clock."""
    return datetime.now(timezone.utc)
