"""Networks on this machine's GPU against ONNX Runtime: python -m benchmarks.runtime.

For each role and precision: agreement, time to build and load, latency (p50, p95, p99) and throughput by batch size,
GPU memory; then the share of a field's time spent outside the networks. Prints Markdown for
docs/measurements/performance.md, with the machine named. Without a GPU only ONNX Runtime is measured, and that is said.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edge.camera.virtual.camera import VirtualCamera
from edge.config.model import CameraConfig, Config, DeviceConfig, ModelsConfig
from edge.diagnosis.speed import machine
from edge.errors import EdgeError, RuntimeUnavailableError
from edge.pipeline import Pipeline
from edge.runtime.base import Network
from edge.runtime.contract import SHIPPED_SHA256, Role
from edge.runtime.parity import compared, golden_pictures
from edge.runtime.registry import open_network
from edge.runtime.tensorrt.cuda import Gpu, cuda_driver
from edge.runtime.tensorrt.engine_builder import tensorrt_module

BATCHES: dict[Role, tuple[int, ...]] = {"detector": (1, 2, 4), "classifier": (1, 8, 32, 64, 128)}
SIZES = {"detector": (480, 640), "classifier": (64, 64)}

WARM_UP = 5


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="That each batch size is timed for.")] = 3.0,
    fields: Annotated[int, typer.Option(min=1, help="Virtual fields read by the whole pipeline.")] = 40,
) -> None:
    """Measure and print."""
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load']:.1f}, Python {about['python']}, ", end="")
    gpu = _gpu()
    runtimes = [ModelsConfig(runtime="onnxruntime", precision=precision) for precision in ("fp32", "int8")]
    if gpu is not None:
        print(f"{gpu.name}, compute capability {gpu.compute_capability}, TensorRT {tensorrt_module().__version__}\n")
        runtimes += [ModelsConfig(runtime="tensorrt", precision=precision) for precision in _shipped()]
    with tempfile.TemporaryDirectory() as folder:
        print("| network | runtime | batch | p50 ms | p95 ms | p99 ms | pictures/s |\n|---|---|--:|--:|--:|--:|--:|")
        notes = [
            note for role in BATCHES for models in runtimes for note in _measured(role, models, folder, seconds, gpu)
        ]
        print()
        for note in notes:
            print(f"- {note}")
        for models in runtimes:
            print(f"- {_field(models, folder, fields)}")
    if gpu is not None:
        gpu.detach()


def _gpu() -> Gpu | None:
    try:
        tensorrt_module()
        return Gpu(cuda_driver())
    except RuntimeUnavailableError as error:
        print(f"no GPU: **TensorRT not measured** ({error})\n")
        return None


def _shipped() -> Iterator[Any]:
    yield from (name for name in ("fp32", "fp16", "int8") if name == "fp32" or f"detector.{name}" in SHIPPED_SHA256)


def _free_mb(gpu: Gpu | None) -> float:
    if gpu is None:
        return 0.0
    with gpu.current("measuring memory"):
        return gpu.free_mb()


def _measured(role: Role, models: ModelsConfig, folder: str, seconds: float, gpu: Gpu | None) -> Iterator[str]:
    """Print the rows of a network and give what else there is to say."""
    name = f"{role}, {models.runtime} {models.precision}"
    before_mb, begun = _free_mb(gpu), time.perf_counter()
    try:
        open_network(role, models, Path(folder)).close()
    except EdgeError as error:
        yield f"{name}: not measured, {error}"
        return
    built = time.perf_counter()
    network = open_network(role, models, Path(folder))
    loaded = time.perf_counter()
    memory = f", {before_mb - _free_mb(gpu):.0f} MB of GPU memory" if models.runtime == "tensorrt" else ""
    pictures = golden_pictures(network.contract)
    reference = open_network(role, ModelsConfig(runtime="onnxruntime", precision="fp32"))
    differences = compared(network(pictures), reference(pictures), network.contract.thresholds)
    yield (
        f"{name}: first start {built - begun:.1f} s, later {loaded - built:.2f} s{memory}; from fp32 on the CPU it "
        f"differs by {', '.join(f'{key} {value:.2g}' for key, value in differences.items())}"
    )
    for batch in BATCHES[role]:
        ms = latencies(network, role, batch, seconds)
        p50, p95, p99 = np.percentile(ms, (50, 95, 99))
        rate = 1e3 * batch * len(ms) / sum(ms)
        print(f"| {role} | {network.runtime} | {batch} | {p50:.2f} | {p95:.2f} | {p99:.2f} | {rate:.0f} |", flush=True)
    network.close()


def latencies(network: Network, role: str, batch: int, seconds: float) -> list[float]:
    """Return the time of each call in ms, copies included."""
    pictures = np.random.default_rng(0).integers(0, 256, (batch, *SIZES[role], 3)).astype(np.uint8)
    for _ in range(WARM_UP):
        network(pictures)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < WARM_UP:
        begun = time.perf_counter()
        network(pictures)
        found.append((time.perf_counter() - begun) * 1e3)
    return found


class _Timed:
    """A network that adds up the time of its calls."""

    def __init__(self, network: Network) -> None:
        self._network, self.ms = network, 0.0
        self.contract, self.sha256, self.runtime = network.contract, network.sha256, network.runtime

    def __call__(self, batch: Any) -> Any:
        begun = time.perf_counter()
        found = self._network(batch)
        self.ms += (time.perf_counter() - begun) * 1e3
        return found

    def close(self) -> None:
        self._network.close()


def _field(models: ModelsConfig, folder: str, fields: int) -> str:
    """Read virtual fields and say what part of the time the networks took."""
    config = Config(device=DeviceConfig(state_dir=Path(folder)), models=models)
    try:
        networks = tuple(_Timed(open_network(role, models, Path(folder))) for role in ("detector", "classifier"))
    except EdgeError as error:
        return f"whole field, {models.runtime} {models.precision}: not measured, {error}"
    with VirtualCamera(CameraConfig(kind="virtual", frames=fields)) as camera:
        frames = [frame for frame in iter(camera.read, None) if frame is not None]
    with Pipeline(config, (networks[0], networks[1])) as pipeline:
        pipeline.read(frames[0])
        for network in networks:
            network.ms = 0.0
        begun = time.perf_counter()
        for frame in frames:
            pipeline.read(frame)
        whole = (time.perf_counter() - begun) * 1e3
    inside = sum(network.ms for network in networks)
    return (
        f"whole field of 640 by 480, {networks[0].runtime}: {whole / fields:.1f} ms, {inside / fields:.1f} ms of it in "
        f"the networks; {1 - inside / whole:.0%} outside, {whole / inside:.2f} times the networks' own time"
    )


if __name__ == "__main__":
    typer.run(main)
