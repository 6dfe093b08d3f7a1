"""Trained weights behind the device's network protocol, so that its own pipeline reads with them."""

from __future__ import annotations

import hashlib

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
    """Trained weights in place of an ONNX file; see edge.runtime.base.Network.

    Answers to pictures are remembered until `forget`, so that a field can be read with other settings at no cost.
    """

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
        self._known: dict[bytes, tuple[NDArray[np.float32], ...]] = {}

    def __call__(self, batch: Pixels) -> dict[str, NDArray[np.float32]]:
        """Run the network on those pictures of uint8 (N, H, W, 3) that it has not seen since `forget`."""
        keys = [hashlib.blake2b(picture.tobytes() + repr(picture.shape).encode()).digest() for picture in batch]
        fresh = [i for i, key in enumerate(keys) if key not in self._known]
        if fresh:
            with torch.inference_mode():
                answer = self._graph(torch.from_numpy(np.ascontiguousarray(batch[fresh])))
            arrays = [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]
            self._known |= {keys[i]: tuple(part[row] for part in arrays) for row, i in enumerate(fresh)}
        rows = zip(*(self._known[key] for key in keys), strict=True)
        return {name: np.stack(row) for name, row in zip(self._outputs, rows, strict=True)}

    def forget(self) -> None:
        """Forget the pictures seen."""
        self._known.clear()

    def close(self) -> None:
        """Give memory back."""
        self.forget()
