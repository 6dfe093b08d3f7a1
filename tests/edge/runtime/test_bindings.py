"""What the TensorRT code calls exists in the real releases, and the fake has their names and arguments."""

from __future__ import annotations

import ast
import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.edge.runtime.bindings import ALWAYS, ASKED, PYCUDA, RUN, declarations
from tests.edge.runtime.fake_gpu import FakeGpu

REAL: dict[str, dict[str, str | None]] = json.loads(Path(__file__).with_name("bindings.json").read_text("utf-8"))
"""As `python tests/edge/runtime/bindings.py` printed them from the real packages."""

RUNTIME = Path(__file__).parents[3] / "edge" / "runtime" / "tensorrt"
FULL = [name for name in REAL if name.startswith("tensorrt") and "lean" not in name]


def test_every_release_from_8_6_to_11_has_what_is_called_unasked() -> None:
    assert {"8.6.1", "10.3.0", "11.4.0.106", "1.7.1.116"} <= {name.split("-")[1] for name in REAL if "-" in name}
    for release in FULL:
        absent = [name for name in (*ALWAYS, *RUN) if REAL[release][name] is None]
        assert not absent, f"{release} has no {absent}"
    assert not [name for name in PYCUDA if REAL["pycuda"][name] is None]


def test_every_release_can_be_told_which_types_to_use() -> None:
    for release in FULL:
        strong = REAL[release]["NetworkDefinitionCreationFlag.STRONGLY_TYPED"]
        flags = [REAL[release][f"BuilderFlag.{flag}"] for flag in ("FP16", "INT8")]
        assert strong or (all(flags) and REAL[release]["NetworkDefinitionCreationFlag.EXPLICIT_BATCH"]), release


@pytest.mark.parametrize("module", ["tensorrt_rtx_bindings", "tensorrt_lean_bindings"])
def test_the_bindings_that_install_here_still_declare_it(module: str) -> None:
    real = pytest.importorskip(module, reason=f"{module} is for x86-64 Linux only")
    names = [*ALWAYS, *RUN] if hasattr(real, "Builder") else RUN
    found = declarations(real, names)
    recorded = next(values for name, values in REAL.items() if name.startswith(module))
    assert not [name for name in names if found[name] is None]
    for name in names:
        assert _arguments(found[name]) == _arguments(recorded[name]), name


def test_every_name_the_code_takes_from_the_module_is_on_the_list() -> None:
    """A new `trt.Something.ELSE` in the code is not called before its declarations were looked up."""
    listed = {*ALWAYS, *RUN, *ASKED}
    owners = {name.split(".")[0] for name in listed}
    for file in ("engine_builder.py", "network.py"):
        for name in _taken(RUNTIME / file, "trt"):
            assert name in listed or name in owners or name in ("__version__", "__name__"), f"{file}: trt.{name}"
    for name in _taken(RUNTIME / "cuda.py", "driver"):
        owners = {name.split(".")[0] for name in PYCUDA}
        assert name in PYCUDA or name in owners, f"cuda.py: driver.{name}"


def _taken(path: Path, root: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if match := re.fullmatch(rf"(?:self\._)?{root}\.([\w.]+)", text):
            found.add(match[1])
    return {
        name.replace("ILogger.Severity.WARNING", "ILogger").replace("ILogger.Severity.ERROR", "ILogger")
        for name in found
    }


@pytest.mark.parametrize("release", FULL)
def test_the_fake_of_tensorrt_takes_the_arguments_of_the_real_one(release: str) -> None:
    fake = FakeGpu().trt
    checked = 0
    for name, declared in REAL[release].items():
        owner, _, member = name.partition(".")
        method = getattr(getattr(fake, owner, None), member, None)
        if declared is None or "(" not in declared or not inspect.isfunction(method):
            continue
        ours = [p for p in inspect.signature(method).parameters if p != "self"]
        assert ours == _arguments(declared)[: len(ours)], f"{name} of {release}"
        checked += 1
    assert checked > 20


def test_the_fake_of_pycuda_has_the_names_and_arguments_of_the_real_one() -> None:
    fake = FakeGpu().driver
    for name, arguments in REAL["pycuda"].items():
        target: Any = fake
        for part in name.split("."):
            target = getattr(target, part, None)
        if name == "Stream.handle":
            continue
        assert target is not None, name
        if arguments and arguments != "value" and inspect.isfunction(target):
            assert ", ".join(p for p in inspect.signature(target).parameters if p != "self") == arguments, name


def _arguments(declared: str | None) -> list[str]:
    return re.findall(r"(\w+): ", (declared or "").split(" -> ")[0].replace("self: ", ""))


def test_the_real_module_is_found_by_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is for x86-64 Linux only")
    from edge.runtime.tensorrt.engine_builder import tensorrt_module

    tensorrt_module.cache_clear()
    assert hasattr(import_module(tensorrt_module().__name__), "Builder")
