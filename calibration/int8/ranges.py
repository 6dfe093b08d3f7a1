"""The range of each tensor, by three methods, from one pass over the pictures and in bounded memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization.calibrate import CalibrationMethod, HistogramCollector, TensorsData

from edge.runtime.onnx import cpu_session
from edge.types import Pixels

PERCENTILES = {"percentile 99.999": 99.999, "percentile 99.99": 99.99, "percentile 99.9": 99.9}
"""Part of the values, in percent, that a range by percentile keeps."""

METHODS = ("minmax", "entropy", *PERCENTILES)
"""Ways to choose a range. entropy: least divergence from what was seen (Migacz 2017, "8-bit inference with TensorRT").
"""

BINS, LEVELS = 512, 128
"""Bins of a histogram to begin with, and levels of INT8 that the entropy method maps them to."""


def found_ranges(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    batches: Iterable[Pixels],
    done: Callable[[int], None],
    methods: Sequence[str] = METHODS,
) -> dict[str, TensorsData]:
    """Return the ranges of the tensors by method, from batches of pictures.

    Batches are uint8 (N, H, W, 3).

    ONNX Runtime's own calibrators hold every activation of every picture until they are through; here each batch is
    added to its tensors' histograms and let go, so memory does not grow with the number of pictures.
    """
    session = _observed(model, tensors)
    pixels = session.get_inputs()[0].name
    collector = HistogramCollector("entropy", False, BINS, LEVELS, 99.99, "same")
    said = io.StringIO()  # the collector prints a line for every batch
    for i, batch in enumerate(batches):
        answers = session.run(list(tensors), {pixels: batch})
        with contextlib.redirect_stdout(said):
            collector.collect(dict(zip(tensors, answers, strict=True)))
        done(i + 1)
    with contextlib.redirect_stdout(said):
        return {method: _data(_by(method, collector)) for method in methods}


def _by(method: str, collector: HistogramCollector) -> dict[str, Any]:
    """Return lowest and highest value of each tensor's range."""
    if method == "minmax":
        return {name: histogram[2:4] for name, histogram in collector.get_histogram_dict().items()}
    if method == "entropy":
        return {name: found[:2] for name, found in collector.compute_entropy().items()}
    collector.percentile = PERCENTILES[method]
    return {name: found[:2] for name, found in collector.compute_percentile().items()}


def _data(ranges: dict[str, Any]) -> TensorsData:
    pairs = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, pairs)


def _observed(model: onnx.ModelProto, tensors: Sequence[str]) -> Any:
    """Return a session that answers inner tensors."""
    open_model = onnx.ModelProto.FromString(model.SerializeToString())
    have = {output.name for output in open_model.graph.output}
    for name in tensors:
        if name not in have:
            open_model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return cpu_session(open_model.SerializeToString(), "the model with its inner tensors")
