"""The real thing, wherever a GPU, TensorRT and pycuda are: `make test ARGS="-m gpu"`. Skipped elsewhere."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from edge.config.model import Config, DeviceConfig, ModelsConfig, MqttConfig
from edge.errors import EdgeError, RuntimeUnavailableError
from edge.runtime.contract import SHIPPED_SHA256, Role
from edge.runtime.parity import LIMITS, compared
from edge.runtime.registry import open_network
from edge.runtime.tensorrt.cuda import Gpu, cuda_driver
from edge.runtime.tensorrt.engine_builder import tensorrt_module
from tests.edge.service.service_parts import outcome_of


def _missing() -> str:
    try:
        tensorrt_module()
        cuda_driver()
    except RuntimeUnavailableError as error:
        return str(error)
    return ""


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(1200),  # an engine is built
    pytest.mark.skipif(bool(_missing()), reason=_missing() or "-"),
]

PRECISIONS = [name for name in ("fp32", "fp16", "int8") if name == "fp32" or f"detector.{name}" in SHIPPED_SHA256]


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def _pictures(role: Role, count: int) -> Any:
    shape = (count, 64, 64, 3) if role == "classifier" else (count, 480, 640, 3)
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("role", "count"), [("detector", 1), ("detector", 3), ("classifier", 1), ("classifier", 97)])
def test_it_agrees_with_onnx_runtime(role: Role, count: int, precision: Any, state: Path) -> None:
    network = open_network(role, ModelsConfig(runtime="tensorrt", precision=precision), state)
    pictures = _pictures(role, count)
    same: Literal["int8", "fp32"] = "int8" if precision == "int8" else "fp32"
    reference = open_network(role, ModelsConfig(runtime="onnxruntime", precision=same))
    differences = compared(network(pictures), reference(pictures), network.contract.thresholds)
    assert all(value <= LIMITS[precision][name] for name, value in differences.items()), differences
    network.close()


def test_a_second_start_loads_what_the_first_built(state: Path) -> None:
    config = ModelsConfig(runtime="tensorrt")
    open_network("classifier", config, state).close()
    said: list[str] = []
    open_network("classifier", config, state, said.append).close()
    assert not said


def test_threads_find_the_context_and_memory_comes_back(state: Path) -> None:
    gpu = Gpu(cuda_driver())
    with gpu.current("measuring"):
        before = gpu.free_mb()
    network = open_network("classifier", ModelsConfig(runtime="tensorrt"), state)
    wanted = network(_pictures("classifier", 40))["prob"]
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(network(_pictures("classifier", 40))["prob"]))
    thread.start()
    thread.join()
    assert np.allclose(found[0], wanted, atol=1e-3)
    network.close()
    with gpu.current("measuring"):
        assert before - gpu.free_mb() < 64
    gpu.detach()


def test_the_whole_service_reads_a_slide(tmp_path: Path) -> None:
    from edge.config.model import CameraConfig
    from edge.service.service import Service

    config = Config(
        device=DeviceConfig(state_dir=tmp_path),
        camera=CameraConfig(kind="virtual", frames=3),
        models=ModelsConfig(runtime="tensorrt"),
        mqtt=MqttConfig(enabled=False),
    )
    outcome = outcome_of(Service(config))
    assert outcome.fault is None
    assert outcome.counts.fields_read == 3


def test_a_damaged_engine_is_built_again(state: Path) -> None:
    open_network("classifier", ModelsConfig(runtime="tensorrt"), state).close()
    for engine in (state / "engines").glob("classifier-*.engine"):
        engine.write_bytes(engine.read_bytes()[:100])
    try:
        open_network("classifier", ModelsConfig(runtime="tensorrt"), state).close()
    except EdgeError as error:
        pytest.fail(str(error))
