"""An installation that is ended at any step: the service runs, old or new, and the next run finishes what was begun.

The states are those listed in docs/install.md.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.parts import scaled, told
from tests.mosquitto import wait_for
from tests.systemd.machine import Machine, bundle

pytestmark = pytest.mark.faults

STEP = 12
"""Of so many steps one is tried in the short form, each in the full one."""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("one") / "bundle", "1.0")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("two") / "bundle", "2.0")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Give a machine without the program."""
    return Machine.new(tmp_path_factory.mktemp("bare") / "machine")


@pytest.fixture(scope="module")
def used(bare: Machine, one: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Give a machine with version 1.0."""
    machine = bare.copy(tmp_path_factory.mktemp("used") / "machine")
    machine.installed(one)
    return machine


@pytest.fixture(scope="module")
def upgraded(used: Machine, two: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Give a machine with version 2.0, and 1.0 before it."""
    machine = used.copy(tmp_path_factory.mktemp("upgraded") / "machine")
    machine.installed(two)
    return machine


def test_the_first_installation_needs_no_unit_that_is_there(bare: Machine, one: Path, tmp_path: Path) -> None:
    """Kind: a command that fails where there is nothing yet. In 0.6.0 `systemctl stop` ended the first installation."""
    machine = bare.copy(tmp_path / "machine")
    machine.installed(one)
    assert (machine.running(), machine.versions()) == ("1.0", ("1.0", ""))
    machine.installed(one, "uninstall")
    machine.installed(one, "uninstall")
    assert (machine.running(), machine.home.exists()) == ("", False)
    machine.installed(one)
    assert machine.running() == "1.0"


@pytest.mark.timeout(2 * 3600)
@pytest.mark.parametrize(
    ("action", "start", "before", "after"),
    [
        ("install", "bare", "", ("2.0", "")),
        ("install", "used", "1.0", ("2.0", "1.0")),
        ("rollback", "upgraded", "2.0", ("1.0", "2.0")),
        ("uninstall", "used", "1.0", ("", "")),
    ],
)
def test_a_kill_at_any_step_leaves_a_service_that_runs_or_the_next_run_mends_it(
    request: pytest.FixtureRequest, two: Path, tmp_path: Path, action: str, start: str, before: str,
    after: tuple[str, str],
) -> None:  # fmt: skip
    """Kind: a step cut in two. In 0.6.0 the service stayed stopped, or the configuration was root's for ever."""
    whole: Machine = request.getfixturevalue(start)
    step = scaled(0, STEP - 1)
    number = 1
    while True:
        machine = whole.copy(tmp_path / f"machine-{number}")
        if not machine.killed_at(number, two, action):
            break
        where = f"{action} of {start}, killed before step {number}"
        if action != "uninstall" and before:
            wait_for(lambda machine=machine: machine.running() in (before, after[0]), 10)  # type: ignore[misc]
        current, previous = machine.versions()
        assert current in ("", before, after[0]), where
        assert not current or current != previous, where
        machine.boot()
        if before and action != "uninstall":
            assert machine.running() in (before, after[0]), where
        machine.installed(two, action if action != "rollback" or machine.running() == before else "install")
        assert machine.running() == after[0] or (action == "rollback" and machine.running() == "2.0"), where
        if action == "install":
            assert machine.versions() == after, where
            settings = machine.folder / "etc/sicklescope/sicklescope.toml"
            users = (machine.folder / "etc/group").read_text("utf-8").splitlines()
            (group,) = (int(line.split(":")[2]) for line in users if line.startswith("sicklescope:"))
            assert (settings.stat().st_gid, settings.stat().st_mode & 0o777, settings.stat().st_size > 100) == (
                group, 0o640, True,
            ), where  # fmt: skip
            assert not list(settings.parent.glob("*.new")), where
        elif action == "uninstall":
            assert not machine.home.exists(), where
        subprocess.run(["rm", "-rf", machine.folder], check=True)
        number += STEP - step
    assert number > STEP
    told(f"kills of install.sh, {action} of {start}", steps=number - 1, tried=(number - 1) // (STEP - step))


@pytest.mark.parametrize("signal_number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_service_runs_again_whatever_ends_the_installer_during_doctor(
    used: Machine, two: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    """Kind: a service that is stopped and forgotten."""
    machine = used.copy(tmp_path / "machine")
    waits, inside = machine.lib / "doctor-waits", machine.lib / "sicklescope/in-doctor"
    inside.unlink(missing_ok=True)
    waits.touch()
    process = machine.install(two)
    wait_for(inside.exists, 30)
    assert machine.running() == ""
    if signal_number == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal_number)  # as a terminal does
    assert process.wait(30) in (-signal_number, 128 + signal_number)
    wait_for(lambda: machine.running() == "1.0", 10)
    assert machine.versions() == ("1.0", "")
    waits.unlink()
    process.communicate(timeout=30)  # once `doctor`, which a SIGKILL left at work, has ended too
    machine.installed(two)
    assert (machine.running(), machine.versions()) == ("2.0", ("2.0", "1.0"))


def test_a_second_installer_waits_for_the_first(used: Machine, two: Path, tmp_path: Path) -> None:
    machine = used.copy(tmp_path / "machine")
    inside, waits = machine.lib / "sicklescope/in-doctor", machine.lib / "doctor-waits"
    inside.unlink(missing_ok=True)
    waits.touch()
    first = machine.install(two)
    wait_for(inside.exists, 30)
    second = machine.install(two, "rollback")
    waits.unlink()
    for process in (first, second):
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert machine.running() == "1.0"


def test_a_doctor_that_misses_something_leaves_the_old_version(used: Machine, two: Path, tmp_path: Path) -> None:
    machine = used.copy(tmp_path / "machine")
    (machine.lib / "doctor-code").write_text("1")
    failed = machine.install(two)
    said, _ = failed.communicate(timeout=60)
    assert (failed.returncode, machine.running()) == (1, "1.0")
    assert "1.0" in said
    assert machine.versions() == ("1.0", "")
    machine.installed(two, "--even-if-doctor-fails")
    assert (machine.running(), machine.versions()) == ("2.0", ("2.0", "1.0"))


def test_the_first_version_stays_though_its_doctor_misses_the_camera(bare: Machine, one: Path, tmp_path: Path) -> None:
    machine = bare.copy(tmp_path / "machine")
    (machine.lib / "doctor-code").write_text("1")
    assert "something is missing" in machine.installed(one)
    assert machine.running() == "1.0"


def test_a_rollback_over_a_changed_database_puts_the_copy_back(upgraded: Machine, two: Path, tmp_path: Path) -> None:
    """Kind: a step forward that cannot be taken back. In 0.6.0 the older version then refused the database."""
    machine = upgraded.copy(tmp_path / "machine")
    (machine.lib / "sicklescope/sicklescope.sqlite3").write_text("2.0")
    machine.installed(two, "rollback")
    restored = machine.lib / "sicklescope/restored"
    assert restored.read_text().startswith("2.0 restore --before-upgrade /var/lib/sicklescope/results-since-upgrade-")
    assert machine.running() == "1.0"
    restored.unlink()
    machine.installed(two, "rollback")
    assert not restored.exists(), "the newer one reads what the older one left"
    assert machine.running() == "2.0"


def test_the_true_systemctl_knows_what_the_stand_in_was_asked(upgraded: Machine, one: Path, tmp_path: Path) -> None:
    machine = upgraded.copy(tmp_path / "machine")
    machine.installed(one, "rollback")
    machine.installed(one, "uninstall")
    asked = machine.asked()
    assert {line.split()[0] for line in asked} >= {"daemon-reload", "enable", "restart", "stop", "disable"}
    for line in asked:
        # What it does not know it says before it looks for a systemd, which does not run in there.
        alone = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs tmpfs /run; systemctl {line}"]
        said = subprocess.run(alone, capture_output=True, text=True).stderr
        assert re.search("not been booted with systemd|sicklescope.service does not exist|^$", said), f"{line}: {said}"
