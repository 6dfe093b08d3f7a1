"""The page of figures, `docs/measurements/accuracy.md`, written from a run's `evaluation.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import ModelError
from edge.screening.calls import platt_scaled

HEAD = """# How accurate the shipped models are

`sicklescope-train report RUN_DIR --page docs/measurements/accuracy.md` writes this page from what
`sicklescope-train evaluate RUN_DIR` measured. For Research Use Only. Not for use in diagnostic procedures.

- All pictures go through the device's own pipeline, with pixel size `auto`.
- *Out of fold*: a field is read by a detector and a classifier that were trained on the other three folds. The sickle
  threshold is chosen on the other folds too, on probabilities of networks that were trained on the fold that is
  judged; a fully nested run would avoid that.
- The shipped pair is trained on all folds. Only `txl_pbc` validation shows slides that it has not seen.
- Intervals are 95 %, by bootstrap over groups of fields of one place (for `txl_pbc`: over pictures), or Wilson's where
  stated.
- A field or a group is not a patient. No figure is a sensitivity or specificity for the disease.
- Three figures rest on incomplete labels and were checked by eye: [`checks-by-eye.md`](checks-by-eye.md).
- All elliptocytes of `chula_rbc12` come from one slide, which is one patient.
"""

TITLES = {
    "detection": ("Cells found: `txl_pbc` validation, the shipped pair, border kept, no quality gate",
                  "readings/txl-val.jsonl"),
    "counts": ("Red cells counted: `chula_rbc12`, out of fold, mean of the series", "readings/fold*.jsonl"),
    "sickle": ("Sickle cells: `uganda_scd` and `chula_rbc12`, out of fold", "readings/fold*.jsonl"),
    "curve": ("Recall where all folds share the threshold that just realises a rate of false calls",
              "readings/fold*.jsonl"),
    "mimics": ("Cells of `chula_rbc12` called sickle, by their label, out of fold (Wilson's interval)",
               "readings/fold*.jsonl"),
    "sickle_free": ("Sets without sickle cells and labels, out of fold, elliptocytosis apart", "readings/fold*.jsonl"),
    "field_score": ("AUC of the field score, `uganda_scd`, out of fold, one picture a group",
                    "readings/fold*.jsonl, grey-*.jsonl, painted-*.jsonl"),
    "transfer": ("Against data-set identity, out of fold, thresholds as above",
                 "readings/pasted-*.jsonl, as-chula-*.jsonl, as-uganda-*.jsonl"),
    "novelty": ("Refused as unlike anything seen in training: fields, and single cells",
                "readings/fold*.jsonl, txl-val.jsonl"),
    "calibration": ("Is the sickle probability one? `uganda_scd` and `chula_rbc12`, out of fold, cells of known truth",
                    "readings/fold*.jsonl"),
    "abstention": ("Error against coverage: the same cells, those in most doubt left out first",
                   "readings/fold*.jsonl"),
    "in_silico": ("Simulated samples of `uganda_scd`, out of fold: in silico, not EP17-compliant",
                  "readings/fold*.jsonl"),
    "look": ("`erythrocytes_idb1` as single cells of 0.15 µm/px, everything frozen (`--look`)", "the crops themselves"),
    "folds": ("Each fold", "readings/fold*.jsonl"),
}  # fmt: skip
"""Sections in their order, with what is counted and from which files of the run."""

NOTES = {
    "sickle": "Not every sickle cell of a positive field has a box. So calls outside all boxes are given as a share "
    "of the red cells of these fields; `checks-by-eye.md` says how many of them are sickle cells.",
    "calibration": "Not sickle: red cells of negative fields and labelled cells of `chula_rbc12`. Sickle: the cell "
    "nearest to the middle of a box. Unboxed cells of positive fields are left out, so 2 % of these cells are sickle; "
    "a probability holds for such a mix. ECE (Guo et al. 2017) has 15 bins of equal width. Chance alone gives an "
    "ECE above zero: `if exact` is what exact probabilities would get from as many cells, with 95 % of the draws. The "
    "bootstrap interval contains this noise twice and lies high. The published probability is the network's with its "
    "log odds multiplied and shifted by numbers chosen on the other folds. `of the networks` is the network's own, "
    "which decides classes and abstention.",
    "abstention": "Error: a cell on the wrong side of sickle / not sickle. As shipped: the part of cells that the "
    "device names, the error among those, and the part of the others that would have been on the wrong side.",
    "in_silico": "Terms of CLSI EP17-A2; how it was simulated: `training/evaluate/simulated_samples.py`. "
    "*Limit of detection* and *fraction said to be above blank*: "
    "the smallest true fraction at which 95 % of samples have more calls than the "
    "limit of blank of samples, or that the device says `above_blank` of, by the contract's limit, which is that of "
    "single groups. For sickle cells as plain as those that a person boxed, in fields of ten groups.",
}
"""What must be known to read a section."""

ASKED = {
    ("detection", "f1_rbc"): "≥ 0.96", ("detection", "f1_wbc"): "≥ 0.99", ("detection", "f1_platelet"): "≥ 0.88",
    ("detection", "recall_touching"): "≥ 0.9",
    ("counts", "count_error_absolute"): "≤ 5 %", ("sickle", "recall"): "≥ 0.92",
    ("sickle", "boxes_called_or_abstained"): "≥ 0.97", ("sickle", "abstained_negative_fields"): "≤ 0.8 %",
    ("sickle", "false_calls_negative_fields"): "≤ 0.2 %", ("sickle", "false_calls_chula_normal"): "≤ 0.3 %",
    ("curve", "recall_at_0.1_percent"): "≥ 0.85",
    **{("mimics", name): "≤ 1 %" for name in ("schistocyte", "ovalocyte", "elliptocyte", "teardrop", "burr")},
    ("field_score", "auc_colour"): "stretch 0.98", ("field_score", "auc_grey_matched"): "stretch 0.96",
    ("field_score", "auc_sickle_cells_painted_over"): "about 0.5",
    ("transfer", "pasted_found"): "≥ 0.85", ("transfer", "recall_lost"): "≤ 0.05",
    ("transfer", "normal_calls_with_uganda_look"): "≤ 0.3 %",
    ("calibration", "ece"): "≤ 0.02", ("calibration", "ece_above_0.05"): "≤ 0.02",
    **{("look", name): "≥ 0.95, and above 0.96, what the mask's aspect ratio gives"
       for name in ("balanced_accuracy", "balanced_accuracy_in_grey")},
}  # fmt: skip
"""What issue and data README ask of a figure, by section and name."""

PER_CENT = (
    "abstained_neg",
    "refused",
    "not_named",
    "calls",
    "error",
    "limit_of",
    "above_blank",
    "risk",
    "coverage",
    "wrong",
)
"""Figures with one of these words in their name are shown in per cent, and so are all mimics."""


def markdown(path: Path) -> str:
    """Return the figures of an `evaluation.json` as Markdown.

    Raises ModelError when there is none.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {error}. Measure first: sicklescope-train evaluate RUN_DIR"
        ) from error
    lines = [HEAD, *_one_detector(content), *_thresholds(content)]
    for section, (title, source) in TITLES.items():
        rows = content["figures"].get(section)
        if rows:
            said = f"`sicklescope-train evaluate RUN_DIR`, counted from `{source}`."
            lines += [f"## {title}", "", *([NOTES[section], ""] if section in NOTES else []), said, ""]
            lines += ["| figure | value | 95 % interval | asked | counted |", "|---|---|---|---|---|"]
            lines += [_row(section, name, figure) for name, figure in rows.items()]
            lines.append("")
    return "\n".join(lines)


