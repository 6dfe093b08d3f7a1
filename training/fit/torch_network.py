"""Trained weights behind the device's network protocol, so that its own pipeline reads with them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.runtime.contract import NOVELTY_MAX, NOVELTY_THRESHOLDS, Contract
from edge.types import CANONICAL_UM_PER_PX, CLASSES, KINDS, Pixels
from training.data.crops import CROP_PX
from training.fit.networks import STRIDE, Classifier, ClassifierGraph, Detector, DetectorGraph
from training.fit.thresholds import ABSTAIN, FLOOR, SECOND_LOOK


class TorchNetwork:
    """Trained weights in place of an ONNX file; see edge.runtime.base.Network."""

    def __init__(self, net: Detector | Classifier, sha256: str = "", temperature: float = 1.0) -> None:
        self.sha256, self.runtime = sha256, f"torch {torch.__version__} cpu"
        self._outputs: tuple[str, ...]
        self._graph: nn.Module
        if isinstance(net, Detector):
            role, size, thresholds = "detector", STRIDE, {"score": FLOOR}
            classes: tuple[str, ...] = KINDS
            self._graph, self._outputs = DetectorGraph(net).eval(), ("peaks", "sides")
        else:
            role, classes, size = "classifier", CLASSES, CROP_PX
            thresholds = {"sickle": 0.5, "abstain": ABSTAIN, "second_look": SECOND_LOOK}
            # Asked for, and not judged by yet: the highest that a contract may set.
            thresholds |= dict.fromkeys(NOVELTY_THRESHOLDS, NOVELTY_MAX)
            self._graph, self._outputs = ClassifierGraph(net, temperature).eval(), ("prob", "novelty")
        self.contract = Contract.model_validate(
            {
                "role": role, "name": f"sicklescope-{role}", "version": "0", "classes": classes, "size": size,
                "um_per_px": CANONICAL_UM_PER_PX, "thresholds": thresholds, "temperature": temperature,
                "graph_sha256": "",
            }
        )  # fmt: skip

    def __call__(self, batch: Pixels) -> dict[str, NDArray[np.float32]]:
        """Run the network on uint8 (N, H, W, 3)."""
        with torch.inference_mode():
            answer = self._graph(torch.from_numpy(np.ascontiguousarray(batch)))
        arrays = [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]
        return dict(zip(self._outputs, arrays, strict=True))

    def close(self) -> None:
        """Give memory back: Python does."""
