"""The commands `pixel-size`, `flat-field` and `white-balance` of `sicklescope-calibrate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from calibration.optics.frames import gather
from edge.config.loader import load
from edge.errors import InputError
from edge.optics.calibration_file import begin, finish
from edge.optics.illumination import find_white_balance
from edge.optics.light import refuse_bad_light
from edge.optics.measurement import measure_light, measure_size
from edge.optics.preview import Row, write_picture
from edge.optics.red_cells import from_red_cells
from edge.system.console import ConfigPath, answering
from edge.types import Pixels
from edge.vision.flat_field import apply_gain, gain_of
from edge.vision.optics_calibration import Calibration, FlatField, PixelSize, WhiteBalance

Paths = Annotated[
    list[str] | None, typer.Argument(metavar="[PATHS]...", help="Pictures or folders; else the configured camera's.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="The calibration; else optics.calibration.")
]
Objective = Annotated[str | None, typer.Option(metavar="NAME", help="Such as 100x; else optics.objective.")]
Show = Annotated[
    Path | None, typer.Option(metavar="PNG", help="Picture of before and after; else beside the calibration.")
]
Frames = Annotated[int, typer.Option(min=1, max=200, help="Frames to take from the camera.")]
Every = Annotated[float, typer.Option(min=0.0, help="Seconds between them, in which to move the slide.")]


def register(app: typer.Typer) -> None:
    """Add the commands of optics to the program."""
    app.command("pixel-size")(pixel_size)
    app.command("flat-field")(flat_field)
    app.command("white-balance")(white_balance)


def pixel_size(
    paths: Paths = None,
    division_um: Annotated[float | None, typer.Option(min=0.1, help="Distance of the ruler's lines, µm.")] = None,
    red_cells: Annotated[bool, typer.Option("--red-cells", help="Measure by red cells; there is no ruler.")] = False,
    output: Output = None,
    objective: Objective = None,
    show: Show = None,
    frames: Frames = 5,
    every_s: Every = 2.0,
    config: ConfigPath = None,
) -> None:
    """Find the size of a pixel from a stage micrometer or from red cells.

    The picture of a micrometer may have any direction.
    """
    with answering("sicklescope-calibrate"):
        loaded = load(config).config
        if (division_um is None) != red_cells:
            raise InputError("give either --division-um, the distance of the micrometer's lines, or --red-cells")
        pictures = gather(paths or [], loaded, frames if red_cells else 1, every_s)
        path, calibration = begin(output, objective, loaded, *_size(pictures))
        if division_um is None:
            refuse_bad_light(pictures)
            size = from_red_cells(pictures, loaded)
            found = f"{size.um_per_px:.5g} um per pixel, uncertainty {size.uncertainty_um:.2g}"
            _end(calibration, path, size, show, [("before", pictures[0], found, pictures[0])])
        else:
            measured = measure_size(pictures, division_um)
            _end(calibration, path, measured.part, show, measured.rows)


def flat_field(
    paths: Paths = None,
    output: Output = None,
    objective: Objective = None,
    show: Show = None,
    frames: Frames = 20,
    every_s: Every = 2.0,
    config: ConfigPath = None,
) -> None:
    """Find the light of empty fields, or of fields of cells between which the slide was moved."""
    with answering("sicklescope-calibrate"):
        loaded = load(config).config
        pictures = gather(paths or [], loaded, frames, every_s)
        path, calibration = begin(output, objective, loaded, *_size(pictures))
        measured = measure_light(pictures)
        _end(calibration, path, measured.part, show, measured.rows)
        light = measured.light
        typer.echo(f"The light differs by {light.before:.1%} over the field; corrected, by {light.after:.1%}")


def white_balance(
    paths: Paths = None,
    output: Output = None,
    objective: Objective = None,
    show: Show = None,
    frames: Frames = 3,
    every_s: Every = 2.0,
    config: ConfigPath = None,
) -> None:
    """Find what makes empty glass grey, from empty fields or from the glass between cells."""
    with answering("sicklescope-calibrate"):
        loaded = load(config).config
        pictures = gather(paths or [], loaded, frames, every_s)
        path, calibration = begin(output, objective, loaded, *_size(pictures))
        white = find_white_balance(pictures, calibration.flat_field)
        gain = gain_of(calibration.model_copy(update={"white_balance": white}))
        after = pictures[0] if gain is None else apply_gain(pictures[0], gain)
        caption = "after, gains " + " ".join(f"{one:.3f}" for one in white.gain)
        _end(calibration, path, white, show, [("before", pictures[0], caption, after)])


def _size(pictures: Sequence[Pixels]) -> tuple[int, int]:
    height, width = pictures[0].shape[:2]
    return width, height


def _end(
    calibration: Calibration,
    path: Path,
    part: PixelSize | FlatField | WhiteBalance,
    show: Path | None,
    rows: Sequence[Row],
) -> None:
    """Write the picture, then the calibration, and say where they are and what is in force."""
    names = {PixelSize: "pixel-size", FlatField: "flat-field", WhiteBalance: "white-balance"}
    picture = show or path.with_name(f"{path.stem}-{names[type(part)]}.png")
    write_picture(rows, picture)
    written = finish(calibration, path, part)
    typer.echo(f"{path}: {written.in_words()}")
    typer.echo(f"Look at {picture} before you trust it.")
    typer.echo(f'In the configuration: [optics] calibration = "{path}", objective = "{written.objective}"')