def _one_detector(content: dict[str, Any]) -> list[str]:
    """Say that all folds were read by one detector, where they were."""
    digests = [digest for name, digest in content["weights"].items() if name.startswith("detector-")]
    if len(digests) < 2 or len(set(digests)) > 1:
        return []
    return [
        "**One detector read all folds, and was trained on them**: here *out of fold* holds for the classifier alone. "
        "Where cells are found is in sample.",
        "",
    ]


def _thresholds(content: dict[str, Any]) -> list[str]:
    target, blank = 100 * content["target_rate"], 100 * content["limit_of_blank"]
    by_fold = ", ".join(f"{name} {value:.4f}" for name, value in content["thresholds"].items() if name != "shipped")
    return [
        f"Sickle threshold of the shipped pair: **{content['thresholds']['shipped']:.4f}**; of the folds: {by_fold}. "
        f"Chosen for a rate of false calls of {target:.2g} % on the other folds' negative fields and normal cells. "
        f"Limit of blank of the contract (95th percentile of single negative groups): {blank:.2f} %.",
        "",
        _log_odds(content),
        "",
    ]


def _log_odds(content: dict[str, Any]) -> str:
    def said(name: str) -> str:
        (factor, shift), limit = content["log_odds"][name], content["thresholds"][name]
        return f"{factor:.3f}, {shift:+.3f}, {float(platt_scaled(np.array(limit), (factor, shift))):.2f}"

    folds = "; ".join(f"{name} {said(name)}" for name in content["log_odds"] if name != "shipped")
    return (
        "Factor and shift of the log odds that calibrate the sickle probability, and the calibrated probability at the "
        f"threshold: **{said('shipped')}**; of the folds: {folds}."
    )


def _row(section: str, name: str, figure: dict[str, Any]) -> str:
    said = f"| {name.replace('_', ' ')} | "
    end = f" | {ASKED.get((section, name), '')} | {figure['counted']} |"
    if figure["value"] is None:
        return f"{said}none | none{end}"
    if section == "mimics" or any(word in name for word in PER_CENT):
        value, low, high = (f"{100 * figure[k]:.2f}" for k in ("value", "low", "high"))
        return f"{said}{value} % | {low} to {high} %{end}"
    value, low, high = (f"{figure[k]:.3f}" for k in ("value", "low", "high"))
    return f"{said}{value} | {low} to {high}{end}"
