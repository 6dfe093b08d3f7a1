"""The table of backends, and how a network is opened with the configured one."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from edge.config.model import ModelsConfig
from edge.errors import RuntimeUnavailableError
from edge.runtime.base import STATE_DIR, Network, Source
from edge.runtime.contract import CPU_FORM, GPU_FORM, ROLES, Role
from edge.runtime.model_store import located

RUNTIMES = {
    "onnxruntime": "edge.runtime.onnx:OnnxNetwork",
    "tensorrt": "edge.runtime.tensorrt.network:TensorRtNetwork",
}
"""Every backend there is, each made from a Source; imported only when chosen."""


def open_network(
    role: Role,
    config: ModelsConfig,
    state_dir: Path = STATE_DIR,
    progress: Callable[[str], None] = lambda _: None,
) -> Network:
    """Verify and load the `detector` or `classifier` with the configured runtime.

    It is the one that the configuration names, else the one chosen of those installed below state_dir, else the
    shipped one.

    Raises ModelError when the file is not what was pinned, RuntimeUnavailableError when the named runtime is absent,
    EngineError when it fails: a named backend never falls back to another. `auto` takes TensorRT where it and a GPU
    are present, and then stays with it.
    """
    name = chosen(config)
    path, sha256 = located(role, config, state_dir, shipped_form(role, name, config.precision))
    module, _, cls = RUNTIMES[name].partition(":")
    network: Network = getattr(import_module(module), cls)(Source(role, path, sha256, config, state_dir, progress))
    return network


def digests(config: ModelsConfig, state_dir: Path = STATE_DIR) -> tuple[str, str]:
    """Return the digests of the files of detector and classifier that would be loaded; raises as open_network does."""
    runtime = chosen(config)
    found = [located(role, config, state_dir, shipped_form(role, runtime, config.precision))[1] for role in ROLES]
    return found[0], found[1]


def chosen(config: ModelsConfig) -> str:
    """Return the runtime that will run; raises RuntimeUnavailableError where the configuration contradicts itself."""
    name = config.runtime
    if name == "auto":
        name = "tensorrt" if gpu_ready() else "onnxruntime"
    if name == "onnxruntime" and config.precision == "fp16":
        raise RuntimeUnavailableError(
            f"models.precision is fp16, which only TensorRT runs, and models.runtime is {config.runtime}, here "
            'onnxruntime. Set models.precision = "auto", or models.runtime = "tensorrt"'
        )
    return name


def shipped_form(role: Role, runtime: str, precision: str) -> str:
    """Return which of the shipped files a runtime takes for a configured precision; see contract.verified."""
    if runtime == "onnxruntime":
        return {"auto": CPU_FORM[role], "int8": "int8.cpu"}.get(precision, "")
    return {"auto": GPU_FORM[role], "fp32": ""}.get(precision, precision)


def gpu_ready() -> bool:
    """Tell whether TensorRT, pycuda and a GPU are all here."""
    from edge.runtime.tensorrt.cuda import cuda_driver
    from edge.runtime.tensorrt.engine_builder import tensorrt_module

    try:
        return bool(cuda_driver() and tensorrt_module())
    except RuntimeUnavailableError:
        return False
