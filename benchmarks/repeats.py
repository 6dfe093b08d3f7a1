"""Real fields photographed several times, read one after another as one sample: `python -m benchmarks.repeats`.

For each `field_group` of uganda_scd with two pictures or more: how many red cells the best single picture shows by
itself, and how many the whole group gives in that part of the slide which this picture shows whole; pictures of one
field must not add more than a tenth there. What is added falls into cells that the best picture has too, but the mean
of all looks names otherwise ("named"), and cells that it has not ("new"); of these, doubles are those that lie over a
cell of the best picture which the other picture has not. Cells of the best picture that most others do not find are
taken off under "named". "more slide" is what the others show and the best does not, in
cells. A group that is not recognised as one field counts as not within the tenth.

Each picture has the scale that was estimated for itself: a telephone is zoomed by hand from one picture to the next,
which the camera on a microscope is not. At the end one picture of each group is read as one sample: pictures of
different fields must all stay apart. Needs SICKLESCOPE_DATA.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import data_folder
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.config.model import Config, ModelsConfig
from edge.pipeline import Pipeline
from edge.screening.tally import Tally
from edge.types import CLASSES, RED_CELLS, Counts, FieldReading, Frame, Mask, Numbers
from edge.vision.detect import cut_by_edge
from edge.vision.field_mask import visible_part
from training.metrics import iou

ADDED_MAX = 0.1
"""What repeated pictures may add to the count of the best one."""

OVER = 0.3
"""Two boxes that share so much of their union may be one cell."""

TIED = 6
"""Cells that two pictures must have in common to say how they lie to each other."""

RED = [CLASSES.index(name) for name in RED_CELLS]


@dataclass(frozen=True, slots=True)
class Added:
    """What a group adds to its best picture, where that one shows the slide.

    best: red cells of the best picture by itself; named: how many more of its cells are red by the mean of all looks,
    less those that count no longer; new: red cells that it has not; doubles: of these, those that are probably not
    new; more: red cells elsewhere.
    """

    best: int
    named: int
    new: int
    doubles: int
    more: int
    islands: int

    @property
    def share(self) -> float:
        """What is added, as a share of the best picture's count."""
        return (self.named + self.new) / self.best

    @property
    def within(self) -> bool:
        """Whether the group was recognised and adds little."""
        return self.islands == 1 and self.share <= ADDED_MAX


