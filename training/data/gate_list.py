"""The labelled pictures on which `sicklescope-calibrate int8` holds a network against its INT8 form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from training.data.datasets import LabelledField, digest, read_chula, read_txl, read_uganda

EVERY_OF_TXL = 3
"""Every so many of the validation pictures of `txl_pbc` are enough to tell an F1 by half a point."""

KINDS = {"chula_rbc12": "mimics", "txl_pbc": "unlabelled"}


def gate_list(root: Path, choose: int, measure: int) -> str:
    """Return the JSON lines of a gate list; raises DataError when a set is absent.

    Of Uganda and Chula, fold `choose` is for choosing thresholds and fold `measure` for measuring, so no place is in
    both; validation pictures of `txl_pbc` measure how red cells are found.
    """
    parts = {choose: "choose", measure: "measure"}
    fields = [f for f in (*read_uganda(root), *read_chula(root)) if f.fold in parts]
    return "".join(_lines([*fields, *read_txl(root, "val")[::EVERY_OF_TXL]], parts))


def _lines(fields: Sequence[LabelledField], parts: dict[int, str]) -> list[str]:
    lines = []
    for one in fields:
        entry = {
            "picture": str(one.path.resolve()),
            "sha256": digest(one.path),
            "kind": KINDS.get(one.dataset, one.label),
            "part": parts.get(one.fold, "measure"),
            "group": one.group,
            "fold": one.fold,
            "sickle": one.boxes[~one.partial].tolist() if one.dataset == "uganda_scd" else [],
            "red_cells": one.boxes[one.kinds == 0].tolist() if one.dataset == "txl_pbc" else [],
        }
        lines.append(json.dumps(entry) + "\n")
    return lines
