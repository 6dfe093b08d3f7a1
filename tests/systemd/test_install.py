"""The installer and the unit, as a new user meets them: into an empty root, with no network, again, back, and away.

The program installed here is a small stand-in; the true one takes minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pip
import pytest

from edge.config.loader import load, secrets
from tests.systemd.install_parts import SYSTEMD, lending_python, small_bundle

UNIT = (SYSTEMD / "sicklescope.service").read_text("utf-8")
HARDWARE = sorted(path.stem for path in (SYSTEMD / "hardware").glob("*.conf"))

PROGRAM = """
import sys
def main():
    print("{version}", *sys.argv[1:])
"""


def bundle(folder: Path, version: str) -> Path:
    """Write what `make bundle` writes."""
    program = PROGRAM.format(version=version)
    return small_bundle(folder, version, {"standin.py": program}, "standin:main")


def quick_python(folder: Path) -> Path:
    """Write a Python whose environments borrow this one's pip: giving each one of its own takes most of the time."""
    borrowed = folder / "pip/pip"
    if not borrowed.is_symlink():
        borrowed.parent.mkdir()
        borrowed.symlink_to(Path(pip.__file__).parent)
    return lending_python(folder, borrowed.parent)


def installer(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    alone = ["unshare", "--net"] if os.geteuid() == 0 else []
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    line = [*alone, str(folder / "systemd/install.sh"), *map(str, arguments)]
    environ["PYTHON"] = str(quick_python(folder.parent))
    return subprocess.run(line, capture_output=True, text=True, env=environ)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    if shutil.which("systemd-sysusers") is None or shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed (apt-get install systemd)")
    return lambda name: tmp_path_factory.mktemp(name)


@pytest.fixture(scope="module")
def root(empty: Callable[..., Path]) -> Path:
    """Install version 1.0 of the stand-in into an empty root."""
    root = empty("root")
    done = installer(bundle(empty("bundle") / "one", "1.0"), "--root", root, "--hardware", "cpu")
    assert done.returncode == 0, done.stderr
    return root


def current(root: Path) -> str:
    program = root / "opt/sicklescope/current/bin/sicklescope"
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]


