"""Whether two pairs of networks call the same cells: `python -m benchmarks.same_calls OLD NEW`.

OLD and NEW are folders of `detector.int8.cpu.onnx` and `classifier.int8.cpu.onnx`. Both pairs read the same pictures of
every real set at the same scale, with the code that is installed. A cell that one pair finds and the other does not
counts as changed where it is called sickle. Intervals by bootstrap over fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.realdata import data_folder, some_fields
from calibration.int8.agreement import paired
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.config.model import Config, ModelsConfig, QualityConfig
from edge.errors import EdgeError
from edge.pipeline import Pipeline
from edge.runtime.base import Network, Source
from edge.runtime.onnx import OnnxNetwork
from edge.screening.calls import SICKLE
from edge.types import ABSTAINED, CLASSES, RED_CELLS, FieldReading
from training.data.datasets import LabelledField, read_uganda

FORM = "int8.cpu"
SETS = ("uganda_scd", "chula_rbc12", "krd_wbc", "txl_pbc")
RED = [CLASSES.index(name) for name in RED_CELLS]
DRAWS = 2000
FOUND_IOU = 0.3
"""A boxed sickle cell is found by a box that shares so much of their union."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Of one field: cells that either pair finds, those sickle for one alone, and what each pair makes of labels.

    called, abstained, boxes_called, boxes_offered: of the old pair and of the new one.
    """

    cells: int
    changed: int
    called: tuple[int, int]
    abstained: tuple[int, int]
    red: tuple[int, int]
    boxes: int
    boxes_called: tuple[int, int]
    boxes_offered: tuple[int, int]
    negative: bool


def main(
    old: Annotated[Path, typer.Argument(help="Folder of one pair of files.")],
    new: Annotated[Path, typer.Argument(help="Folder of the other.")],
    count: Annotated[int, typer.Option(min=2, help="Pictures of each set at most.")] = 100,
    threads: Annotated[int, typer.Option(min=1, help="Of the networks.")] = 1,
) -> None:
    """Read with both pairs and print what changed."""
    labelled = {field.path.resolve(): field for field in read_uganda(data_folder())}
    table = Table("set", "fields", "cells", "sickle for one pair alone", "sickle calls", "abstained", "labels")
    with ExitStack() as stack:
        pairs = [stack.enter_context(pipeline(folder, threads)) for folder in (old, new)]
        for name in SETS:
            paths = some_fields(name, count)
            read = track(paths, f"{name:12}") if paths else ()
            found = [one for path in read for one in compared(path, pairs, labelled.get(path.resolve()))]
            if found:
                table.add_row(*row(name, found))
    Console(width=150).print(table)


def pipeline(folder: Path, threads: int) -> Pipeline:
    """Open a pair, with the quality gate off."""
    config = Config(quality=QualityConfig(gate=False), models=ModelsConfig(threads=threads))
    return Pipeline(config, (network("detector", folder, config), network("classifier", folder, config)))


def network(role: str, folder: Path, config: Config) -> Network:
    """Open a file of a pair."""
    path = folder / f"{role}.{FORM}.onnx"
    if not path.is_file():
        raise typer.BadParameter(f"{path} not found: give a folder such as edge/models")
    return OnnxNetwork(Source(role, path, "", config.models))


def compared(path: Path, pairs: list[Pipeline], labels: LabelledField | None) -> Iterator[Compared]:
    """Read a picture with both pairs at the scale that the old one finds; give nothing where it cannot be read."""
    try:
        pixels = read_image(path, 64)
    except EdgeError:
        return
    for pair in pairs:
        pair.new_sample()
    first = pairs[0].read(stamped(pixels, 0, path.name))
    if first.scale is None:
        return
    readings = [pair.read(stamped(pixels, 1, path.name, first.scale.um_per_px)) for pair in pairs]
    if any(reading.rejected is not None for reading in readings):
        return
    one, other = readings
    same = paired(one.boxes, other.boxes)
    sickle = [reading.label == SICKLE for reading in readings]
    changed = sum(bool(sickle[0][i] != sickle[1][j]) for i, j in same)
    alone = [set(range(len(r.boxes))) - {pair[k] for pair in same} for k, r in enumerate(readings)]
    changed += sum(int(sickle[k][list(left)].sum()) for k, left in enumerate(alone))
    boxes = labels.boxes[~labels.partial] if labels is not None else np.zeros((0, 4), np.float32)
    hits = [found_in(boxes, reading) for reading in readings]
    yield Compared(
        cells=len(same) + sum(map(len, alone)),
        changed=changed,
        called=_both(lambda r: (r.label == SICKLE).sum(), readings),
        abstained=_both(lambda r: (r.label == ABSTAINED).sum(), readings),
        red=_both(lambda r: np.isin(r.label, [*RED, ABSTAINED]).sum(), readings),
        boxes=len(boxes),
        boxes_called=(hits[0][0], hits[1][0]),
        boxes_offered=(hits[0][1], hits[1][1]),
        negative=labels is not None and labels.label == "negative",
    )


def _both(count: Any, readings: list[FieldReading]) -> tuple[int, int]:
    first, second = (int(count(reading)) for reading in readings)
    return first, second


def found_in(boxes: Any, reading: FieldReading) -> tuple[int, int]:
    """Return how many of (N, 4) labelled boxes are called sickle, and how many are called or abstained from."""
    same = paired(boxes, reading.boxes, FOUND_IOU)
    labels = [int(reading.label[j]) for _, j in same]
    return labels.count(SICKLE), labels.count(SICKLE) + labels.count(ABSTAINED)


def row(name: str, found: list[Compared]) -> list[str]:
    """Return the line of a set."""
    changed, cells = np.array([[one.changed, one.cells] for one in found]).T
    line = [name, str(len(found)), str(cells.sum()), f"{share(changed, cells)} ({changed.sum()})"]
    line.append(" → ".join(str(sum(one.called[k] for one in found)) for k in (0, 1)))
    line.append(" → ".join(percent(found, "abstained", k) for k in (0, 1)))
    boxes = np.array([one.boxes for one in found])
    said = []
    if boxes.sum():
        for what in ("boxes_called", "boxes_offered"):
            old, new = np.array([getattr(one, what) for one in found]).T
            before, after = (share(part, boxes, interval=False) for part in (old, new))
            said.append(f"{what.replace('_', ' ')} {before} → {after}, difference {share(new - old, boxes)}")
    negative = [one for one in found if one.negative]
    if negative:
        said.append("false calls " + " → ".join(percent(negative, "called", k) for k in (0, 1)))
    return [*line, "\n".join(said)]


def percent(found: list[Compared], what: str, which: int) -> str:
    """Return a count as a part of the red cells."""
    part, whole = np.array([[getattr(one, what)[which], one.red[which]] for one in found]).T
    return share(part, whole, interval=False)


def share(part: Any, whole: Any, *, interval: bool = True) -> str:
    """Return Σ part ÷ Σ whole in percent, with its 95 % interval over fields."""
    said = f"{100 * part.sum() / max(1, whole.sum()):.2f} %"
    if not interval:
        return said
    drawn = np.random.default_rng(0).integers(len(part), size=(DRAWS, len(part)))
    low, high = np.percentile(part[drawn].sum(1) / np.maximum(1, whole[drawn].sum(1)), [2.5, 97.5])
    return f"{said} ({100 * low:.2f} to {100 * high:.2f})"


if __name__ == "__main__":
    typer.run(main)
