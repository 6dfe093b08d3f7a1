"""ONNX file → TensorRT engine, with NVIDIA's own parser and builder. Works with `tensorrt` and `tensorrt_rtx`.

What a release can do is asked of the module, never read off its version: `BuilderFlag.FP16` is gone where networks are
strongly typed only, `IProgressMonitor` came later, `num_compute_capabilities` is TensorRT-RTX's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

from edge.config.model import TensorRtConfig
from edge.errors import EngineError, ModelError, RuntimeUnavailableError

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""Names under which NVIDIA ships the same interface; the first that is installed is used."""

INPUT = "pixels"
"""Name of the one input of both networks."""

KEPT_MESSAGES = 20

Precision = Literal["fp32", "fp16", "int8"]
Shape = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Profile:
    """Smallest, usual and largest shape (N, H, W, 3) of what an engine takes.

    It is fastest at the usual one.
    """

    low: Shape
    usual: Shape
    high: Shape


PROFILES = {
    # Tiles go to the detector one by one; the largest has 1024 + 2 × 64 pixels a side (vision/detect.py).
    "detector": Profile((1, 16, 16, 3), (1, 480, 640, 3), (1, 1152, 1152, 3)),
    "classifier": Profile((1, 64, 64, 3), (32, 64, 64, 3), (32, 64, 64, 3)),
}


@dataclass(frozen=True, slots=True)
class Built:
    """A serialised engine with its types.

    And the builder's timing cache for the next time.
    """

    engine: bytes
    precision: Precision
    timing_cache: bytes
    warnings: tuple[str, ...]


@cache
def tensorrt_module() -> Any:
    """Import TensorRT; raises RuntimeUnavailableError that says how to get it."""
    faults = []
    for name in MODULES:
        try:
            module = import_module(name)
        except ImportError as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name == name):
                faults.append(f"{name} is installed but cannot be imported: {error}")
            continue
        if hasattr(module, "Runtime"):  # JetPack 5.1's 8.5 has it too; `Runtime` missing is a namespace folder
            return module
    raise RuntimeUnavailableError(
        f"TensorRT is not installed ({'; '.join(faults) or 'looked for ' + ', '.join(MODULES)}). On a Jetson it comes "
        "with JetPack, and the virtual environment must see system packages: docs/jetson.md. "
        'Or set models.runtime = "onnxruntime"'
    )


@cache
def logger_of(trt: Any) -> Any:
    """Return the one logger of this process.

    TensorRT keeps the first it is given, whatever comes later.

    Its `messages` hold the latest (severity, text), warnings and worse.
    """

    class Messages(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[tuple[Any, str]] = []

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.WARNING):
                self.messages = [*self.messages[1 - KEPT_MESSAGES :], (severity, " ".join(msg.split()))]

    return Messages()


def said(trt: Any) -> str:
    """Return what TensorRT last complained of, in one line."""
    wrong = [text for severity, text in logger_of(trt).messages if int(severity) <= int(trt.ILogger.Severity.ERROR)]
    return "; ".join(wrong[-3:]) or "TensorRT gave no reason"


def build(
    trt: Any,
    name: str,
    onnx: bytes,
    profile: Profile,
    precision: Precision | Literal["auto"],
    settings: TensorRtConfig,
    timing_cache: bytes = b"",
    progress: Callable[[str], None] = lambda _: None,
    targets: tuple[str, ...] = (),
) -> Built:
    """Build an engine for the GPU at hand, or with TensorRT-RTX for `targets`.

    Targets such as SM86 need no GPU.

    name: of the file, for messages. precision: what the engine must be; `auto` takes the types of the file. progress:
    called with words, often. Raises ModelError when the file cannot be read by this release or is of another
    precision, EngineError when the builder fails or lacks memory.
    """
    logger = logger_of(trt)
    logger.messages = []
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt))
    _parse(trt, network, onnx, name)
    found = types_of(trt, network)
    made = _agreed(trt, name, found, precision)
    config = builder.create_builder_config()
    shapes = builder.create_optimization_profile()
    shapes.set_shape(INPUT, profile.low, profile.usual, profile.high)
    config.add_optimization_profile(shapes)
    _configure(trt, config, made, settings)
    _aim(trt, config, targets)
    cache_in_use = _use_timing_cache(config, timing_cache)
    if hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _monitor(trt, name, progress)
    progress(f"{name}: building a {made} engine")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{name}: no engine could be built. {remedy(said(trt))}")
    return Built(bytes(plan), made, bytes(cache_in_use.serialize()) if cache_in_use else b"", _texts(logger))


