"""A model file in half precision, compared with the one it was made from."""

from __future__ import annotations

from pathlib import Path

import onnx

from edge.errors import ModelError
from edge.runtime.onnx import cpu_session
from edge.runtime.parity import LIMITS, compared, golden_pictures
from edge.system.atomic_files import aside, move
from export.graph import halved, read, seal

MADE_FROM = "sicklescope.made_from"
"""Metadata: digest of the graph that this one was made from."""


def write_half(source: Path, target: Path) -> dict[str, float]:
    """Write the half-precision twin of `source` and compare both.

    Returns the largest difference of each answer.

    Raises ModelError, and writes nothing, when an answer differs by more than half precision may.
    """
    model, contract = read(source)
    half = halved(model)
    pictures = golden_pictures(contract)
    answers = []
    for each in (half, model):
        session = cpu_session(each.SerializeToString(), f"{source} or its half")
        names = [output.name for output in session.get_outputs()]
        answers.append(dict(zip(names, session.run(None, {session.get_inputs()[0].name: pictures}), strict=True)))
    differences = compared(answers[0], answers[1], contract.thresholds)
    limits = LIMITS["fp16"]
    wrong = {name: value for name, value in differences.items() if not value <= limits[name]}
    if wrong:
        raise ModelError(f"{source} in half precision differs by {wrong}; at most {limits}. Nothing was written")
    figures = {f"sicklescope.half_{name}": f"{value:.3g}" for name, value in differences.items()}
    seal(half, contract, {MADE_FROM: contract.graph_sha256, **figures})
    with aside(target.parent) as unfinished:
        onnx.save(half, str(unfinished / target.name))
        move(unfinished / target.name, target)
    return differences
