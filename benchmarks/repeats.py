"""Real fields photographed several times, read one after another as one sample: `python -m benchmarks.repeats`.

For each `field_group` of uganda_scd with two pictures or more it prints how many red cells the best single picture
shows and how many the group gives; pictures of one field must not add more than a tenth where they overlap. "more
slide" is what the others show that the first does not. Needs SICKLESCOPE_DATA.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import data_folder
from edge.camera.capture import stamped
from edge.camera.images import read_image
from edge.config import Config, ModelsConfig
from edge.pipeline import Pipeline
from edge.screening.tally import Tally
from edge.types import RED_CELLS, Counts, FieldReading

ADDED_MAX = 0.1
"""What repeated pictures may add to the count of the best one."""


def groups() -> dict[str, list[Path]]:
    """Return the pictures of each field that was photographed more than once, in the order of the list."""
    folder = data_folder() / "uganda_scd"
    found: dict[str, list[Path]] = defaultdict(list)
    if (folder / "fields.csv").exists():
        with (folder / "fields.csv").open(newline="", encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                found[row["field_group"]].append(folder / row["path"])
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def read(pipeline: Pipeline, paths: list[Path]) -> tuple[list[FieldReading], Counts]:
    """Read pictures as one sample; return the readings, and the counts of the whole."""
    pipeline.new_sample(each_cell_once=True)
    tally, readings = Tally(), []
    for index, path in enumerate(paths):
        frame = stamped(read_image(path, pipeline.config.quality.megapixels_max), index, path.name)
        readings.append(pipeline.read(frame))
        tally.add(readings[-1])
    return readings, tally.counts()


def best_shot(readings: list[FieldReading]) -> int:
    """Return the red cells of the picture that shows most."""
    return max(sum(reading.counts()[name] for name in RED_CELLS) for reading in readings)


def main(
    every: Annotated[int, typer.Option(min=1, help="Read every so many groups only.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Of the networks; 0: one for each core.")] = 0,
) -> None:
    """Read the groups and print the table."""
    table = Table("group", "pictures", "read", "best shot", "as one sample", "added", "more slide", "islands")
    within = total = apart = 0
    with Pipeline(Config(models=ModelsConfig(threads=threads))) as pipeline:
        for name, paths in sorted(groups().items())[::every]:
            readings, counts = read(pipeline, paths)
            good = [reading for reading in readings if reading.rejected is None]
            if len(good) < 2:
                continue
            best = best_shot(good)
            added, slide = counts.red_cells / best - 1, counts.area_mm2 / good[0].area_mm2 - 1
            total, within, apart = total + 1, within + (added <= ADDED_MAX), apart + (counts.islands > 1)
            shares = f"{added:+.1%}", f"{slide:+.1%}"
            table.add_row(
                name, *map(str, (len(paths), len(good), best, counts.red_cells)), *shares, str(counts.islands)
            )
    console = Console(width=100)
    console.print(table)
    console.print(f"{within} of {total} groups within {ADDED_MAX:.0%}; {apart} in more than one island")


if __name__ == "__main__":
    typer.run(main)