def _texts(logger: Any) -> tuple[str, ...]:
    return tuple(text for _, text in logger.messages)


def types_of(trt: Any, network: Any) -> Precision:
    """Return what a parsed network computes in.

    Int8 when it holds Q/DQ layers, fp16 when half-precision tensors.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    if any(layer.type in (trt.LayerType.QUANTIZE, trt.LayerType.DEQUANTIZE) for layer in layers):
        return "int8"
    outputs = (layer.get_output(i) for layer in layers for i in range(layer.num_outputs))
    return "fp16" if any(tensor.dtype == trt.DataType.HALF for tensor in outputs) else "fp32"


def remedy(reason: str) -> str:
    """Add what to do to TensorRT's own words."""
    lowered = reason.lower()
    if "memory" in lowered or "cudaerrormemoryallocation" in lowered:
        return f"{reason}. Not enough memory: close other programs, or lower models.tensorrt.workspace_mb"
    if "driver" in lowered:
        return f"{reason}. Update the NVIDIA driver, or JetPack; `sicklescope doctor` shows both"
    return reason


def _network_flags(trt: Any) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    flag = flags.STRONGLY_TYPED if hasattr(flags, "STRONGLY_TYPED") else flags.EXPLICIT_BATCH
    return 1 << int(flag)


def _parse(trt: Any, network: Any, onnx: bytes, name: str) -> None:
    parser = trt.OnnxParser(network, logger_of(trt))
    if not parser.parse(onnx):
        errors = [" ".join(parser.get_error(i).desc().split()) for i in range(parser.num_errors)]
        raise ModelError(
            f"{name} cannot be read by TensorRT {trt.__version__}: {'; '.join(errors) or said(trt)}. "
            "Export it again with sicklescope-export (opset 17), or update TensorRT"
        )
    names = [network.get_input(i).name for i in range(network.num_inputs)]
    if names != [INPUT]:
        raise ModelError(f"{name} takes {', '.join(names) or 'nothing'}; expected {INPUT}. Is it one of ours?")


def _agreed(trt: Any, name: str, found: Precision, wanted: Precision | Literal["auto"]) -> Precision:
    """Return the engine's precision, or raise ModelError where this release takes it from the file and it differs."""
    if wanted in ("auto", found):
        return found
    if found == "fp32" and wanted == "fp16" and hasattr(trt.BuilderFlag, "FP16") and not _strong(trt):
        return "fp16"
    command = {"fp32": "onnx", "fp16": "fp16"}.get(wanted)
    how = f"sicklescope-export {command}" if command else "sicklescope-calibrate int8"
    raise ModelError(
        f"{name} is {found}; models.precision is {wanted}, and TensorRT takes an engine's types from the file. "
        f"Make the {wanted} file with {how}, or set models.precision to {found}"
    )


def _strong(trt: Any) -> bool:
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def _configure(trt: Any, config: Any, precision: Precision, settings: TensorRtConfig) -> None:
    if settings.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb << 20)
    config.builder_optimization_level = settings.optimization_level
    if not _strong(trt):
        for flag in {"fp32": (), "fp16": ("FP16",), "int8": ("FP16", "INT8")}[precision]:
            config.set_flag(getattr(trt.BuilderFlag, flag))
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # ten bits of mantissa would not be what the setting says
    if hasattr(trt.PreviewFeature, "PROFILE_SHARING_0806"):
        # Two execution contexts run at once on one profile; later releases always allow it.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if settings.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = settings.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _aim(trt: Any, config: Any, targets: tuple[str, ...]) -> None:
    if not targets:
        return
    if not hasattr(config, "num_compute_capabilities"):
        raise EngineError(f"TensorRT {trt.__version__} builds only for the GPU at hand; TensorRT-RTX for others")
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        known = getattr(trt.ComputeCapability, target, None)
        if known is None or not config.set_compute_capability(known, index):
            raise EngineError(f"TensorRT-RTX {trt.__version__} cannot build for {target}")


def _use_timing_cache(config: Any, data: bytes) -> Any:
    """Give the builder what it measured before; a cache it will not have is replaced by an empty one."""
    for held in (data, b"") if data else (b"",):
        with suppress(RuntimeError), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TensorRT-RTX measures nothing, and says so
            made = config.create_timing_cache(held)
            if made is not None and config.set_timing_cache(made, False):
                return made
    return None


def _monitor(trt: Any, name: str, progress: Callable[[str], None]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(f"{name}: {phase_name}, {step + 1} of {self._steps.get(phase_name, 0)}")
            return True

    return Monitor()
