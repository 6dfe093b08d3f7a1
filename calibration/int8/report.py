"""What is written beside an INT8 model: figures as JSON, and a page for people."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from calibration.int8.agreement import Agreement
from calibration.int8.gate import Limits, Measured, Verdict


def as_json(verdict: Verdict, limits: Limits, model_sha256: str, more: dict[str, Any]) -> str:
    """Return the report on the file of that digest.

    `passed`, `model_sha256` and `created` let a device install it.
    """
    content = {
        "passed": verdict.passed,
        "model_sha256": model_sha256,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sicklescope": version("sicklescope"),
        "reasons": verdict.reasons,
        "limits_points": {
            "recall": limits.recall, "f1": limits.f1, "false_calls": limits.false_calls, "changed": limits.changed
        },
        "gate": verdict.figures(),
        **more,
    }  # fmt: skip
    return json.dumps(content, indent=1) + "\n"


def as_markdown(title: str, verdict: Verdict, limits: Limits, more: dict[str, Any]) -> str:
    """Return the page."""
    said = "**passed**" if verdict.passed else "**refused**: " + "; ".join(verdict.reasons)
    changed = 100 * verdict.changed / max(1, verdict.cells)
    lines = [
        f"# INT8 gate: {title}",
        "",
        "For Research Use Only. Not for use in diagnostic procedures.",
        "",
        f"{said}. Ranges: {more['method']}.",
        f"In higher precision: {', '.join(more['kept']) or 'no layer'}.",
        f"Thresholds, fp32 → INT8: {more['thresholds']}.",
        "",
        "| figure | fp32 | INT8 | allowed, points |",
        "|---|---|---|---|",
        *_rows(verdict.fp32, verdict.int8, limits),
        f"| cells that change class | | {changed:.2f} % ({verdict.changed} of {verdict.cells}) | {limits.changed:g} |",
        "",
        "## INT8's calls against those of fp32",
        "",
        "| class | fp32 | INT8 | recall | precision |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {row['fp32']} | {row['int8']} | {_share(row['recall'])} | {_share(row['precision'])} |"
            for name, row in verdict.classes.items()
        ),
        "",
        "## Agreement with fp32 on pictures kept apart, by method",
        "",
        *_agreements(more["methods"], "method"),
        "",
        "## Layers, each quantised alone, the worst first",
        "",
        *_agreements(more["layers"], "layer"),
    ]
    return "\n".join(lines) + "\n"


def _rows(fp32: Measured, int8: Measured, limits: Limits) -> list[str]:
    def cell(part: int, whole: int) -> str:
        return f"{100 * part / max(1, whole):.2f} % ({part} of {whole})"

    f1 = ["not labelled" if one.f1 is None else f"{one.f1:.4f}" for one in (fp32, int8)]
    return [
        f"| sickle recall | {cell(fp32.found, fp32.boxes)} | {cell(int8.found, int8.boxes)} | {-limits.recall:g} |",
        f"| red-cell F1 | {f1[0]} | {f1[1]} | {-limits.f1:g} |",
        f"| false calls, negative fields | {cell(fp32.false_calls, fp32.negative_cells)} "
        f"| {cell(int8.false_calls, int8.negative_cells)} | +{limits.false_calls:g} |",
        f"| false calls, mimics | {cell(fp32.mimic_calls, fp32.mimic_cells)} "
        f"| {cell(int8.mimic_calls, int8.mimic_cells)} | |",
    ]


def _share(value: float | int | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _agreements(found: dict[str, Any], what: str) -> list[str]:
    rows = [f"| {name} | {100 * one['changed']:.2f} % | {one['drift']:.5f} |" for name, one in found.items()]
    return [f"| {what} | cells that change | mean change |", "|---|---|---|", *rows]


def plain(found: dict[str, Agreement]) -> dict[str, dict[str, float]]:
    """Return agreements as plain values."""
    return {name: {"changed": one.changed, "drift": one.drift, "cells": one.cells} for name, one in found.items()}
