"""As a new user would: install, start a sample, pull camera and broker, kill the service, and find the sample again.

The steps are those of docs/install.md and docs/sample.md. In the short form the bundle holds the true program, and its
environment borrows the packages of this one; in full (SOAK) it is what `make bundle` writes, packages and all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import psutil
import pytest

from edge.camera.virtual.camera import VirtualCamera
from edge.config.model import CameraConfig
from edge.sample.store import Store
from edge.storage.database import Database
from tests.edge.camera.openflexure_parts import PART, Microscope
from tests.edge.system.systemd_parts import Ear
from tests.faults.parts import scaled, told
from tests.mosquitto import Listener, Mosquitto, free_port, wait_for
from tests.systemd.install_parts import REPOSITORY, lending_python, small_bundle

pytestmark = pytest.mark.faults

PACKAGES = Path(sysconfig.get_path("purelib"))


def bundle(folder: Path) -> Path:
    """Write the bundle and unpack it, as docs/install.md says; in the short form without packages."""
    if scaled(0, 1):
        made = subprocess.run(
            [REPOSITORY / "systemd/bundle.sh", folder], env={**os.environ, "PYTHON": sys.executable}, text=True
        )
        assert made.returncode == 0
        (archive,) = folder.glob("*.tar.gz")
        subprocess.run(["tar", "-C", folder, "-xf", archive], check=True)
        return archive.with_name(archive.name.removesuffix(".tar.gz"))
    program = {
        str(path.relative_to(REPOSITORY)): path
        for path in (REPOSITORY / "edge").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    return small_bundle(folder / "bundle", "9.9", program, "edge.__main__:main")


def python(folder: Path) -> Path:
    """Return the Python to install with; in the short form its environments see the packages of this one."""
    if scaled(0, 1):
        return Path(sys.executable)
    borrowed = folder / "borrowed"
    borrowed.mkdir()
    for path in PACKAGES.iterdir():
        if "sicklescope" not in path.name:
            (borrowed / path.name).symlink_to(path)
    return lending_python(folder, borrowed)


class Installed:
    """What install.sh made below `root`, and what a person does with it."""

    def __init__(self, folder: Path) -> None:
        self.root, self._environ = folder / "root", {"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "300"}
        self._log = folder / "service.log"
        self.root.mkdir()
        alone = ["unshare", "--net"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*alone, str(bundle(folder) / "systemd/install.sh"), "--root", str(self.root), "--hardware", "cpu"],
            capture_output=True, text=True, env={**self._environ, "PYTHON": str(python(folder))},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        self.settings = self.root / "etc/sicklescope/sicklescope.toml"
        self.state = self.root / "var/lib/sicklescope"
        os.chown(self.state, os.geteuid(), os.getegid())  # who runs the tests is the service's user here

    def change(self, **lines: str) -> None:
        """Edit lines of the configuration by their keys."""
        text = self.settings.read_text("utf-8")
        for key, line in lines.items():
            text, found = re.subn(rf"^{key} = .*$", line, text, count=1, flags=re.MULTILINE)
            assert found, f"no {key} in {self.settings}"
        self.settings.write_text(text, "utf-8")

    def start(self, notify: str) -> subprocess.Popen[str]:
        """Start what the unit starts."""
        unit = (self.root / "etc/systemd/system/sicklescope.service").read_text("utf-8")
        (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        words = [f"{self.root}{word}" if word.startswith("/") else word for word in line.split()]
        with self._log.open("a") as log:
            return subprocess.Popen(words, stderr=log, text=True, env={**self._environ, "NOTIFY_SOCKET": notify})

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def say(self, *words: str) -> str:
        """Give a command, and return its answer."""
        command = f"{self.root}{(self.root / 'usr/local/bin/sicklescope').readlink()}"
        done = subprocess.run(
            [command, *words, "--config", self.settings], capture_output=True, text=True, env=self._environ
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def draft(self) -> dict[str, Any]:
        """Return how far the newest sample is, on the disk."""
        with Database(self.state / "sicklescope.sqlite3") as database:
            (sample,) = Store(database).newest(1)
        return {**json.loads(sample.draft), "state": sample.state}


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Draw fields of the virtual slide, as the microscope's server codes them."""
    with VirtualCamera(CameraConfig(kind="virtual", width=320, height=240, frames=40, overlap=0.5)) as camera:
        fields = [frame.pixels for frame in iter(camera.read, None) if frame is not None]
    return [cv2.imencode(".jpg", one[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes() for one in fields]


@pytest.mark.timeout(900)
def test_a_new_user_finds_the_sample_where_it_was(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, pictures: list[bytes]
) -> None:
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("systemd is not installed (apt-get install systemd)")
    began_s = time.monotonic()
    broker, port, shown = start_mosquitto(), free_port(), count()
    device = Installed(tmp_path)
    installed_s = time.monotonic() - began_s

    def stream() -> Iterator[bytes]:
        for index in shown:  # the slide stays where it is while nobody looks
            time.sleep(0.1)
            yield PART % pictures[index % len(pictures)]

    device.change(
        state_dir=f'state_dir = "{device.state}"', kind='kind = "openflexure"',
        device='device = "scope-1"', host=f'host = "127.0.0.1"\nport = {broker.port}',
    )  # fmt: skip
    settings = device.settings.read_text("utf-8")
    device.settings.write_text(settings.replace("/dev/video0", f"http://127.0.0.1:{port}"), "utf-8")
    assert "can be used" in device.say("config", "--check")

    with Listener(broker.host, broker.port) as dashboard, Ear(tmp_path) as ear, ExitStack() as ended:
        with Microscope("v2", stream, port=port):
            service = device.start(ear.address)
            ended.callback(service.kill)
            wait_for(lambda: ear.all("READY"), 60)
            assert device.say("sample", "start", "K-1042") == "sample K-1042 is scanning\n"
            wait_for(lambda: device.draft()["fields_read"] > 3, 60)
        # A busy machine may have lost the camera before, and found it again.
        wait_for(lambda: dashboard.of("event")[-1:] and dashboard.of("event")[-1]["code"] == "camera_lost", 60)
        wait_for(lambda: dashboard.states()[-1] == "fault")
        broker.stop(signal.SIGKILL)
        wait_for(lambda: "lost: the network or the broker" in device.log())
        children = psutil.Process(service.pid).children(recursive=True)
        service.kill()
        service.wait()
        psutil.wait_procs(children, timeout=10)
        assert not any(child.is_running() for child in children), "the camera's process ends with the service"
        kept = device.draft()
        assert kept["state"] == "scanning"

        service = device.start(ear.address)
        ended.callback(service.kill)
        wait_for(lambda: any(status.startswith("fault: OpenFlexure") for status in ear.all("STATUS")), 60)
        assert "scanning" in device.say("sample", "list")
        assert device.draft() == kept, "nothing was lost, and nothing happened to it"
        broker.start()
        with Microscope("v2", stream, port=port):
            wait_for(lambda: device.draft()["fields_read"] > kept["fields_read"] + 3, 60)
            wait_for(lambda: dashboard.states()[-1] == "online", 30)
            assert device.say("sample", "stop").startswith("sample K-1042 is ")
            (result,) = wait_for(lambda: dashboard.of("result"), 30)
            service.send_signal(signal.SIGTERM)
            assert service.wait(60) == 0
            wait_for(lambda: dashboard.states()[-1] == "stopped")
    assert [one["id"] for one in dashboard.of("result")] == [result["id"]], "once"
    assert (result["sample"], result["sample_id"]) == ("K-1042", kept["sample_id"])
    assert (result["revision"], result["interruptions"], result["islands"] > kept["islands"]) == (1, 1, True)
    assert result["cells_seen"] > kept["cells_seen"] > 0
    assert "Traceback" not in device.log()
    exported = tmp_path / "export"
    device.say("sample", "export", "K-1042", str(exported))
    cells = exported.joinpath("cells.csv").read_text("utf-8").splitlines()
    assert len(cells) - 1 == result["cells_seen"] - result["border"]
    told(
        "a new user", installed_s=round(installed_s), seconds=round(time.monotonic() - began_s),
        fields_before=kept["fields_read"], fields=result["fields_read"], cells=result["cells_seen"],
    )  # fmt: skip
