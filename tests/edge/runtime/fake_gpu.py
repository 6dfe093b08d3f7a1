"""A GPU that nobody has: TensorRT and pycuda in memory, with the names and arguments of the real ones.

An engine here is the ONNX file itself, run by ONNX Runtime when its stream is waited for. `test_bindings.py`
checks each method against bindings.json. One instance is one machine; its counters say what was done.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort


class Module(SimpleNamespace):
    """A module can be a key; a plain namespace cannot."""

    def __hash__(self) -> int:  # type: ignore[override]  # a namespace has None here
        return id(self)


class Names(IntEnum):
    """Members whose values only need to differ."""

    STRONGLY_TYPED = 1
    TF32 = 2
    GPU_FALLBACK = 3
    WORKSPACE = 4
    DLA = 5
    QUANTIZE = 6
    DEQUANTIZE = 7
    CONVOLUTION = 8
    UINT8 = 9
    FLOAT = 10
    HALF = 11
    FP16 = 12
    INT8 = 13
    EXPLICIT_BATCH = 14
    INTEGRATED = 15
    CAN_MAP_HOST_MEMORY = 16


class Severity(IntEnum):
    """As ILogger.Severity."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class CudaError(Exception):
    """pycuda.driver.Error."""


class CudaMemoryError(CudaError):
    """pycuda.driver.MemoryError."""


class CudaLogicError(CudaError):
    """pycuda.driver.LogicError."""


class CudaLaunchError(CudaError):
    """pycuda.driver.LaunchError."""


class FakeGpu:
    """The machine: its memory, what is current in each thread, and how it is made to fail."""

    def __init__(self, integrated: bool = False, name: str = "Fake GPU", version: str = "10.3.0") -> None:
        self.integrated, self.name, self.version = integrated, name, version
        self.memory: dict[int, np.ndarray[Any, Any]] = {}
        self.pinned = 0
        self.builds = 0
        self.calls: list[str] = []
        self.contexts: dict[int, int] = {}
        self.fail: dict[str, Callable[[], None]] = {}
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda outputs: outputs
        self.plan_is_none = False
        self.strong = True
        self._addresses = itertools.count(0x1000, 0x1000)
        self.driver, self.trt = driver_of(self), tensorrt_of(self)

    def did(self, what: str) -> None:
        """Note a call, fail if it is to fail, and insist on a current context as CUDA does."""
        self.calls.append(what)
        if what not in ("retain", "push", "pop", "detach") and not self.contexts.get(threading.get_ident()):
            raise CudaLogicError(f"{what} failed: invalid device context")
        if what in self.fail:
            self.fail[what]()

    def place(self, size: int) -> int:
        """Allocate and return an address."""
        address = next(self._addresses)
        self.memory[address] = np.zeros(size, np.uint8)
        return address


def driver_of(gpu: FakeGpu) -> Any:
    """Return what stands for pycuda.driver."""

    class Context:
        def push(self) -> None:
            gpu.did("push")
            gpu.contexts[threading.get_ident()] = gpu.contexts.get(threading.get_ident(), 0) + 1

        @staticmethod
        def pop() -> None:
            gpu.did("pop")
            gpu.contexts[threading.get_ident()] -= 1

        def detach(self) -> None:
            gpu.did("detach")

    class Device:
        def __init__(self, number: int) -> None:
            assert number == 0

        @staticmethod
        def count() -> int:
            return 1

        def name(self) -> str:
            return gpu.name

        def compute_capability(self) -> tuple[int, int]:
            return 8, 7

        def get_attribute(self, attribute: Names) -> int:
            return int(gpu.integrated)

        def retain_primary_context(self) -> Context:
            gpu.did("retain")
            return Context()

    class Stream:
        def __init__(self, flags: int = 0) -> None:
            gpu.did("stream")
            self.work: list[Callable[[], None]] = []
            self.handle = id(self)
            STREAMS[self.handle] = self

        def synchronize(self) -> None:
            gpu.did("synchronize")
            while self.work:
                self.work.pop(0)()

    class Allocation:
        def __init__(self, size: int) -> None:
            gpu.did("mem_alloc")
            self.address = gpu.place(size)

        def __int__(self) -> int:
            return self.address

        def free(self) -> None:
            del gpu.memory[self.address]

    class HostAllocation:
        def __init__(self, size: int, flags: int) -> None:
            gpu.did("pagelocked_empty")
            self.flags, self.address = flags, gpu.place(size)
            gpu.pinned += 1

        @property
        def __array_interface__(self) -> dict[str, Any]:
            return dict(gpu.memory[self.address].__array_interface__)

        def get_device_pointer(self) -> int:
            assert self.flags, "memory that was not mapped has no address on the GPU"
            return self.address

        def free(self) -> None:
            gpu.pinned -= 1
            del gpu.memory[self.address]

    def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        return np.asarray(HostAllocation(shape, mem_flags))

    def memcpy_htod_async(dest: int, src: Any, stream: Any = None) -> None:
        gpu.did("htod")
        stream.work.append(lambda: gpu.memory[dest].__setitem__(slice(0, src.size), src))

    def memcpy_dtoh_async(dest: Any, src: int, stream: Any = None) -> None:
        gpu.did("dtoh")
        stream.work.append(lambda: dest.__setitem__(slice(None), gpu.memory[src][: dest.size]))

    return SimpleNamespace(
        init=lambda flags=0: gpu.fail.get("init", lambda: None)(),
        Device=Device, Context=Context, Stream=Stream, pagelocked_empty=pagelocked_empty, mem_alloc=Allocation,
        DeviceAllocation=Allocation, PagelockedHostAllocation=HostAllocation, HostPointer=HostAllocation,
        memcpy_htod_async=memcpy_htod_async, memcpy_dtoh_async=memcpy_dtoh_async,
        mem_get_info=lambda: (1 << 30, 2 << 30),
        Error=CudaError, MemoryError=CudaMemoryError, LogicError=CudaLogicError, LaunchError=CudaLaunchError,
        device_attribute=Names, host_alloc_flags=SimpleNamespace(DEVICEMAP=2),
    )  # fmt: skip


