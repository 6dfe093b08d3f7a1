"""The page of figures, written from `evaluation.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TITLES = {
    "detection": ("Cells found, `txl_pbc` validation", "readings/txl-val.jsonl"),
    "counts": ("Red cells counted, `chula_rbc12`, out of fold, mean of the series", "readings/fold*.jsonl"),
    "sickle": ("Sickle cells, `uganda_scd` and `chula_rbc12`, out of fold", "readings/fold*.jsonl"),
    "mimics": ("Cells of `chula_rbc12` called sickle, by their label (Wilson's interval)", "readings/fold*.jsonl"),
    "curve": ("Recall where all folds share the threshold that just realises a rate", "readings/fold*.jsonl"),
    "field_score": ("AUC of the field score, one picture a group", "readings/*.jsonl"),
    "transfer": ("Against data-set identity", "readings/*.jsonl"),
    "look": ("`erythrocytes_idb1`, everything frozen (`--look`)", "no readings are kept"),
    "folds": ("Each fold", "readings/fold*.jsonl"),
}
"""Sections in their order, with what is counted and from which files of the run."""


def markdown(path: Path) -> str:
    """Return the figures of an `evaluation.json` as Markdown."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    lines = []
    for section, (title, source) in TITLES.items():
        rows = content["figures"].get(section)
        if rows:
            lines += [f"## {title}", "", f"Made by `sicklescope-train evaluate RUN_DIR`, from `{source}`.", ""]
            lines += ["| figure | value | 95 % interval | counted |", "|---|---|---|---|"]
            lines += [f"| {name.replace('_', ' ')} | {_row(figure)} |" for name, figure in rows.items()]
            lines.append("")
    thresholds = ", ".join(f"{name} {value:.4f}" for name, value in content["thresholds"].items())
    target, blank = 100 * content["target_rate"], 100 * content["limit_of_blank"]
    lines += [f"Thresholds, chosen for a rate of {target:.2g} % on the other folds: {thresholds}.",
              f"Limit of blank: {blank:.2f} %.", ""]  # fmt: skip
    return "\n".join(lines)


def _row(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"none | none | {figure['counted']}"
    return f"{figure['value']:.4f} | {figure['low']:.4f}–{figure['high']:.4f} | {figure['counted']}"
