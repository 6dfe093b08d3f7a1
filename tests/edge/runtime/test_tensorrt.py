"""Engines on a GPU that nobody has here: built once, kept whole, refused when they answer otherwise, run in parts."""

from __future__ import annotations

import errno
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config.model import ModelsConfig
from edge.errors import EngineError, EngineRefusedError, ModelError, RuntimeUnavailableError, StorageError
from edge.runtime import registry
from edge.runtime.base import Network
from edge.runtime.contract import CPU_FORM, GPU_FORM, SHIPPED_DIR, Role
from edge.runtime.onnx import cpu_session
from edge.runtime.registry import open_network
from edge.runtime.tensorrt import engine_cache
from edge.runtime.tensorrt import network as tensorrt_network
from edge.runtime.tensorrt.engine_cache import EngineKey, EngineStore
from edge.system.atomic_files import move
from tests.edge.runtime.fake_gpu import CudaLaunchError, CudaLogicError, CudaMemoryError, FakeGpu

CONFIG = ModelsConfig(runtime="tensorrt", threads=1)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    machine = FakeGpu()
    use(machine, monkeypatch)
    yield machine
    assert not any(machine.contexts.values()), "a context was left current"


def use(machine: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_network, "tensorrt_module", lambda: machine.trt)
    monkeypatch.setattr(tensorrt_network, "cuda_driver", lambda: machine.driver)


def opened(folder: Path, role: Role = "classifier", config: ModelsConfig = CONFIG, **more: Any) -> Network:
    return open_network(role, config, folder, **more)


def crops(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("role", ["detector", "classifier"])
@pytest.mark.parametrize("integrated", [False, True])
def test_it_answers_as_onnx_runtime_does_and_gives_everything_back(
    role: Role, integrated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeGpu(integrated)
    use(machine, monkeypatch)
    network = opened(tmp_path, role)
    assert network.runtime == "tensorrt 10.3.0 fp32 on Fake GPU"
    pictures = crops(3) if role == "classifier" else np.ascontiguousarray(crops(3)[:, :32, :48])
    reference = cpu_session(SHIPPED_DIR / f"{role}.{GPU_FORM[role]}.onnx", role, 1)
    names = [output.name for output in reference.get_outputs()]
    found, wanted = network(pictures), dict(zip(names, reference.run(None, {"pixels": pictures}), strict=True))
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert np.allclose(found[name], wanted[name], atol=1e-5)
    copies = [call for call in machine.calls if call in ("htod", "dtoh")]
    assert not copies if integrated else copies
    network.close()
    network.close()
    assert not machine.memory
    assert not machine.pinned
    assert machine.calls.count("detach") == machine.calls.count("retain") == 1
    with pytest.raises(EngineError, match="closed"):
        network(pictures)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 97])
def test_a_batch_beyond_the_profile_is_split_and_comes_back_in_order(gpu: FakeGpu, count: int, tmp_path: Path) -> None:
    network = opened(tmp_path, config=CONFIG.model_copy(update={"precision": "fp32"}))
    gpu.calls.clear()
    found = network(crops(count))["prob"]
    assert gpu.calls.count("execute") == -(-count // 32)
    reference = open_network("classifier", ModelsConfig(runtime="onnxruntime", precision="fp32", threads=1))
    assert np.allclose(found, reference(crops(count))["prob"], atol=1e-5)
    network.close()


def test_copies_of_one_part_begin_before_the_part_before_is_waited_for(gpu: FakeGpu, tmp_path: Path) -> None:
    network = opened(tmp_path)
    gpu.calls.clear()
    network(crops(96))
    begun = [call for call in gpu.calls if call in ("execute", "synchronize")]
    assert begun == ["execute", "execute", "synchronize", "execute", "synchronize", "synchronize"]
    network.close()


def test_what_was_returned_is_the_callers_own(gpu: FakeGpu, tmp_path: Path) -> None:
    network = opened(tmp_path)
    first = network(crops(2))["prob"]
    kept = first.copy()
    network(crops(5))
    network.close()
    assert np.array_equal(first, kept)
    first[:] = 0


def test_any_thread_may_call_and_finds_its_own_context_again(gpu: FakeGpu, tmp_path: Path) -> None:
    network = opened(tmp_path)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(network(crops(2))["prob"]))
    thread.start()
    thread.join()
    assert np.array_equal(found[0], network(crops(2))["prob"])
    assert not any(gpu.contexts.values())
    network.close()


