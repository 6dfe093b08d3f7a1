"""Every module of the device can be imported where no vendor's SDK, trainer or embedded broker is installed."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys

import pytest

import edge

OPTIONAL = ("torch", "torchvision", "keras", "sklearn", "tensorrt", "pycuda", "picamera2", "amqtt", "onnx",
            "onnxscript", "fsspec", "pyarrow", "ray", "starlette", "fastapi", "uvicorn", "argon2", "segno",
            "sdnotify", "psutil",
            "cryptography", "calibration", "export", "training")  # fmt: skip

HEAVY = ("cv2", "onnxruntime", "paho", "sqlite3", "starlette", "fastapi", "uvicorn", "babel")
"""What the command's help and `--version` must not wait for."""

BLOCKED = """
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not installed here")
sys.meta_path.insert(0, Blocker())
for name in {modules!r}:
    importlib.import_module(name)
print(sorted(name for name in {watched!r} if name in sys.modules))
"""

ADAPTERS = ("edge.api.http", "edge.api.limits", "edge.api.server", "edge.api.passwords", "edge.api.logins",
            "edge.api.guard", "edge.language", "edge.page")  # fmt: skip
"""What needs a package that is otherwise optional."""

MODULES = ["edge", *(module.name for module in pkgutil.walk_packages(edge.__path__, "edge."))]


def imported(modules: list[str], blocked: tuple[str, ...], watched: tuple[str, ...] = ()) -> str:
    code = BLOCKED.format(blocked=blocked, modules=modules, watched=watched)
    # What measures coverage imports modules of its own.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_device_needs_none_of_the_optional_packages() -> None:
    assert "edge.cli.demo_broker" in MODULES
    assert "edge.camera.opencv" in MODULES
    imported([module for module in MODULES if not module.startswith(ADAPTERS)], OPTIONAL)


def test_the_calibration_command_needs_nothing_that_an_ordinary_install_lacks() -> None:
    """Kind: a command that is installed without what it imports. 0.6.0's could not begin without onnx."""
    imported(["calibration.cli", "calibration.optics.cli"], ("onnx", "onnxscript", "torch", "keras", "sklearn"))


def test_the_blocker_blocks() -> None:
    with pytest.raises(AssertionError, match="cv2 is not installed here"):
        imported(["edge.camera.opencv"], ("cv2",))


def test_the_command_is_quick_to_import() -> None:
    assert imported(["edge.cli.main"], (), HEAVY) == "[]"


def test_importing_has_no_effect() -> None:
    code = f"import importlib, threading\nfor name in {MODULES!r}: importlib.import_module(name)\n"
    code += "assert threading.active_count() == 1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
