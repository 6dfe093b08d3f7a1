"""A network as a TensorRT engine: found or built, checked against ONNX Runtime, and run on two streams."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EngineError, EngineRefusedError, ModelError
from edge.runtime.base import Source
from edge.runtime.contract import Contract
from edge.runtime.onnx import OnnxNetwork
from edge.runtime.parity import check, compared, golden_pictures
from edge.runtime.tensorrt.cuda import Buffer, Gpu, cuda_driver
from edge.runtime.tensorrt.engine_builder import (
    INPUT,
    PROFILES,
    Profile,
    build,
    logger_of,
    remedy,
    said,
    tensorrt_module,
)
from edge.runtime.tensorrt.engine_cache import EngineKey, EngineStore
from edge.types import Pixels

log = logging.getLogger(__name__)

Outputs = dict[str, NDArray[np.float32]]

ENGINES = "engines"
"""Folder under device.state_dir."""

LANES = 2
"""Streams: while one batch is computed, the next is copied in and the one before is copied out."""


class TensorRtNetwork:
    """A network run by TensorRT; see edge.runtime.base.Network.

    The memory that the GPU reads and writes belongs to this object and is used again in the next call; what a call
    returns is a copy of it and the caller's own.
    """

    def __init__(self, source: Source) -> None:
        trt = tensorrt_module()
        self._gpu = gpu = Gpu(cuda_driver())
        self.runtime, self.sha256 = f"tensorrt {trt.__version__}", source.sha256
        self._runner: Runner | None = None
        try:
            reference = OnnxNetwork(source)
            self.contract = reference.contract
            try:
                self._runner, precision = _obtained(trt, gpu, source, reference)
            finally:
                reference.close()
        except BaseException:
            gpu.detach()
            raise
        self.runtime += f" {precision} on {gpu.name}"

    def __call__(self, batch: Pixels) -> Outputs:
        """Run the network on uint8 (N, H, W, 3); a batch larger than the engine's is split."""
        if self._runner is None:
            raise EngineError("the network was closed")
        return self._runner(batch)

    def close(self) -> None:
        """Give the GPU's memory back."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
            self._gpu.detach()


def _obtained(trt: Any, gpu: Gpu, source: Source, reference: OnnxNetwork) -> tuple[Runner, str]:
    """Load the engine for this file, GPU and release, or build it; either way it has agreed with ONNX Runtime."""
    settings, profile = source.models.tensorrt, PROFILES[reference.contract.role]
    key = EngineKey(
        role=reference.contract.role,
        model_sha256=source.sha256,
        tensorrt=f"{trt.__name__} {trt.__version__}",
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        precision=source.models.precision,
        shapes=f"{profile.low} {profile.usual} {profile.high}",
        settings=settings.model_dump_json(),
    )
    store = EngineStore(source.state_dir / ENGINES)
    waiting = f"{source.path.name}: another sicklescope builds this engine; waiting for it"
    with store.locked(reference.contract.role, lambda: source.progress(waiting)):
        found = store.load(key)
        if found is not None:
            engine, precision = found
            try:
                runner = Runner(trt, gpu, engine, profile, reference.contract.outputs)
                _golden(runner, reference, precision, f"the engine {store.path(key)}")
                return runner, precision
            except EngineRefusedError:
                raise
            except EngineError as error:  # built for another machine, or damaged in a way its digest does not show
                log.warning("%s cannot be loaded and is built again: %s", store.path(key), error)
        return _built(trt, gpu, source, reference, store, key, profile)


def _built(
    trt: Any, gpu: Gpu, source: Source, reference: OnnxNetwork, store: EngineStore, key: EngineKey, profile: Profile
) -> tuple[Runner, str]:
    models = source.models
    begun = time.monotonic()
    with gpu.current(f"building the engine of {source.path.name}"):
        built = build(
            trt, source.path.name, source.path.read_bytes(), profile, models.precision, models.tensorrt,
            store.timing_cache(key), source.progress,
        )  # fmt: skip
    build_s = time.monotonic() - begun
    for warning in built.warnings:
        log.info("%s: %s", source.path.name, warning)
    runner = Runner(trt, gpu, built.engine, profile, reference.contract.outputs)
    try:
        golden = _golden(runner, reference, built.precision, f"the engine built from {source.path.name}")
        store.save(key, built.engine, built.precision, build_s, golden)
        store.save_timing_cache(key, built.timing_cache)
    except BaseException:
        runner.close()
        raise
    return runner, built.precision


def _golden(runner: Runner, reference: OnnxNetwork, precision: str, what: str) -> dict[str, float]:
    """Compare an engine with ONNX Runtime; closes it and raises EngineRefusedError when they differ."""
    contract: Contract = reference.contract
    pictures = golden_pictures(contract)
    try:
        differences = compared(runner(pictures), reference(pictures), contract.thresholds)
        check(differences, precision, what)
    except BaseException:
        runner.close()
        raise
    return differences


class Runner:
    """A loaded engine with the buffers of its lanes. One thread at a time calls it.

    Any thread may.
    """

    def __init__(self, trt: Any, gpu: Gpu, engine: bytes, profile: Profile, outputs: tuple[str, ...]) -> None:
        """Load a serialised engine; raises EngineError when it fits not this release or GPU, or memory is short."""
        self._trt, self._gpu, self._profile, self._outputs = trt, gpu, profile, outputs
        self._lanes: list[_Lane] = []
        logger_of(trt).messages = []
        with ExitStack() as undo, gpu.current("loading the engine"):
            self._engine = trt.Runtime(logger_of(trt)).deserialize_cuda_engine(engine)
            if self._engine is None:
                raise EngineError(f"the engine does not fit TensorRT {trt.__version__} here: {remedy(said(trt))}")
            _check_tensors(trt, self._engine, outputs)
            for _ in range(LANES):
                lane = _Lane(trt, gpu, self._engine, profile, self._outputs)
                undo.callback(lane.free)
                self._lanes.append(lane)
            undo.pop_all()

    def __call__(self, batch: Pixels) -> Outputs:
        """Run a batch of any size in parts the engine takes, one part computed while its neighbours are copied."""
        _check_shape(batch, self._profile)
        most = self._profile.high[0]
        results: Outputs = {}
        with self._gpu.current(f"running a batch of {batch.shape}"), ExitStack() as after:
            for lane in self._lanes:
                after.callback(lane.drop)  # after an error: the next call must not take what is left for its own
            for begin in range(0, len(batch), most):
                lane = self._lanes[begin // most % LANES]
                lane.collect(results, len(batch))
                lane.start(batch[begin : begin + most], begin)
            for lane in self._lanes:
                lane.collect(results, len(batch))
        return results

    def close(self) -> None:
        """Free streams, buffers and engine."""
        with self._gpu.current("closing the engine"):
            while self._lanes:
                self._lanes.pop().free()
            self._engine = None


class _Lane:
    """One stream with an execution context, buffers for the largest batch, and at most one batch on its way."""

    def __init__(self, trt: Any, gpu: Gpu, engine: Any, profile: Profile, outputs: tuple[str, ...]) -> None:
        self._trt, self._gpu = trt, gpu
        self.begin = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._buffers: dict[str, Buffer] = {}
        self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"no execution context: {remedy(said(trt))}")
        self._stream = gpu.driver.Stream()
        sizes = {INPUT: int(np.prod(profile.high))}
        self._set_shape(profile.high)
        sizes |= {name: 4 * int(np.prod(self._shape(name))) for name in outputs}
        try:
            for name, size in sizes.items():
                self._buffers[name] = buffer = Buffer(gpu, size)
                self._context.set_tensor_address(name, buffer.address)
        except BaseException:
            self.free()
            raise

    def start(self, part: Pixels, begin: int) -> None:
        """Begin to copy, compute and copy back; returns at once."""
        self._set_shape(part.shape)
        given = self._buffers[INPUT]
        given.host[: part.size] = part.reshape(-1)
        given.to_gpu(part.size, self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineError(f"the engine did not run: {remedy(said(self._trt))}")
        shapes = {name: self._shape(name) for name in self._buffers if name != INPUT}
        for name, shape in shapes.items():
            self._buffers[name].from_gpu(4 * int(np.prod(shape)), self._stream)
        self.begin, self._shapes = begin, shapes

    def collect(self, results: Outputs, total: int) -> None:
        """Wait for what was started, and copy it to its place among `total` answers."""
        shapes, self._shapes = self._shapes, {}
        if not shapes:
            return
        self._stream.synchronize()
        for name, shape in shapes.items():
            found = self._buffers[name].host[: 4 * int(np.prod(shape))].view(np.float32).reshape(shape)
            whole = results.setdefault(name, np.empty((total, *shape[1:]), np.float32))
            whole[self.begin : self.begin + shape[0]] = found

    def drop(self) -> None:
        """Forget what was started and not collected, once the GPU has done with the buffers."""
        if self._shapes:
            self._shapes = {}
            self._stream.synchronize()

    def free(self) -> None:
        """Give the buffers back; the lane cannot be used again."""
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers = {}
        self._context = None

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        if not self._context.set_input_shape(INPUT, shape):
            raise EngineError(f"the engine does not take {shape}: {said(self._trt)}")

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))


def _check_tensors(trt: Any, engine: Any, outputs: tuple[str, ...]) -> None:
    """Raise ModelError unless the engine takes pixels as uint8 and answers what its contract says as float32."""
    wanted = {INPUT: trt.DataType.UINT8, **dict.fromkeys(outputs, trt.DataType.FLOAT)}
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    found = {name: engine.get_tensor_dtype(name) for name in names}
    if found != wanted:
        raise ModelError(f"the engine has {found}; its contract has {wanted}. Export the model again")


def _check_shape(batch: Pixels, profile: Profile) -> None:
    low, high = profile.low[1:], profile.high[1:]
    sides = zip(low, batch.shape[1:], high, strict=True)
    if len(batch) and all(least <= side <= most for least, side, most in sides):
        return
    raise ModelError(f"a batch of {batch.shape}; this engine takes pictures of {low} to {high}, one or more")
