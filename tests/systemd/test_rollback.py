"""From the true 0.6.0 to this version and back, with samples made by both."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.faults.parts import scaled, told
from tests.systemd.install_parts import REPOSITORY, lending_python, small_bundle
from tests.systemd.machine import Machine

pytestmark = pytest.mark.faults

OLD = "fd6eba3"
"""The commit that is version 0.6.0."""

CONFIGURATION = """
[device]
site = "lab"
device = "one"
state_dir = "/var/lib/sicklescope"
[camera]
kind = "virtual"
width = 320
height = 240
frames = 3
[optics]
um_per_px = 0.25
[mqtt]
enabled = false
"""


def program(folder: Path) -> dict[str, str | Path]:
    """Return the files of the program in a folder, by their names in its wheel."""
    files = (path for path in (folder / "edge").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): path for path in files}


@pytest.mark.timeout(600)
def test_results_made_after_an_upgrade_from_0_6_0_are_written_out_when_it_is_rolled_back(tmp_path: Path) -> None:
    """Kind: a step forward that cannot be taken back."""
    if not scaled(0, 1):
        pytest.skip("two versions are installed and read samples: in full only (make soak)")
    archive = subprocess.run(["git", "archive", OLD, "edge"], cwd=REPOSITORY, capture_output=True)
    if archive.returncode:
        pytest.skip(f"the history of this checkout does not reach back to 0.6.0 ({OLD})")
    old = tmp_path / "source"
    old.mkdir()
    subprocess.run(["tar", "-x", "-C", old], input=archive.stdout, check=True)
    entry = "edge.__main__:main"
    before = small_bundle(tmp_path / "before", "0.6.0", program(old), entry)
    after = small_bundle(tmp_path / "after", "9.9", program(REPOSITORY), entry)

    machine = Machine.new(tmp_path / "machine")
    tools = machine.folder / "tools"
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "sicklescope" not in path.name:
            (borrowed / path.name).symlink_to(path)
    lending_python(tools, borrowed)
    # The service's user may not enter the folder of this Python: here root is that user.
    for name, script in (("runuser", 'shift 3; exec "$@"'), ("chown", "true")):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (tools / name).chmod(0o755)

    def say(*words: str) -> str:
        line = machine.words("/opt/sicklescope/current/bin/sicklescope", *words)
        done = subprocess.run([*line, "--config", "/etc/sicklescope/sicklescope.toml"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (machine.folder / "etc/sicklescope").mkdir()
    (machine.folder / "etc/sicklescope/sicklescope.toml").write_text(CONFIGURATION, "utf-8")
    machine.installed(before)
    assert machine.versions() == ("0.6.0", "")
    say("run", "--sample", "BY-THE-OLD")
    machine.installed(after)
    assert machine.versions() == ("9.9", "0.6.0")
    assert "BY-THE-OLD" in say("sample", "list")
    say("run", "--sample", "BY-THE-NEW")
    said = machine.installed(after, "rollback")
    assert machine.versions() == ("0.6.0", "9.9"), said
    listed = say("sample", "list")
    assert ("BY-THE-OLD" in listed, "BY-THE-NEW" in listed) == (True, False)
    say("run", "--sample", "BY-THE-OLD-AGAIN")
    (since,) = (machine.lib / "sicklescope").glob("results-since-upgrade-*.jsonl")
    (result,) = map(json.loads, since.read_text("utf-8").splitlines())
    assert (result["sample"], result["cells_seen"] > 0) == ("BY-THE-NEW", True)
    machine.installed(after, "rollback")
    assert machine.versions() == ("9.9", "0.6.0")
    assert "BY-THE-OLD-AGAIN" in say("sample", "list")
    told("a rollback to 0.6.0", samples=3, exported=1)
