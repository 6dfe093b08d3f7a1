"""`bench compare`: one table and one page of several runs, and whether they can be told apart at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import ModelError
from training.bench.runs import fold_outputs
from training.bench.runs.scores import difference

Judged = dict[int, tuple[bool, str]]


def figures_of(run: Path) -> dict[str, Any]:
    """Return what a finished run found; raises ModelError when it is not finished."""
    try:
        content: dict[str, Any] = json.loads((run / fold_outputs.FIGURES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{run} is not a finished run of the bench: {error}") from error
    return content


def compared(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a row for each run, best first within the same cells; raises ModelError."""
    rows = []
    for run in runs:
        told, found = fold_outputs.configuration(run), figures_of(run)
        low, high = found["accuracy_bootstrap"]
        rows.append({"name": run.name, "set": told["set"], "leaks": told["copies"] > 1, "cells": found["cells"],
                     "accuracy": found["accuracy"], "low": low, "high": high, "f1": found["f1_macro"],
                     "sds": found["sds"], "ece": found["ece"], "judged": _judged(run),
                     "key": (told["data_sha256"], told["copies"])})  # fmt: skip
    rows.sort(key=lambda row: (row["key"], -row["accuracy"]))
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        first = best.setdefault(row["key"], row)
        row["against"] = "the best" if row is first else _against(first["judged"], row["judged"])
    return rows


def _judged(run: Path) -> Judged:
    """Return of each judged row whether it was named right, and its group."""
    lines = (run / "predictions.csv").read_text(encoding="utf-8").splitlines()
    classes = lines[0].split(",")[6:]
    judged = {}
    for line in lines[1:]:
        (
            row,
            *head,
        ) = line.rsplit(",", len(classes))[0].split(",")
        prob = np.array(line.rsplit(",", len(classes))[1:], float)
        judged[int(row)] = (classes[int(prob.argmax())] == head[-1], head[-3])
    return judged


def _against(best: Judged, other: Judged) -> str:
    shared = sorted(best.keys() & other.keys())
    if not shared:
        return "no cell in common"
    a, b = (np.array([judged[i][0] for i in shared]) for judged in (best, other))
    low, high = difference(a, b, [best[i][1] for i in shared])
    told = "not told apart" if low <= 0 <= high else "told apart"
    return f"{100 * (a.mean() - b.mean()):+.2f} points ({100 * low:+.2f} to {100 * high:+.2f}): {told}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the comparison as Markdown."""
    lines = ["| run | set | cells | accuracy | 95 % | F1 | SDS | ECE | against the best |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        sds = "" if row["sds"] is None else f"{100 * row['sds']:.2f} %"
        lines.append(f"| {row['name']}{' (leaks)' if row['leaks'] else ''} | {row['set']} | {row['cells']} | "
                     f"{100 * row['accuracy']:.2f} % | {100 * row['low']:.2f} to {100 * row['high']:.2f} | "
                     f"{100 * row['f1']:.2f} % | {sds} | {100 * row['ece']:.2f} % | {row['against']} |")  # fmt: skip
    return "\n".join(lines) + "\n"
