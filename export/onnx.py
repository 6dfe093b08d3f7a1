"""Traced network → ONNX file with its contract: opset 17, IR 8, checked, and compared with the framework.

`training` saves a network as a TorchScript file that takes uint8 NHWC pixels; nothing of `training` is imported here.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from edge.errors import ModelError
from edge.runtime.contract import NOVELTY, Contract
from edge.runtime.onnx import cpu_session
from edge.types import Pixels
from export.graph import IR_VERSION, OPSET, cast_first, fold, seal

PARITY_MAX = 1e-3
"""Largest difference of a probability between framework and ONNX Runtime."""

AXES = {
    "detector": {"pixels": {0: "n", 1: "height", 2: "width"}, "peaks": {0: "n", 2: "rows", 3: "columns"},
                 "sides": {0: "n", 2: "rows", 3: "columns"}},
    "classifier": {"pixels": {0: "n"}, "prob": {0: "n"}, NOVELTY: {0: "n"}},
}  # fmt: skip
"""Axes whose length is open, by role and by name of what goes in and comes out."""


def export_onnx(traced: Path, contract: Contract, samples: Pixels, target: Path) -> float:
    """Write `target` from a TorchScript file and compare both on `samples`.

    Returns the largest difference of probabilities.

    samples: uint8 (N, H, W, 3), real pictures. The contract's graph_sha256 is filled in. Raises ModelError when the
    difference exceeds PARITY_MAX; then nothing is written.
    """
    aside = target.with_suffix(".part")
    try:
        with warnings.catch_warnings():
            # The TorchScript exporter is the only one that writes opset 17: the newer one starts at 18, and ONNX's
            # converter cannot bring its graphs back (docs/decisions).
            warnings.simplefilter("ignore")
            network = torch.jit.load(str(traced)).eval()
            open_axes = {name: AXES[contract.role][name] for name in ("pixels", *contract.outputs)}
            torch.onnx.export(network, (torch.from_numpy(samples[:1]),), str(aside), opset_version=OPSET, dynamo=False,
                              input_names=["pixels"], output_names=list(contract.outputs),
                              dynamic_axes=open_axes)  # fmt: skip
        model = onnx.load(str(aside))
        model.ir_version = IR_VERSION
        cast_first(model)
        fold(model)
        onnx.checker.check_model(model, full_check=True)
        difference = parity(network, model, samples)
        if difference > PARITY_MAX:
            raise ModelError(
                f"{target} differs from the trained network by {difference:.2g}; at most {PARITY_MAX:g} is allowed. "
                "Nothing was written"
            )
        seal(model, contract, figures(difference, len(samples)))
        onnx.save(model, str(aside))
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return difference


def figures(difference: float, pictures: int) -> dict[str, str]:
    """Return the metadata that say how well a file agrees with its source.

    With the number of pictures compared.
    """
    return {"sicklescope.parity": f"{difference:.3g}", "sicklescope.parity_pictures": str(pictures)}


def parity(network: torch.jit.ScriptModule, model: onnx.ModelProto, samples: Pixels) -> float:
    """Return the largest difference of probabilities from ONNX Runtime's.

    Of the first output.
    """
    session = cpu_session(model.SerializeToString(), "the exported model")
    found = session.run(None, {"pixels": samples})[0]
    with torch.inference_mode():
        answer = network(torch.from_numpy(samples))
    wanted = (answer[0] if isinstance(answer, tuple) else answer).numpy()
    return float(np.abs(wanted - found).max())
