"""Systemd is told that the service lives while frames come in and results go out, and hears nothing when they hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config.environment import Supervisor, supervisor
from edge.config.model import CameraConfig
from edge.pipeline import Pipeline
from edge.service.service import Service
from edge.system.systemd import Heartbeat
from tests.edge.service.service_parts import Scripted, configured
from tests.edge.system.systemd_parts import Ear
from tests.mosquitto import free_port, wait_for
from tests.program import Program


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    with Ear(tmp_path) as ear:
        yield ear


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_what_systemd_asks_is_read_from_the_environment(tmp_path: Path) -> None:
    asked = supervisor({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000"})
    assert asked == Supervisor("/run/n", 30.0, False)
    assert supervisor({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_s is None
    assert supervisor({"JOURNAL_STREAM": "8:1", "WATCHDOG_USEC": "soon"}) == Supervisor()


def test_it_says_that_it_lives_while_every_part_is_heard_of(ear: Ear) -> None:
    clock = Clock()
    heartbeat = Heartbeat(Supervisor(ear.address, watchdog_s=30.0), clock)
    heartbeat.register("capture", 5.0)
    for _ in range(6):
        clock.now_s += 5
        heartbeat.beat("capture")
        heartbeat.tick()
    wait_for(lambda: len(ear.all("WATCHDOG")) == 3)
    clock.now_s += 10
    heartbeat.tick()
    wait_for(lambda: ear.all("STATUS") == ["capture silent for 10 s"])
    assert len(ear.all("WATCHDOG")) == 3
    heartbeat.unregister("capture")
    clock.now_s += 10
    heartbeat.tick()
    wait_for(lambda: len(ear.all("WATCHDOG")) == 4)


def test_lines_of_a_status_stay_one_line_and_keep_their_letters(ear: Ear) -> None:
    Heartbeat(Supervisor(ear.address)).starting("0.25 µm/px – two\nlines")
    wait_for(lambda: ear.all("STATUS") == ["0.25 µm/px – two lines"])
    assert int(ear.all("EXTEND_TIMEOUT_USEC")[0]) > 30e6


def test_where_nobody_listens_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    Heartbeat(Supervisor()).ready("")
    Heartbeat(Supervisor(str(tmp_path / "nobody"))).ready("")


def started(service: Service) -> threading.Thread:
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    return thread


def heartbeat(ear: Ear) -> Heartbeat:
    return Heartbeat(Supervisor(ear.address, watchdog_s=0.3))


def test_a_run_is_ready_when_it_reads_and_lives_while_it_does(ear: Ear, tmp_path: Path) -> None:
    camera = CameraConfig(kind="virtual", width=160, height=120, frames=10_000, fps=50)
    service = Service(configured(tmp_path, free_port(), camera), "S", heartbeat=heartbeat(ear))
    thread = started(service)
    wait_for(lambda: len(ear.all("WATCHDOG")) > 5, 20)
    service.stop()
    thread.join(20)
    statuses = ear.all("STATUS")
    assert statuses[0] == "loading the networks"
    assert statuses[1].startswith("reading sample S from virtual slide")
    assert ear.all("READY") == ["1"]
    assert all("EXTEND_TIMEOUT_USEC" not in lines for _, lines in ear.heard[2:])


def test_a_reading_that_hangs_is_silence(ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hang, read = threading.Event(), Pipeline.read

    def hanging(self: Pipeline, frame: object) -> object:
        if frame.index == 20:  # type: ignore[attr-defined]
            hang.wait(20)
        return read(self, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "read", hanging)
    camera = CameraConfig(kind="virtual", width=160, height=120, frames=10_000, fps=20)
    service = Service(configured(tmp_path, free_port(), camera), heartbeat=heartbeat(ear))
    thread = started(service)
    try:
        silent(ear)
    finally:
        service.stop()
        hang.set()
        thread.join(20)


def test_a_capture_that_hangs_is_silence_though_the_loop_goes_round(
    ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()

    def script(index: int) -> None:
        time.sleep(0.05)
        if index == 20:
            hang.wait(20)

    monkeypatch.setattr("edge.service.service.open_camera", lambda *_: Scripted(script, live=True, frames=10_000))
    monkeypatch.setattr("edge.service.service.CAPTURE_S", 0.2)
    config = configured(tmp_path, free_port(), CameraConfig(kind="virtual", read_timeout_s=0.1))
    service = Service(config, heartbeat=heartbeat(ear))
    thread = started(service)
    try:
        silent(ear)
        assert "capture silent" in ear.all("STATUS")[-1]
    finally:
        service.stop()
        hang.set()
        thread.join(20)


def silent(ear: Ear) -> None:
    """Wait until it has lived, and then said nothing for five times as long as it may."""
    wait_for(lambda: len(ear.all("WATCHDOG")) > 3, 20)
    wait_for(lambda: time.monotonic() - ear.last_s("WATCHDOG") > 1.5, 20)


def test_the_command_itself_speaks_to_systemd(ear: Ear, tmp_path: Path) -> None:
    (tmp_path / "sicklescope.toml").write_text(
        f'[device]\nstate_dir = "{tmp_path}/state"\n[camera]\nkind = "virtual"\nwidth = 160\nheight = 120\nfps = 50\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    )
    program = Program(tmp_path, "run", "--keep-trying", NOTIFY_SOCKET=ear.address, WATCHDOG_USEC="300000")
    try:
        wait_for(lambda: len(ear.all("WATCHDOG")) > 5, 20)
        assert ear.all("READY") == ["1"]
    finally:
        program.process.terminate()
    assert program.end() == 0
    wait_for(lambda: ear.all("STOPPING") == ["1"])
