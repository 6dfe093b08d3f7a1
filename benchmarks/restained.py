"""Are smears of another stain read as well? `python -m benchmarks.restained RUN_DIR`, with torch, one picture a group.

RUN_DIR: as `sicklescope-train evaluate` left it. Each field of `uganda_scd` is read by the networks that have not seen
its fold, as taken and with the colours changed as in `benchmarks.strange`, at the thresholds of the evaluation.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import data_folder
from benchmarks.strange import CHANGED
from edge.types import Pixels
from training.data.datasets import FOLDS, LabelledField, read_pixels, read_uganda
from training.evaluate import sickle_calls
from training.evaluate.predict import read_fields
from training.evaluate.predictions import Prediction, of
from training.run_folder import RunDir

STAINS = (
    "as taken", "hue turned by 30 of 180", "hue turned by 60 of 180", "hue turned by 90 of 180",
    "red and green exchanged", "inverted",
)  # fmt: skip


def one_of_each_group(fields: list[LabelledField]) -> list[LabelledField]:
    """Return the first picture of each group of fields."""
    first: dict[str, LabelledField] = {}
    for field in fields:
        first.setdefault(field.group, field)
    return list(first.values())


def read(run: RunDir, fields: list[LabelledField], stain: str) -> list[Prediction]:
    """Read fields out of fold, changed to look as another stain would have them."""

    def picture(field: LabelledField) -> Pixels:
        return CHANGED[stain](read_pixels(field.path), np.random.default_rng(0))

    seen = []
    with TemporaryDirectory() as folder:
        for fold in FOLDS:
            mine = [field for field in fields if field.fold == fold]
            seen += read_fields(run.for_fold(fold), mine, Path(folder) / f"{fold}.jsonl", picture=picture)
    return seen


def main(run_dir: Annotated[Path, typer.Argument(help="Run with weights and evaluation.json.")]) -> None:
    """Read all and print recall and false calls."""
    torch.set_num_threads(1)  # two fields are read at a time
    run, root = RunDir(run_dir), data_folder()
    told = json.loads((run_dir / "evaluation.json").read_text(encoding="utf-8"))["thresholds"]
    thresholds = {fold: told[str(fold)] for fold in FOLDS}
    fields = one_of_each_group(read_uganda(root))
    table = Table("stain", "recall", "", "false calls", "")
    for stain in STAINS:
        seen = read(run, fields, stain)
        recall = sickle_calls.recall(of(seen, "uganda_scd", "positive"), thresholds)
        false = sickle_calls.false_calls(of(seen, "uganda_scd", "negative"), thresholds)["pooled"]
        table.add_row(stain, f"{recall.value:.3f}", recall.counted, f"{false.value:.2%}", false.counted)
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
