"""A run of the bench: its folder, fold after fold, each kept when it is done, and at last figures and page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.system.progress_bars import ReportProgress
from edge.types import Pixels
from training.bench.datasets.cell_images import COPIES, Cells, pictures, turned_copies
from training.bench.datasets.labelled_cell import Sample
from training.bench.datasets.near_duplicates import check_leaks
from training.bench.datasets.splits import Part, divided, leaky
from training.bench.runs import fold_outputs, report, scores
from training.bench.runs.fold_outputs import FIGURES, OUTCOME, Outcome, begin, loaded, of_fold
from training.run_folder import write_bytes, write_text


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: which cells, how divided.

    copies: 1, or as many turned copies of each cell.
    """

    cells: Cells
    parts: tuple[Part, ...]
    copies: int = 1

    @classmethod
    def of(cls, cells: Cells, validation: float, seed: int, only: tuple[int, ...] | None, copies: bool) -> Plan:
        """Divide a set by group, or by the leaky way of turned copies.

        DataError for twins on both sides.
        """
        parts = tuple((leaky if copies else divided)(cells, validation, seed, only))
        if not copies:
            check_leaks(cells.source.name, cells.source.samples, parts)
        return cls(cells, parts, COPIES if copies else 1)

    @property
    def y(self) -> np.ndarray:
        """Label of each row."""
        return np.repeat(self.cells.y, self.copies)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Cell of each row."""
        return tuple(s for s in self.cells.source.samples for _ in range(self.copies))

    def pixels(self, side: int) -> Pixels:
        """Return the picture of each row, uint8 (rows, side, side, 3)."""
        plain = pictures(self.cells.source.samples, side)
        return plain if self.copies == 1 else turned_copies(plain)

    def learnt_from(self, part: Part) -> list[str]:
        """Return the digests of the cells that a fold learns from or is stopped by."""
        rows = np.concatenate([part.train, part.check]) // self.copies
        return sorted({self.cells.digests[i] for i in rows})


def carry_out(run: Path, kind: str, settings: dict[str, Any], plan: Plan, fold: Callable[[Part, Path], Outcome],
              progress: ReportProgress) -> dict[str, Any]:  # fmt: skip
    """Do each fold that is not done yet, then write what the run found; returns the figures.

    Raises ConfigError where the folder holds a run of other settings or data, StorageError.
    """
    source = plan.cells.source
    begin(run, {"kind": kind, "set": source.name, "licence": source.licence, "classes": list(source.classes),
                "data_sha256": plan.cells.digest, "copies": plan.copies, "settings": settings})  # fmt: skip
    done = []
    for i, part in enumerate(plan.parts):
        folder = of_fold(run, part.fold)
        if not (folder / OUTCOME).is_file():
            fold(part, folder).save(folder)
        done.append(loaded(folder))
        progress("folds", i + 1, len(plan.parts))
    return finish(run, plan, done)


def finish(run: Path, plan: Plan, done: Sequence[Outcome]) -> dict[str, Any]:
    """Write predictions.csv, figures.json, pictures and page of the judged cells.

    Returns the figures.
    """
    rows, prob = np.concatenate([o.test for o in done]), np.concatenate([o.prob for o in done])
    classes, y, samples = plan.cells.source.classes, plan.y[rows], plan.samples
    groups = [samples[i].group for i in rows]
    figures = scores.figures(classes, y, prob, groups)
    figures["folds"] = {str(o.fold): {"accuracy": float((o.prob.argmax(1) == plan.y[o.test]).mean()),
                                      "cells": len(o.test), "temperature": o.temperature} for o in done}  # fmt: skip
    folds = np.concatenate([np.full(len(o.test), o.fold) for o in done])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", "picture", "box", "group", "fold", "label", *classes])
    for i, f, p in zip(rows, folds, prob, strict=True):
        s = samples[i]
        box = "" if s.box is None else " ".join(map(str, s.box))
        table.writerow([i, s.path.name, box, s.group, f, s.label, *(f"{v:.5f}" for v in p)])
    write_text(run / "predictions.csv", text.getvalue())
    configuration = fold_outputs.configuration(run)
    drawn = report.drawings(classes, figures, report.curves(run))
    for name, png in drawn.items():
        write_bytes(run / f"{name}.png", png)
    write_text(run / "report.html", report.of_run(run.name, configuration, figures, drawn, report.wrong(
        [samples[i] for i in rows], y, prob, classes)))  # fmt: skip
    write_text(run / FIGURES, json.dumps(figures, indent=1) + "\n")
    return figures
