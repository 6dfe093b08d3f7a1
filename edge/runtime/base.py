"""What runs a network: one protocol and the table of backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.config import DeviceConfig, ModelsConfig
from edge.errors import RuntimeUnavailableError
from edge.runtime.contract import CPU_FORM, GPU_FORM, ROLES, Contract, Role
from edge.runtime.installed import located
from edge.types import Pixels

STATE_DIR = DeviceConfig().state_dir


class Network(Protocol):
    """A loaded network. A call takes uint8 (N, H, W, 3) RGB and returns the outputs by name.

    The arrays it returns belong to the caller. Not thread-safe: one thread calls it.
    """

    contract: Contract
    sha256: str
    """Digest of the file that was loaded."""

    runtime: str
    """Backend, version and precision, as shown to people and sent in the birth message."""

    def __call__(self, batch: Pixels) -> dict[str, NDArray[np.float32]]:
        """Run the network on a batch."""
        ...

    def close(self) -> None:
        """Give memory and device back."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A verified model file and how it is to be run.

    role: what the contract is to name; None takes either. state_dir: where engines are kept. progress: told in words,
    often, while an engine is built, which takes minutes.
    """

    role: str | None
    path: Path
    sha256: str
    models: ModelsConfig
    state_dir: Path = STATE_DIR
    progress: Callable[[str], None] = lambda _: None


RUNTIMES = {
    "onnxruntime": "edge.runtime.onnx:OnnxNetwork",
    "tensorrt": "edge.runtime.tensorrt:TensorRtNetwork",
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
    from edge.runtime.building import tensorrt_module
    from edge.runtime.cuda import cuda_driver

    try:
        return bool(cuda_driver() and tensorrt_module())
    except RuntimeUnavailableError:
        return False