@pytest.mark.parametrize("shape", [(0, 64, 64, 3), (1, 65, 64, 3), (1, 64, 64, 1)])
def test_pictures_the_engine_does_not_take_are_named(gpu: FakeGpu, shape: tuple[int, ...], tmp_path: Path) -> None:
    network = opened(tmp_path)
    with pytest.raises(ModelError, match=r"a batch of .* takes pictures of \(64, 64, 3\)"):
        network(np.zeros(shape, np.uint8))
    network.close()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("mem_alloc", CudaMemoryError, "not enough GPU memory.*Close other programs"),
        ("execute", CudaLaunchError, "the GPU stopped.*temperature"),
        ("deserialize", CudaLogicError, "CUDA refused.*doctor"),
    ],
)
def test_an_error_of_cuda_says_what_to_do_and_leaves_no_memory(
    gpu: FakeGpu, call: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    def fail() -> None:
        raise error("CUDA says no")

    gpu.fail[call] = fail
    with pytest.raises(EngineError, match=message):
        opened(tmp_path)
    assert not gpu.memory
    assert gpu.calls.count("detach") == gpu.calls.count("retain")
    assert not list(tmp_path.rglob("*.engine"))


def test_after_an_error_in_the_middle_the_next_call_is_right(gpu: FakeGpu, tmp_path: Path) -> None:
    network = opened(tmp_path)
    wanted = network(crops(1))["prob"]  # smaller than the part that the error leaves behind
    left = iter((None, CudaLogicError("once")))

    def fail() -> None:
        if (error := next(left, None)) is not None:
            raise error

    gpu.fail["execute"] = fail
    with pytest.raises(EngineError, match="once"):
        network(crops(96))
    assert np.array_equal(network(crops(1))["prob"], wanted)
    network.close()


def test_an_engine_is_built_once_and_lies_plain_beside_what_it_was_made_of(gpu: FakeGpu, tmp_path: Path) -> None:
    said: list[str] = []
    opened(tmp_path, progress=said.append).close()
    opened(tmp_path).close()
    assert gpu.builds == 1
    assert any("1 of 2" in text for text in said)
    (engine,) = (tmp_path / "engines").glob("*.engine")
    assert engine.read_bytes().startswith(b"Fake GPU 10.3.0\n")  # nothing before the plan: trtexec loads it
    about = json.loads(engine.with_suffix(".json").read_text("utf-8"))
    assert about["key"]["tensorrt"] == "tensorrt 10.3.0"
    assert about["key"]["compute_capability"] == "8.7"
    assert about["golden"]["prob"] < 1e-4


def test_another_release_gpu_model_or_setting_is_another_engine() -> None:
    key = EngineKey("detector", "a" * 64, "tensorrt 10.3.0", "Orin", "8.7", "int8", "1", "3")
    others = [
        EngineKey(**{**{f: getattr(key, f) for f in EngineKey.__slots__}, field: "else"})
        for field in EngineKey.__slots__
    ]
    assert len({key.name, *(other.name for other in others)}) == 1 + len(EngineKey.__slots__)


def test_after_an_upgrade_it_is_rebuilt_and_the_one_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, builds in (("10.3.0", 1), ("10.4.0", 1), ("10.3.0", 0), ("10.5.0", 1)):
        machine = FakeGpu(version=version)
        use(machine, monkeypatch)
        opened(tmp_path).close()
        assert machine.builds == builds, version
    assert len(list((tmp_path / "engines").glob("*.engine"))) == engine_cache.KEPT
    assert len(list((tmp_path / "engines").glob("classifier-*.json"))) == engine_cache.KEPT


@pytest.mark.parametrize("harm", ["cut", "empty", "no sidecar", "other sidecar", "other build"])
def test_a_broken_engine_is_built_again(gpu: FakeGpu, harm: str, tmp_path: Path) -> None:
    opened(tmp_path).close()
    (engine,) = (tmp_path / "engines").glob("*.engine")
    sidecar = engine.with_suffix(".json")
    if harm in ("cut", "empty"):
        engine.write_bytes(engine.read_bytes()[: 1000 if harm == "cut" else 0])
    elif harm == "no sidecar":
        sidecar.unlink()
    elif harm == "other sidecar":
        sidecar.write_text("{", "utf-8")
    else:  # whole by its digest, but the GPU's driver will not have it
        store = EngineStore(tmp_path / "engines")
        about = engine_cache.Sidecar.model_validate_json(sidecar.read_bytes())
        store.save(about.key, b"Other GPU\n", "fp32", 1.0, {})
    opened(tmp_path).close()
    assert gpu.builds == 2
    opened(tmp_path).close()
    assert gpu.builds == 2


def test_an_engine_that_answers_otherwise_is_refused_and_not_kept(gpu: FakeGpu, tmp_path: Path) -> None:
    gpu.answer = lambda outputs: {name: array + np.float32(0.01) for name, array in outputs.items()}
    with pytest.raises(EngineRefusedError, match=r"prob by 0\.01 \(at most 0\.002\).*not used"):
        opened(tmp_path)
    assert not list(tmp_path.rglob("*.engine"))
    assert not gpu.memory
    gpu.answer = lambda outputs: outputs
    opened(tmp_path).close()
    gpu.answer = lambda outputs: {name: np.full_like(array, np.nan) for name, array in outputs.items()}
    with pytest.raises(EngineRefusedError, match="prob by inf"):  # at every load, not only after a build
        opened(tmp_path)


def test_a_power_cut_in_the_middle_loses_nothing(gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).close()
    before = {path.name: path.read_bytes() for path in (tmp_path / "engines").glob("classifier-*")}
    moves = 0

    class PowerCut(BaseException):
        pass

    def cut(source: Path, target: Path) -> None:
        nonlocal moves
        moves += 1
        if moves == 2:  # the engine is in place, its sidecar is not
            raise PowerCut
        move(source, target)

    monkeypatch.setattr(engine_cache, "move", cut)
    gpu.version = gpu.trt.__version__ = "10.9.0"
    with pytest.raises(PowerCut):
        opened(tmp_path)
    assert before.items() <= {path.name: path.read_bytes() for path in (tmp_path / "engines").glob("c*-*")}.items()
    monkeypatch.setattr(engine_cache, "move", move)
    opened(tmp_path).close()
    assert gpu.builds == 3
    assert not [path for path in (tmp_path / "engines").iterdir() if path.name.startswith(".partial")]


def test_a_full_disk_and_short_memory_are_told_as_such(
    gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.plan_is_none = True
    with pytest.raises(EngineError, match=r"OutOfMemory.*workspace_mb"):
        opened(tmp_path)
    gpu.plan_is_none = False

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"\.engine cannot be written: No space left.*Free space"):
        opened(tmp_path)
    assert not gpu.memory


def _hold(folder: str, ready: Any, go_on: Any) -> None:
    with EngineStore(Path(folder)).locked("classifier"):
        ready.set()
        go_on.wait(30)


def test_two_processes_do_not_build_at_once(gpu: FakeGpu, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, go_on = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(str(tmp_path / "engines"), ready, go_on))
    other.start()
    try:
        assert ready.wait(30)
        said: list[str] = []

        def progress(text: str) -> None:
            said.append(text)
            go_on.set()

        opened(tmp_path, progress=progress).close()
        assert "another sicklescope builds" in said[0]
    finally:
        go_on.set()
        other.join(30)
    assert gpu.builds == 1


def test_a_lock_whose_holder_died_is_no_lock(gpu: FakeGpu, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, go_on = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(str(tmp_path / "engines"), ready, go_on))
    other.start()
    assert ready.wait(30)
    other.kill()
    other.join(30)
    opened(tmp_path).close()
    assert gpu.builds == 1


def test_auto_takes_tensorrt_only_where_it_and_a_gpu_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for ready, wanted in ((True, "tensorrt"), (False, "onnxruntime")):
        needs = {"GPU": _present if ready else _absent}
        monkeypatch.setitem(registry.RUNTIMES, "tensorrt", replace(registry.RUNTIMES["tensorrt"], needs=needs))
        assert registry.chosen(ModelsConfig(runtime="auto")) == wanted
        assert registry.chosen(ModelsConfig(runtime="onnxruntime")) == "onnxruntime"
    with pytest.raises(RuntimeUnavailableError, match="precision is fp16, which only TensorRT runs"):
        registry.chosen(ModelsConfig(runtime="onnxruntime", precision="fp16"))
    for runtime, precision, form in (
        ("onnxruntime", "auto", CPU_FORM["detector"]),
        ("onnxruntime", "fp32", ""),
        ("onnxruntime", "int8", "int8.cpu"),
        ("tensorrt", "auto", GPU_FORM["detector"]),
        ("tensorrt", "fp32", ""),
        ("tensorrt", "int8", "int8"),
        ("tensorrt", "fp16", "fp16"),
    ):
        assert registry.shipped_form("detector", runtime, precision) == form


def test_a_precision_the_file_does_not_have_is_refused(gpu: FakeGpu, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is fp32; models.precision is fp16.*sicklescope-export fp16"):
        opened(tmp_path, config=ModelsConfig(runtime="tensorrt", precision="fp16", threads=1))  # the fake sees fp32
    with pytest.raises(ModelError, match=r"is fp32; models.precision is int8.*sicklescope-calibrate int8"):
        opened(tmp_path, config=ModelsConfig(runtime="tensorrt", precision="int8", threads=1))


@pytest.mark.parametrize("missing", ["tensorrt", "pycuda"])
def test_what_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edge.runtime.tensorrt import cuda, engine_builder

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    module: Any = engine_builder if missing == "tensorrt" else cuda
    look: Callable[[], Any] = engine_builder.tensorrt_module if missing == "tensorrt" else cuda.cuda_driver
    look.cache_clear()  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(RuntimeUnavailableError, match=f"(?i){missing}.*jetson.md"):
        look()


def _present() -> str:
    return "a GPU"


def _absent() -> str:
    raise RuntimeUnavailableError("no GPU")
