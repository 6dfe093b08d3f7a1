"""What `sicklescope doctor` says of an NVIDIA GPU: JetPack, driver, CUDA, TensorRT, pycuda; and what is in the way."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from edge.errors import EdgeError

JETPACK = {"35": "5", "36": "6", "38": "7", "39": "7"}
"""Version of JetPack by release of Jetson Linux (L4T)."""

UNSUPPORTED = ("5",)
"""Python 3.8 and TensorRT 8.5 cannot be upgraded there."""


def jetpack(root: Path = Path("/")) -> tuple[bool, str] | None:
    """Return whether this Jetson's JetPack is supported, and its name; None on another machine."""
    release = root / "etc/nv_tegra_release"
    if not release.is_file():
        return None
    text = release.read_text("utf-8", "replace")
    match = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    if match is None:
        return False, f"{release} cannot be read: {text[:60]!r}"
    major = JETPACK.get(match[1])
    linux = f"Jetson Linux {match[1]}.{match[2]}"
    if major is None:
        return False, f"{linux}, of an unknown JetPack; known: 6 and 7 (docs/jetson.md)"
    if major in UNSUPPORTED:
        return False, f"JetPack {major} ({linux}) is not supported: Python 3.8, TensorRT 8.5. Flash JetPack 6 or 7"
    return True, f"JetPack {major} ({linux})"


def cuda_toolkit(root: Path = Path("/")) -> str | None:
    """Return the version of the CUDA toolkit, which pycuda is built against.

    None where there is none.
    """
    about = root / "usr/local/cuda/version.json"
    try:
        return str(json.loads(about.read_text("utf-8"))["cuda"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def nvidia_driver(root: Path = Path("/")) -> str | None:
    """Return the version of the kernel's driver.

    None without one, and on Jetsons whose driver does not say.
    """
    about = root / "proc/driver/nvidia/version"
    match = re.search(r"(\d+\.\d+(?:\.\d+)?)", about.read_text("utf-8", "replace")) if about.is_file() else None
    return match[1] if match else None


def wrong_wheel(installer: Callable[[], str] | None = None) -> str | None:
    """Return what to do about a TensorRT from PyPI on a Jetson, whose GPU it does not support.

    None if it is none.
    """
    try:
        found = installer() if installer else distribution("tensorrt").read_text("INSTALLER") or ""
    except PackageNotFoundError:
        return None
    if found.strip() != "pip":
        return None
    return (
        "TensorRT was installed by pip, and PyPI's does not support a Jetson's GPU: pip uninstall tensorrt, "
        "and use JetPack's (docs/jetson.md)"
    )


def sees_system_packages() -> bool:
    """Tell whether this Python finds the packages of the operating system.

    Among them JetPack's TensorRT.
    """
    config = Path(sys.prefix) / "pyvenv.cfg"
    return not config.is_file() or "include-system-site-packages = true" in config.read_text("utf-8").lower()


def on_jetson(found: Callable[[], str]) -> str:
    """Return what a Jetson's TensorRT is.

    Raises EdgeError with what is wrong, or missing, and what to do there.
    """
    wrong = wrong_wheel()
    if wrong:
        raise EdgeError(wrong)
    try:
        return found()
    except EdgeError as error:
        if not sees_system_packages():
            raise EdgeError(
                f"{error}. This virtual environment does not see system packages: make it anew with "
                "python3 -m venv --system-site-packages"
            ) from error
        raise