def groups() -> dict[str, list[Path]]:
    """Return the pictures of each field that was photographed more than once.

    In the order of the list.
    """
    folder = data_folder() / "uganda_scd"
    found: dict[str, list[Path]] = defaultdict(list)
    if (folder / "fields.csv").exists():
        with (folder / "fields.csv").open(newline="", encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                found[row["field_group"]].append(folder / row["path"])
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def taken(pipeline: Pipeline, paths: list[Path]) -> tuple[list[Frame], list[FieldReading]]:
    """Read pictures one by one.

    Return those that can be read, each with its own scale, and their readings.
    """
    frames, readings = [], []
    for index, path in enumerate(paths):
        frame = stamped(read_image(path, pipeline.config.quality.megapixels_max), index, path.name)
        pipeline.new_sample()
        reading = pipeline.read(frame)
        if reading.rejected is None and reading.scale is not None:
            frames.append(replace(frame, um_per_px=reading.scale.um_per_px))
            readings.append(reading)
    return frames, readings


def read(pipeline: Pipeline, frames: list[Frame]) -> tuple[list[FieldReading], Counts]:
    """Read pictures as one sample; return the readings, and the counts of the whole."""
    pipeline.new_sample(each_cell_once=True)
    tally, readings = Tally(), []
    for frame in frames:
        readings.append(pipeline.read(frame))
        tally.add(readings[-1])
    return readings, tally.counts()


def added(frames: list[Frame], alone: list[FieldReading], readings: list[FieldReading], counts: Counts) -> Added:
    """Compare a group, read as one sample, with its best picture by itself."""
    red = [sum(one.counts()[name] for name in RED_CELLS) for one in alone]
    best = int(np.argmax(red))
    now = resolved(readings)
    host = readings[best]
    if host.ids is None or host.placement is None:
        return Added(red[best], 0, 0, 0, counts.red_cells - red[best], counts.islands)
    numbers, every = now.numbers(host.ids), now.numbers(host.placement.ids)
    is_red = now.red
    named = int(is_red[numbers].sum()) - red[best]
    new, doubles = set[int](), set[int]()
    for index, other in enumerate(readings):
        if index == best or other.ids is None or other.placement is None:
            continue
        theirs = now.numbers(other.ids)
        carried = carried_over(other.boxes, theirs, host.boxes, numbers)
        if carried is None:
            continue
        absent = ~np.isin(theirs, every) & is_red[theirs] & shown_whole(carried, frames[best])
        free = host.boxes[~np.isin(numbers, now.numbers(other.placement.ids))]
        over = (iou(carried[absent], free) > OVER).any(1)
        new |= set(theirs[absent].tolist())
        doubles |= set(theirs[absent][over].tolist())
    more = counts.red_cells - red[best] - named - len(new)
    return Added(red[best], named, len(new), len(doubles), more, counts.islands)


@dataclass(frozen=True, slots=True)
class _Now:
    """What the numbers of a sample stand for at its end: same (N,), the number each goes by; red (N,), and counted."""

    same: Numbers
    red: Mask

    def numbers(self, ids: Numbers) -> Numbers:
        """Return the numbers that cells go by now, those of cells without one left out."""
        return self.same[ids[ids >= 0]]


def resolved(readings: list[FieldReading]) -> _Now:
    """Follow the numbers of a sample to its end."""
    count = max(int(r.placement.ids.max(initial=-1)) for r in readings if r.placement) + 1
    same, red = np.arange(count), np.zeros(count, np.bool_)
    for reading in readings:
        if reading.placement is None or reading.change is None:
            continue
        for kept, dropped in reading.placement.joined:
            same[same == dropped] = kept
        red[reading.change.numbers] = np.isin(reading.change.label, RED)
        red[reading.change.gone] = False
    return _Now(same, red)


def carried_over(boxes: NDArray[Any], ids: Numbers, host: NDArray[Any], host_ids: Numbers) -> NDArray[Any] | None:
    """Return boxes (N, 4) as they lie in another picture, by the cells that both have.

    None where these are too few.
    """
    _, i, j = np.intersect1d(ids, host_ids, return_indices=True)
    if len(i) < TIED:
        return None
    z, w = middles(boxes[i]), middles(host[j])
    dz, dw = z - z.mean(), w - w.mean()
    turn = np.vdot(dz, dw) / np.vdot(dz, dz).real
    at = turn * (middles(boxes) - z.mean()) + w.mean()
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * abs(turn)
    corner = np.stack([at.real, at.imag], 1)
    return np.concatenate([corner - half, corner + half], 1)


def middles(boxes: NDArray[Any]) -> NDArray[Any]:
    """Return the centres of boxes, x + iy."""
    return np.asarray(boxes[:, 0] + boxes[:, 2] + 1j * (boxes[:, 1] + boxes[:, 3])) / 2


def shown_whole(boxes: NDArray[Any], frame: Frame) -> Mask:
    """Return which boxes lie wholly in what a picture shows."""
    h, w = frame.pixels.shape[:2]
    clipped = boxes.clip(0, [w, h, w, h]).astype(np.float32)
    whole: Mask = ~cut_by_edge(clipped, (h, w), visible_part(frame.pixels))
    return whole


def main(
    every: Annotated[int, typer.Option(min=1, help="Read every so many groups only.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Of the networks; 0: one for each core.")] = 0,
) -> None:
    """Read the groups and print the table."""
    table = Table("group", "read", "best shot", "named", "new", "doubles", "added", "more slide", "islands")
    found, strangers = list[Added](), list[Frame]()
    with Pipeline(Config(models=ModelsConfig(threads=threads))) as pipeline:
        for name, paths in sorted(groups().items())[::every]:
            frames, alone = taken(pipeline, paths)
            strangers += frames[:1]
            if len(frames) < 2:
                continue
            one = added(frames, alone, *read(pipeline, frames))
            found.append(one)
            parts = (one.best, f"{one.named:+d}", one.new, one.doubles, f"{one.share:+.1%}", one.more, one.islands)
            table.add_row(name, str(len(frames)), *map(str, parts))
        apart = read(pipeline, strangers)[1]
    console = Console(width=100)
    console.print(table)
    within, joined = sum(one.within for one in found), sum(one.islands == 1 for one in found)
    console.print(f"{within} of {len(found)} groups within {ADDED_MAX:.0%}; {joined} recognised as one field")
    console.print(f"pictures of different fields: {apart.islands} islands of {apart.fields_read} read")


if __name__ == "__main__":
    typer.run(main)
