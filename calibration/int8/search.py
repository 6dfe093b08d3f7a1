"""Which ranges are best, which layers suffer most, and which are left in higher precision."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnxruntime.quantization.calibrate import TensorsData

from calibration.int8.agreement import Agreement, InMemoryNetwork, agreement, answers
from calibration.int8.quantise import layers_of, planned, signed
from edge.runtime.contract import Contract
from edge.system.progress_bars import ReportProgress
from edge.types import Pixels

KEPT_MAX = 1 / 3
"""`auto` keeps at most this part of the layers: beyond that INT8 is not worth having."""

SHARE = {"detector": 0.3, "classifier": 1.0}
"""Part of the gate's limit that cells kept apart may change. A box that moves changes what the classifier says of it,
which is not seen here: a detector with 0.30 % here had 0.9 % at the gate, one with 0.55 % 1.27 %.
"""


@dataclass(slots=True)
class Search:
    """Builds INT8 graphs of one network in one form and holds each against fp32.

    pictures: uint8, as the network takes them, none of which the ranges were found on. form: from TensorRT's graph to
    the form.
    """

    model: onnx.ModelProto
    contract: Contract
    ranges: dict[str, TensorsData]
    pictures: Sequence[Pixels]
    form: Callable[[onnx.ModelProto], onnx.ModelProto]
    progress: ReportProgress
    _fp32: list[Any] | None = None

    def of(self, method: str, keep: Collection[str] = ()) -> Agreement:
        """Quantise all layers but `keep` and return how far the form agrees."""
        if self._fp32 is None:
            self._fp32 = answers(InMemoryNetwork(self.model, self.contract), self.pictures)
        network = InMemoryNetwork(self.graph(method, keep), self.contract)
        return agreement(self.contract, self._fp32, answers(network, self.pictures))

    def graph(self, method: str, keep: Collection[str]) -> onnx.ModelProto:
        """Return the graph with all layers but `keep` in INT8."""
        return self.form(signed(self.model, planned(self.model, keep), self.ranges[method]))

    def methods(self, keep: Collection[str] = ()) -> dict[str, Agreement]:
        """Return the agreement of each method, the best first."""
        found = {method: self.of(method, keep) for method in self.ranges}
        return dict(sorted(found.items(), key=lambda item: item[1].drift))

    def layers(self, method: str) -> dict[str, Agreement]:
        """Return the agreement when one layer alone is quantised, by layer.

        That which changes most cells comes first.
        """
        names = layers_of(self.model)
        found = {}
        for i, name in enumerate(names):
            found[name] = self.of(method, [other for other in names if other != name])
            self.progress("layers", i + 1, len(names))
        return dict(sorted(found.items(), key=lambda item: (item[1].changed, item[1].drift), reverse=True))

    def kept(self, method: str, sensitivity: dict[str, Agreement], changed_max: float) -> tuple[str, ...]:
        """Return the layers to keep in higher precision, the worst first.

        So many that the gate should find at most `changed_max` changed.
        """
        changed_max *= SHARE[self.contract.role]
        worst = list(sensitivity)
        keep: list[str] = []
        while len(keep) < int(KEPT_MAX * len(worst)) and self.of(method, keep).changed > changed_max:
            keep.append(worst[len(keep)])
        return tuple(keep)
