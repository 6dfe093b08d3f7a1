"""How the counts grow while the slide stands still: `python -m benchmarks.dwell`, on real fields.

A field is shown in 30 frames as a camera gives them over some seconds: moved by up to 3 µm, a little lighter or darker,
with noise. Read as one sample, they must come to what one look at all that they show comes to. Needs SICKLESCOPE_DATA.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import some_fields
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.config.model import Config
from edge.pipeline import Pipeline
from edge.screening.tally import Tally
from edge.types import RED_CELLS, Pixels

FRAMES = 30

AFTER = (1, 3, 10, FRAMES)

SWAY_UM, LIGHT, NOISE = 3.0, 0.03, 3.0

SETS = ("uganda_scd", "chula_rbc12")


def frames(pixels: Pixels, sway_px: int, rng: np.random.Generator) -> Iterator[Pixels]:
    """Give the frames of a field, of which each shows all but a strip of twice `sway_px`."""
    h, w = (side - 2 * sway_px for side in pixels.shape[:2])
    for _ in range(FRAMES):
        x, y = rng.integers(0, 2 * sway_px + 1, 2).tolist()
        shown = pixels[y : y + h, x : x + w] * rng.uniform(1 - LIGHT, 1 + LIGHT)
        yield np.clip(shown + rng.normal(0, NOISE, shown.shape), 0, 255).astype(np.uint8)


def counted(tally: Tally) -> tuple[int, int]:
    """Return the red and the sickle cells."""
    counts = tally.counts()
    return counts.red_cells, counts.by_class["sickle"]


def grown(pipeline: Pipeline, pixels: Pixels) -> tuple[list[tuple[int, int]], tuple[int, int]] | None:
    """Return red and sickle cells after some frames, and in one look at all.

    None where the field cannot be read.
    """
    pipeline.new_sample()
    scale = pipeline.read(stamped(pixels, 0, "")).scale
    if scale is None:
        return None
    pipeline.new_sample()
    once = Tally()
    once.add(pipeline.read(stamped(pixels, 0, "", scale.um_per_px)))
    if not once.counts().fields_read:
        return None
    pipeline.new_sample(each_cell_once=True)
    tally, after = Tally(), []
    sway_px = round(SWAY_UM / scale.um_per_px)
    for index, shown in enumerate(frames(pixels, sway_px, np.random.default_rng(0)), 1):
        tally.add(pipeline.read(stamped(shown, index, "", scale.um_per_px)))
        if index in AFTER:
            after.append(counted(tally))
    return after, counted(once)


def main(fields: Annotated[int, typer.Option(min=1, help="Of each set.")] = 14) -> None:
    """Read the fields and print the table."""
    table = Table("set", "fields", "", *(f"after {n}" for n in AFTER), "one look", "largest growth")
    with Pipeline(Config()) as pipeline:
        for name in SETS:
            found = [grown(pipeline, read_image(path, 64)) for path in some_fields(name, fields, seed=3)]
            read = [one for one in found if one is not None]
            worst = max(after[-1][0] / once[0] - 1 for after, once in read)
            for column, which in enumerate((f"red cells ({', '.join(RED_CELLS)})", "sickle")):
                sums = [str(sum(after[k][column] for after, _ in read)) for k in range(len(AFTER))]
                once_sum = str(sum(once[column] for _, once in read))
                table.add_row(name, str(len(read)), which, *sums, once_sum, "" if column else f"{worst:+.0%}")
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
