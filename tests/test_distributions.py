"""Three distributions from one repository: a device gets no code of the others, and none leaves a module behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


DEVICE, TRAINING = (".", ("edge", "export", "calibration")), ("training", ("training",))
FLEET = ("fleet", ("fleet",))


def tracked(*tops: str) -> list[str]:
    """Return the files that git knows below some folders, as they lie in the work tree."""
    listed = subprocess.run(["git", "ls-files", *tops], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).exists()]


@pytest.mark.parametrize(("folder", "tops"), [DEVICE, TRAINING, FLEET], ids=["device", "training", "fleet"])
def test_a_wheel_carries_its_own_rooms_and_no_others(folder: str, tops: tuple[str, ...], tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in tracked("pyproject.toml", "README.md", "LICENSE", "edge", "export", "calibration", "training", "fleet"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "wheel", "--no-deps", "--wheel-dir"]
    built = subprocess.run([*build, str(tmp_path), str(source / folder)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        carried = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert carried == {name for name in tracked(*tops) if not name.endswith("pyproject.toml")}


@pytest.mark.parametrize("folder", ["training", "fleet"])
def test_all_have_the_same_version(folder: str) -> None:
    device, other = (
        tomllib.loads((ROOT / name / "pyproject.toml").read_text("utf-8"))["project"] for name in (".", folder)
    )
    assert other["version"] == device["version"]
    assert f"sicklescope=={device['version']}" in other["dependencies"]