def analyze(root: Path, *words: str) -> str:
    """Ask systemd-analyze about the unit below root, with the machine's own units beside it."""
    if not (root / "usr/lib/systemd/system").exists():
        shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    done = subprocess.run(
        ["systemd-analyze", *words, f"--root={root}", "sicklescope.service"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong_with_the_unit(root: Path) -> None:
    assert analyze(root, "verify", "--man=no") == ""


@pytest.mark.parametrize(("hardware", "limit"), [("cpu", 2.0), ("raspberry-pi", 2.5), ("jetson", 2.5), ("nvidia", 2.5)])
def test_the_unit_is_exposed_to_little(root: Path, tmp_path: Path, hardware: str, limit: float) -> None:
    assert hardware in HARDWARE
    units = tmp_path / "etc/systemd/system"
    shutil.copytree(root / "etc/systemd/system", units)
    shutil.copy(SYSTEMD / f"hardware/{hardware}.conf", units / "sicklescope.service.d/10-hardware.conf")
    report = analyze(tmp_path, "security", "--offline=true", "--no-pager")
    level = re.search(r"Overall exposure level for sicklescope.service: ([\d.]+)", report)
    assert level is not None, report
    assert float(level[1]) <= limit


def test_the_clock_from_a_browser_costs_one_capability(root: Path, tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    shutil.copytree(root / "etc/systemd/system", units)
    before = analyze(tmp_path, "security", "--offline=true", "--no-pager")
    shutil.copy(SYSTEMD / "browser-clock.conf", units / "sicklescope.service.d/20-browser-clock.conf")
    after = analyze(tmp_path, "security", "--offline=true", "--no-pager")
    opened = set(re.findall(r"✗ (\S+)", after)) - set(re.findall(r"✗ (\S+)", before))
    assert opened == {"CapabilityBoundingSet=~CAP_SYS_TIME", "AmbientCapabilities=", "PrivateUsers="}


def test_the_sandbox_leaves_what_the_program_asks_the_system(root: Path) -> None:
    # adjtimex tells whether the clock is synchronised, /proc whether this is still the same boot: no error shows
    # when they are forbidden, only wrong messages.
    assert "ProtectClock=yes" not in re.sub(r"^#.*$", "", UNIT, flags=re.MULTILINE)
    assert "ProcSubset=pid" not in re.sub(r"^#.*$", "", UNIT, flags=re.MULTILINE)
    assert re.search(r"^SystemCallFilter=adjtimex", UNIT, re.MULTILINE)


def test_every_secret_of_the_configuration_may_come_as_a_credential(root: Path) -> None:
    assert re.findall(r"^LoadCredential=([^:]+):/etc/sicklescope/credentials/\1$", UNIT, re.MULTILINE) == secrets()
    for name in secrets():
        assert (root / "etc/sicklescope/credentials" / name).stat().st_mode & 0o777 == 0o600


def test_the_installed_configuration_can_be_used_and_agrees_with_the_unit(root: Path) -> None:
    loaded = load(root / "etc/sicklescope/sicklescope.toml", {})
    assert loaded.config.device.state_dir == Path("/var/lib/sicklescope")
    assert "StateDirectory=sicklescope\n" in UNIT
    assert "--config /etc/sicklescope/sicklescope.toml\n" in UNIT


def test_what_was_installed_below_a_root_runs_wherever_the_root_comes_to_lie(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "opt", tmp_path / "opt", symlinks=True)
    for path in (tmp_path / "opt").rglob("bin/sicklescope"):
        assert str(root) not in path.read_text("utf-8")
    assert current(tmp_path) == current(root)


def test_the_user_is_made_once(root: Path) -> None:
    users = (root / "etc/passwd").read_text("utf-8").splitlines()
    assert [user.split(":")[0] for user in users if user.startswith("sicklescope:")] == ["sicklescope"]


def test_upgrade_rollback_and_uninstall(root: Path, empty: Callable[..., Path]) -> None:
    bundles = empty("bundles")
    settings = root / "etc/sicklescope/sicklescope.toml"
    settings.write_text(settings.read_text("utf-8") + "# mine\n", "utf-8")
    (root / "var/lib/sicklescope/results").write_text("kept", "utf-8")
    assert current(root) == "1.0"

    two = bundle(bundles / "two", "2.0")
    assert installer(two, "--root", root).returncode == 0
    assert current(root) == "2.0"
    again = installer(two, "--root", root)
    assert again.returncode == 0
    assert "is installed already" in again.stdout
    assert current(root) == "2.0"

    assert installer(two, "rollback", "--root", root).returncode == 0
    assert current(root) == "1.0"
    assert installer(two, "rollback", "--root", root).returncode == 0
    assert current(root) == "2.0"

    assert settings.read_text("utf-8").endswith("# mine\n")
    assert installer(two, "uninstall", "--root", root).returncode == 0
    assert not (root / "opt/sicklescope").exists()
    assert not list((root / "etc/systemd/system").rglob("*.service"))
    assert settings.exists()
    assert (root / "var/lib/sicklescope/results").read_text("utf-8") == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_lies_below_a_root_is_the_services_to_read(root: Path) -> None:
    """Kind: files of the wrong owner. In 0.6.0 the service of an image could not read its configuration."""
    (entry,) = (
        line for line in (root / "etc/passwd").read_text("utf-8").splitlines() if line.startswith("sicklescope:")
    )
    uid, gid = map(int, entry.split(":")[2:4])
    configuration, data = (root / "etc/sicklescope/sicklescope.toml").stat(), (root / "var/lib/sicklescope").stat()
    assert (configuration.st_uid, configuration.st_gid, configuration.st_mode & 0o777) == (0, gid, 0o640)
    assert (data.st_uid, data.st_gid) == (uid, gid)


def test_a_dry_run_changes_nothing(empty: Callable[..., Path]) -> None:
    root = empty("dry")
    done = installer(bundle(empty("bundle") / "one", "1.0"), "--root", root, "--dry-run", "--hardware", "jetson")
    assert done.returncode == 0, done.stderr
    assert not list(root.iterdir())
    assert re.search(r"would run: \S+ -m venv --system-site-packages", done.stdout)


def test_a_damaged_bundle_is_refused(empty: Callable[..., Path]) -> None:
    root, folder = empty("root"), bundle(empty("bundle") / "one", "1.0")
    with (folder / "systemd/sicklescope.service").open("a") as unit:
        unit.write("# damaged on the way\n")
    done = installer(folder, "--root", root)
    assert done.returncode == 1
    assert "the bundle is damaged" in done.stderr
    assert not list(root.iterdir())


@pytest.mark.parametrize("script", ["install.sh", "bundle.sh", "sign_release.sh"])
def test_the_scripts_are_clean(script: str) -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, SYSTEMD / script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_newer_package_is_installed_though_the_program_is_the_same(empty: Callable[..., Path]) -> None:
    """Kind: a security update that says "is installed already" and leaves the old package in use."""
    root, folder = empty("updated"), empty("bundles")
    program = {"standin.py": "import needed\ndef main():\n    print(needed.NUMBER)\n"}
    for number in ("1.0", "1.1"):
        update = small_bundle(folder / number, "3.0", program, "standin:main", number)
        done = installer(update, "--root", root, "--hardware", "cpu")
        assert done.returncode == 0, done.stderr
        assert current(root) == number
    done = installer(update, "rollback", "--root", root)
    assert (done.returncode, current(root)) == (0, "1.0"), done.stderr
