"""What can review reach? `python -m benchmarks.review RUN_DIR`, or `--readings FILE` of the shipped pair.

RUN_DIR: as `sicklescope-train evaluate` left it; each field is judged by the networks that have not seen its fold. A
perfect reviewer is replayed over what the gallery offers: every sickle-like and abstained cell, and 100 normal ones
drawn at random. It names each offered cell rightly, so all figures are **upper bounds**: a person overlooks and errs.

`--readings`: one file of kept readings of `uganda_scd` by the shipped pair, which has learnt from these fields: those
figures are flattered besides, and say so.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import data_folder
from edge.runtime.contract import read_contract
from edge.runtime.onnx import cpu_session, metadata_of
from edge.sample.review.review import NORMALS_SHOWN
from edge.types import ABSTAINED
from training.data.datasets import FOLDS, LabelledField, read_uganda
from training.evaluate.estimates import SHIPPED, Figure, Thresholds, red
from training.evaluate.predictions import SICKLE, PredictedCells, Prediction
from training.evaluate.sickle_calls import nearness, recall

SAMPLE = 1000
"""Red cells of a sample: the device's target."""

SHIPPED_CLASSIFIER = Path("edge/models/classifier.int8.cpu.onnx")


@dataclass(frozen=True, slots=True)
class Offered:
    """What the gallery offers of a field; counts of whole cells.

    red: red cells, abstained ones with them; called: sickle-like; abstained; normal: the rest, of which some are drawn.
    boxes: boxed sickle cells; in_called, in_abstained, in_normal: boxes that hold such a cell, the first that applies.
    """

    red: int
    called: int
    abstained: int
    normal: int
    boxes: int
    in_called: int
    in_abstained: int
    in_normal: int


def offered(s: Prediction, threshold: float) -> Offered:
    """Return what the gallery offers of a field."""
    labels, whole = s.reading.labels(threshold), ~s.reading.border
    boxes, left = s.field.boxes[~s.field.partial], np.ones(int((~s.field.partial).sum()), bool)
    kinds = (labels == SICKLE, labels == ABSTAINED, red(labels) & (labels != SICKLE) & (labels != ABSTAINED))
    called, abstained, normal = (int((kind & whole).sum()) for kind in kinds)
    held = []
    for kind in kinds:
        inside = np.isfinite(nearness(s.reading.centres[kind & whole], boxes)).any(0) & left
        held.append(int(inside.sum()))
        left &= ~inside
    return Offered(int(red(labels)[whole].sum()), called, abstained, normal, len(left), held[0], held[1], held[2])


def by_group(seen: Sequence[Prediction], thresholds: Thresholds) -> dict[str, list[Offered]]:
    """Return what is offered of each group of pictures: those of one place."""
    groups: defaultdict[str, list[Offered]] = defaultdict(list)
    for s in seen:
        groups[s.field.group].append(offered(s, thresholds[s.field.fold]))
    return dict(groups)


def cells_to_look_at(groups: dict[str, list[Offered]]) -> list[float]:
    """Return for each group how many cells a sample of 1,000 red cells like it would offer."""
    found = []
    for fields in groups.values():
        cells = sum(one.red for one in fields)
        if cells >= 50:  # of fewer a share says nothing
            called = sum(one.called + one.abstained for one in fields) * SAMPLE / cells
            found.append(called + min(NORMALS_SHOWN, sum(one.normal for one in fields) * SAMPLE / cells))
    return found


def rows(seen: Sequence[Prediction], thresholds: Thresholds) -> Iterator[tuple[str, str]]:
    """Return what is printed, a label and words each."""
    positive = [s for s in seen if s.field.label == "positive"]
    negative = [s for s in seen if s.field.label == "negative"]
    yield "boxes that the device calls", _figure(recall(positive, thresholds))
    groups = by_group(positive, thresholds)
    names = [name for name, fields in groups.items() for _ in fields]
    every = [one for fields in groups.values() for one in fields]
    boxes = [one.boxes for one in every]
    shown = [float(one.in_called + one.in_abstained) for one in every]
    yield "boxes that are offered", _figure(Figure.ratio(shown, boxes, names))
    drawn = [
        one.in_called + one.in_abstained + one.in_normal * min(1, NORMALS_SHOWN / max(1, one.normal * SAMPLE / one.red))
        if one.red else 0.0
        for one in every
    ]  # fmt: skip
    yield "with those among the normal cells drawn, expected", _figure(Figure.ratio(drawn, boxes, names))
    clean = by_group(negative, thresholds)
    called = sum(one.called for fields in clean.values() for one in fields)
    cells = sum(one.red for fields in clean.values() for one in fields)
    yield "false calls of the device on negative fields", f"{called} of {cells} red cells ({called / cells:.2%})"
    yield "false calls left by a perfect reviewer", "0, for every call is offered"
    for name, found in (("negative", clean), ("positive", groups)):
        looks = cells_to_look_at(found)
        yield (
            f"cells to look at, {SAMPLE} red cells like {name} fields",
            f"median {np.median(looks):.0f}, nine in ten at most {np.quantile(looks, 0.9):.0f} ({len(looks)} groups)",
        )


def _figure(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f}; {figure.counted})"


def kept_readings(file: Path, fields: Sequence[LabelledField]) -> list[Prediction]:
    """Return the kept readings of those fields that a file holds."""
    by_key = {f"{field.dataset}/{field.path.parent.name}/{field.path.name}": field for field in fields}
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    found = [PredictedCells.from_json(line) for line in lines]
    return [Prediction(by_key[one.key], one) for one in found if one.key in by_key]


def main(
    run_dir: Annotated[Path | None, typer.Argument(help="Run with readings and evaluation.json.")] = None,
    readings: Annotated[Path | None, typer.Option(help="Kept readings of uganda_scd by the shipped pair.")] = None,
) -> None:
    """Replay a perfect reviewer and print what it reaches."""
    fields = read_uganda(data_folder())
    if run_dir is not None:
        told = json.loads((run_dir / "evaluation.json").read_text(encoding="utf-8"))["thresholds"]
        thresholds = {fold: told[str(fold)] for fold in FOLDS}
        seen = [one for fold in FOLDS for one in kept_readings(run_dir / "readings" / f"fold{fold}.jsonl", fields)]
        by = "networks that have not seen the fold"
    elif readings is not None:
        session = cpu_session(SHIPPED_CLASSIFIER, "classifier", 1)
        sickle = read_contract(metadata_of(session), "classifier", SHIPPED_CLASSIFIER).thresholds["sickle"]
        thresholds, seen = dict.fromkeys((*FOLDS, SHIPPED), sickle), kept_readings(readings, fields)
        by = "the shipped pair, which has learnt from these fields: flattered"
    else:
        raise typer.BadParameter("give RUN_DIR, or --readings FILE")
    table = Table("upper bound: a perfect reviewer", f"{len(seen)} fields of uganda_scd, by {by}")
    for label, words in rows(seen, thresholds):
        table.add_row(label, words)
    Console(width=150).print(table)


if __name__ == "__main__":
    typer.run(main)
