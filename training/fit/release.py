"""What training hands to export: the traced network, its contract, and real pictures to compare on."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge.types import CANONICAL_UM_PER_PX, CLASSES, KINDS, Pixels
from training.data.crops import CROP_PX
from training.fit.networks import STRIDE, Classifier, ClassifierGraph, Detector, DetectorGraph
from training.run_folder import write_bytes, write_text

SHIPPED_SETS = ("uganda_scd (DbCL 1.0)", "txl_pbc (MIT)", "chula_rbc12 (MIT)", "krd_wbc (CC BY 4.0)")


def hand_over(
    net: Detector | Classifier, folder: Path, samples: Pixels, version: str, thresholds: dict[str, float], **more: Any
) -> Path:
    """Write a network, its contract and samples into `folder` for export.

    `<role>.pt` (TorchScript), `<role>.json` (contract) and `<role>.npy` (samples uint8 NHWC).

    more: further values of the contract, `temperature` and `limit_of_blank` among them. Returns the `.pt`, which is
    written last. Raises StorageError.
    """
    graph: nn.Module
    classes: tuple[str, ...]
    if isinstance(net, Detector):
        role, size, classes = "detector", STRIDE, KINDS
        graph = DetectorGraph(net)
    else:
        role, size, classes = "classifier", CROP_PX, CLASSES
        graph = ClassifierGraph(net, float(more.get("temperature", 1.0)))
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing is what the opset-17 exporter reads; see export/onnx.py
        traced = torch.jit.trace(graph.eval().requires_grad_(False), torch.from_numpy(samples[:1]))
    contract = {
        "role": role, "name": f"sicklescope-{role}", "version": version, "classes": classes,
        "um_per_px": CANONICAL_UM_PER_PX, "size": size, "thresholds": thresholds, "training_data": SHIPPED_SETS, **more,
    }  # fmt: skip
    write_text(folder / f"{role}.json", json.dumps(contract, indent=2) + "\n")
    pictures, weights = io.BytesIO(), io.BytesIO()
    np.save(pictures, samples)
    write_bytes(folder / f"{role}.npy", pictures.getvalue())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(traced, weights)
    write_bytes(folder / f"{role}.pt", weights.getvalue())
    return folder / f"{role}.pt"
