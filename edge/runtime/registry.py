"""The table of backends, and how a network is opened with the configured one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from edge.config.model import ModelsConfig
from edge.errors import EdgeError, ModelError, RuntimeUnavailableError
from edge.runtime.base import STATE_DIR, Network, Source
from edge.runtime.contract import CPU_FORM, GPU_FORM, ROLES, SHIPPED_DIR, Role
from edge.runtime.model_store import located
from edge.runtime.trial import check_answers


@dataclass(frozen=True, slots=True)
class Backend:
    """One row of the table.

    target: `module:class`, made from a Source, imported when chosen. needs: in words, by the name of each part; a part
    gives its name and version, and raises EdgeError that says what is missing.
    """

    target: str
    needs: dict[str, Callable[[], str]]

    @property
    def is_available(self) -> bool:
        """Whether all that it needs is there."""
        try:
            return all(part() for part in self.needs.values())
        except EdgeError:
            return False


def _onnxruntime() -> str:
    try:
        return str(import_module("onnxruntime").__version__)
    except ImportError as error:
        raise RuntimeUnavailableError(f"onnxruntime cannot be imported ({error}): install the package") from error


def _tensorrt() -> str:
    from edge.runtime.tensorrt.engine_builder import tensorrt_module

    module = tensorrt_module()
    return f"{module.__name__} {module.__version__}"


def _gpu() -> str:
    from edge.runtime.tensorrt.cuda import Gpu, cuda_driver

    found = Gpu(cuda_driver())
    try:
        memory = "shared memory" if found.integrated else "its own memory"
        return f"{found.name}, compute capability {found.compute_capability}, {memory}"
    finally:
        found.detach()


RUNTIMES = {
    "onnxruntime": Backend("edge.runtime.onnx:OnnxNetwork", {"runtime onnxruntime": _onnxruntime}),
    "tensorrt": Backend("edge.runtime.tensorrt.network:TensorRtNetwork", {"runtime tensorrt": _tensorrt, "GPU": _gpu}),
}
"""Every backend there is; a new one is a row here and a name in ModelsConfig.runtime."""


def open_network(
    role: Role,
    config: ModelsConfig,
    state_dir: Path = STATE_DIR,
    progress: Callable[[str], None] = lambda _: None,
) -> Network:
    """Verify and load the `detector` or `classifier` with the configured runtime.

    It is the one that the configuration names, else the one chosen of those installed below state_dir, else the
    shipped one.

    Raises ModelError when the file is not what was pinned or breaks its contract, RuntimeUnavailableError when the
    named runtime is absent, EngineError when it fails: a named backend never falls back to another. `auto` takes
    TensorRT where it and a GPU are present, and then stays with it.
    """
    name = chosen(config)
    path, sha256 = located(role, config, state_dir, shipped_form(role, name, config.precision))
    module, _, cls = RUNTIMES[name].target.partition(":")
    network: Network = getattr(import_module(module), cls)(Source(role, path, sha256, config, state_dir, progress))
    if name == "onnxruntime" and path.parent != SHIPPED_DIR:
        # One's own, which nobody may have tried: better now than in a sample. TensorRT compares when it builds.
        try:
            check_answers(path, network)
        except ModelError:
            network.close()
            raise
    return network


def digests(config: ModelsConfig, state_dir: Path = STATE_DIR) -> tuple[str, str]:
    """Return the digests of the files of detector and classifier that would be loaded.

    Raises as open_network does.
    """
    runtime = chosen(config)
    found = [located(role, config, state_dir, shipped_form(role, runtime, config.precision))[1] for role in ROLES]
    return found[0], found[1]


def chosen(config: ModelsConfig) -> str:
    """Return the runtime that will run.

    Raises RuntimeUnavailableError where the configuration contradicts itself.
    """
    name = config.runtime
    if name == "auto":
        name = "tensorrt" if RUNTIMES["tensorrt"].is_available else "onnxruntime"
    if name == "onnxruntime" and config.precision == "fp16":
        raise RuntimeUnavailableError(
            f"models.precision is fp16, which only TensorRT runs, and models.runtime is {config.runtime}, here "
            'onnxruntime. Set models.precision = "auto", or models.runtime = "tensorrt"'
        )
    return name


def shipped_form(role: Role, runtime: str, precision: str) -> str:
    """Return which of the shipped files a runtime takes for a configured precision.

    See contract.verified.
    """
    if runtime == "onnxruntime":
        return {"auto": CPU_FORM[role], "int8": "int8.cpu"}.get(precision, "")
    return {"auto": GPU_FORM[role], "fp32": ""}.get(precision, precision)
