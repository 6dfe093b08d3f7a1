"""What the tests of the installer share: a bundle round a program, and a Python that makes environments quickly."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SYSTEMD = REPOSITORY / "systemd"


def small_bundle(
    folder: Path, version: str, program: Mapping[str, str | Path], entry: str, needed: str | None = None
) -> Path:
    """Write what `make bundle` writes, with at most one package beside the program.

    program: what the wheel holds by name, as text or as a file to copy; entry: what the command calls; needed: version
    of the package `needed`, which has a NUMBER.
    """
    (folder / "wheels").mkdir(parents=True)
    about = {"entry_points.txt": f"[console_scripts]\nsicklescope = {entry}\n"}
    if needed is not None:
        _write_wheel(folder / "wheels", "needed", needed, {"needed.py": f"NUMBER = {needed!r}\n"}, {})
    requires = "" if needed is None else "Requires-Dist: needed\n"
    _write_wheel(folder / "wheels", "sicklescope", version, program, about, requires)
    shutil.copytree(SYSTEMD, folder / "systemd")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums), "utf-8")
    return folder


def _write_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, str | Path], about: Mapping[str, str], requires: str = ""
) -> None:
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **about,
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for place, content in files.items():
            if isinstance(content, Path):
                wheel.write(content, place)
            else:
                wheel.writestr(zipfile.ZipInfo(place), content)  # without the time: the same each time
        for place, text in texts.items():
            wheel.writestr(zipfile.ZipInfo(f"{name}-{version}.dist-info/{place}"), text)


def lending_python(folder: Path, borrowed: Path) -> Path:
    """Write a Python whose environments borrow the packages in a folder: their own pip would take most of the time."""
    python = folder / "python"
    python.write_text(
        f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"
{sys.executable} "$@" --without-pip || exit 1
for environment; do :; done
echo {borrowed} > "$(echo "$environment"/lib/python*/site-packages)/borrowed.pth"
"""
    )
    python.chmod(0o755)
    return python