STREAMS: dict[int, Any] = {}


def tensorrt_of(gpu: FakeGpu) -> Any:
    """Return what stands for the module tensorrt."""

    class ILogger:
        Severity = Severity

        def __init__(self) -> None:
            pass

    def complain(logger: Any, text: str) -> None:
        logger.log(Severity.ERROR, text)

    class IProgressMonitor:
        def __init__(self) -> None:
            pass

    class ITimingCache:
        def serialize(self) -> bytes:
            return b"timings"

    class IOptimizationProfile:
        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            pass

    class IBuilderConfig:
        def __init__(self) -> None:
            self.builder_optimization_level = 3
            self.progress_monitor: Any = None
            self.flags: set[Names] = set()

        def add_optimization_profile(self, profile: Any) -> int:
            return 0

        def set_memory_pool_limit(self, pool: Names, pool_size: int) -> None:
            pass

        def set_flag(self, flag: Names) -> None:
            self.flags.add(flag)

        def clear_flag(self, flag: Names) -> None:
            pass

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
            return ITimingCache() if serialized_timing_cache in (b"", b"timings") else None

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            return True

    class ILayer:
        type = Names.CONVOLUTION
        num_outputs = 1

        def get_output(self, index: int) -> Any:
            return SimpleNamespace(name="pixels", dtype=Names.FLOAT)

    class INetworkDefinition:
        num_layers = num_inputs = 1
        onnx = b""

        def get_layer(self, index: int) -> ILayer:
            return ILayer()

        def get_input(self, index: int) -> Any:
            return SimpleNamespace(name="pixels", dtype=Names.UINT8)

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            return INetworkDefinition()

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
            gpu.did("build")
            gpu.builds += 1
            config.progress_monitor.phase_start("Building", "", 2)
            config.progress_monitor.step_complete("Building", 0)
            config.progress_monitor.phase_finish("Building")
            if gpu.plan_is_none:
                complain(self._logger, "Error Code 2: OutOfMemory (Requested amount of GPU memory is not available)")
                return None
            return f"{gpu.name} {gpu.version}\n".encode() + network.onnx

    class OnnxParser:
        num_errors = 0

        def __init__(self, network: INetworkDefinition, logger: Any) -> None:
            self._network, self._logger = network, logger

        def parse(self, model: bytes, path: str | None = None) -> bool:
            self._network.onnx = model
            return True

        def get_error(self, index: int) -> Any:
            raise IndexError

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            gpu.did("deserialize")
            head, _, onnx = serialized_engine.partition(b"\n")
            if head != f"{gpu.name} {gpu.version}".encode():
                complain(self._logger, "Error Code 1: Serialization (Version tag does not match)")
                return None
            return ICudaEngine(onnx)

    class ICudaEngine:
        def __init__(self, onnx: bytes) -> None:
            self.session: Any = ort.InferenceSession(onnx, providers=["CPUExecutionProvider"])
            self._names = [x.name for x in (*self.session.get_inputs(), *self.session.get_outputs())]
            self.num_io_tensors = len(self._names)

        def create_execution_context(self) -> IExecutionContext:
            return IExecutionContext(self)

        def get_tensor_name(self, index: int) -> str:
            return str(self._names[index])

        def get_tensor_dtype(self, name: str) -> Names:
            return Names.UINT8 if name == "pixels" else Names.FLOAT

    class IExecutionContext:
        def __init__(self, engine: ICudaEngine) -> None:
            self._session = engine.session
            self._addresses: dict[str, int] = {}
            self._shape: tuple[int, ...] = ()

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            self._shape = tuple(shape)
            return True

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            n, h, w, _ = self._shape
            return {"prob": (n, 6), "novelty": (n,), "peaks": (n, 3, h // 4, w // 4), "sides": (n, 4, h // 4, w // 4)}[
                name
            ]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            gpu.did("execute")
            shape = self._shape

            def run() -> None:
                given = gpu.memory[self._addresses["pixels"]][: int(np.prod(shape))].reshape(shape)
                names = [output.name for output in self._session.get_outputs()]
                found = gpu.answer(dict(zip(names, self._session.run(None, {"pixels": given.copy()}), strict=True)))
                for name, array in found.items():
                    raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
                    gpu.memory[self._addresses[name]][: raw.size] = raw

            STREAMS[stream_handle].work.append(run)
            return True

    return Module(
        __name__="tensorrt", __version__=gpu.version, ILogger=ILogger, IProgressMonitor=IProgressMonitor,
        ITimingCache=ITimingCache, IOptimizationProfile=IOptimizationProfile, IBuilderConfig=IBuilderConfig,
        ILayer=ILayer, INetworkDefinition=INetworkDefinition, Builder=Builder, OnnxParser=OnnxParser, Runtime=Runtime,
        ICudaEngine=ICudaEngine, IExecutionContext=IExecutionContext, BuilderFlag=Names, MemoryPoolType=Names,
        DeviceType=Names, LayerType=Names, DataType=Names, PreviewFeature=SimpleNamespace(),
        NetworkDefinitionCreationFlag=Names,
    )  # fmt: skip
