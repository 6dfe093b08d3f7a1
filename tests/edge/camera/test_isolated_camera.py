"""A live camera in its own process: whatever its driver does, the run goes on, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edge.camera.capture_thread import Mailbox, capturing
from edge.camera.isolated import IsolatedCamera
from edge.errors import CameraError
from edge.types import Frame
from tests.edge.camera.camera_parts import Plugged, frame_of, live
from tests.mosquitto import wait_for


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Path]:
    """Give the file of a camera that is plugged in; afterwards no process of it may be left."""
    path = tmp_path / "plug"
    path.touch()
    before = set(psutil.Process().children(recursive=True))
    yield path
    wait_for(lambda: not set(psutil.Process().children(recursive=True)) - before)


def camera(
    plug: Path, what: str = "", timeout_s: float = 5.0, frames: int | None = None, **more: Any
) -> IsolatedCamera:
    return IsolatedCamera(partial(Plugged, plug, what, **more), live(read_timeout_s=timeout_s, frames=frames))


def child_of(plug: Path) -> int:
    """Return the number of the process that opened the camera last; 0 while that is being written."""
    return int(plug.read_text("ascii") or 0)


def test_frames_come_from_another_process_and_stay_as_they_were(plug: Path) -> None:
    with camera(plug, frames=20) as source:
        assert source.name == "a plugged camera 64x48"
        assert child_of(plug) not in (0, os.getpid())
        frames = [frame_of(source) for _ in range(20)]
        assert source.read() is None
    assert plug.with_name("closed").exists(), "the camera was not closed in order"
    assert [frame.index for frame in frames] == list(range(20))
    assert all((frame.pixels == index).all() for index, frame in enumerate(frames))
    assert all(0 <= time.monotonic() - frame.monotonic_s < 60 for frame in frames)
    assert not any(frame.pixels.flags.writeable for frame in frames)


def test_a_frame_larger_than_those_before_it_comes_whole(plug: Path) -> None:
    with camera(plug, "grow") as source:
        frames = [frame_of(source) for _ in range(6)]
    assert [frame.pixels.shape for frame in frames] == [(48, 64, 3)] * 3 + [(192, 256, 3)] * 3
    assert all((frame.pixels == index).all() for index, frame in enumerate(frames))


def test_a_read_that_hangs_for_ever_is_killed_by_its_deadline_and_the_next_begins_anew(plug: Path) -> None:
    with camera(plug, "hang", timeout_s=0.5) as source:
        for _ in range(3):
            source.read()
        hung = child_of(plug)
        with pytest.raises(CameraError, match=r"did not give a frame within 0\.5 s.*camera\.read_timeout_s"):
            source.read()
        assert not psutil.pid_exists(hung)
        plug.with_name("cured").touch()
        frame = frame_of(source)
        assert child_of(plug) != hung
    assert (frame.index, frame.name) == (3, "a plugged camera 64x48#3")


@pytest.mark.parametrize(
    ("what", "said"), [("segfault", "was ended by SIGSEGV"), ("mistake", "ended with exit code 1")]
)
def test_a_driver_that_crashes_is_an_error_with_how_it_ended(plug: Path, what: str, said: str) -> None:
    with camera(plug, what) as source:
        for _ in range(3):
            source.read()
        with pytest.raises(CameraError, match=said):
            source.read()


def test_a_camera_that_is_absent_or_hangs_when_opened_is_an_error_by_the_deadline(plug: Path) -> None:
    with pytest.raises(CameraError, match=r"did not open within 0\.3 s"), camera(plug, "hang open", timeout_s=0.3):
        pass
    plug.unlink()
    with pytest.raises(CameraError, match="a plugged camera not found"), camera(plug):
        pass


def test_a_camera_that_does_not_close_is_killed(plug: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.camera.isolated.CLOSE_S", 0.3)
    with camera(plug, "hang close") as source:
        source.read()
    assert not psutil.pid_exists(child_of(plug))


def test_ctrl_c_and_a_stop_of_the_service_leave_the_camera_to_the_parent(plug: Path) -> None:
    with camera(plug) as source:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(child_of(plug), number)
            assert source.read() is not None
        assert os.getpgid(child_of(plug)) != os.getpgrp(), "a terminal's Ctrl-C would reach it"


def gone(pid: int) -> bool:
    """Whether a process has ended; one whose parent died may wait for an init that is slow to bury it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def read_on(mailbox: Mailbox, until: Callable[[list[Frame]], bool]) -> list[Frame]:
    """Take frames until the condition holds of those taken."""
    frames: list[Frame] = []
    deadline = time.monotonic() + 30
    while not until(frames):
        assert time.monotonic() < deadline
        item = mailbox.take(0.1)
        if isinstance(item, Frame):
            frames.append(item)
    return frames


def test_a_camera_that_is_killed_from_outside_is_back_with_the_next_frame(plug: Path) -> None:
    with capturing(camera(plug), reconnect_s=30, join_s=5) as mailbox:
        before = read_on(mailbox, lambda frames: len(frames) >= 3)
        killed = child_of(plug)
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: child_of(plug) not in (0, killed), 20)
        last = mailbox.sent
        after = read_on(mailbox, lambda frames: mailbox.sent > last + 3)
        lost, back = mailbox.notices()
    assert (lost.code, back.code) == ("camera_lost", "camera_back")
    assert "SIGKILL" in lost.text
    indices = [frame.index for frame in before + after]
    assert indices == sorted(set(indices)), "frames of the second process are numbered on from the first's"


def test_a_camera_that_is_unplugged_is_tried_again_until_it_is_plugged_in(plug: Path) -> None:
    with capturing(camera(plug), reconnect_s=60, join_s=5) as mailbox:
        read_on(mailbox, lambda frames: len(frames) >= 3)
        plug.unlink()
        told = wait_for(mailbox.notices, 20)
        assert mailbox.take(1.2) is None or mailbox.take(1.2) is None  # and is not back by itself
        plug.touch()
        read_on(mailbox, lambda frames: len(frames) >= 3)
        told += mailbox.notices()
    assert [notice.code for notice in told] == ["camera_lost", "camera_back"]
    assert "stopped giving frames" in told[0].text
    assert "is back after" in told[1].text


def test_a_camera_that_stays_away_ends_the_capture_with_its_newest_error(plug: Path) -> None:
    with capturing(camera(plug), reconnect_s=0.6, join_s=5) as mailbox:
        read_on(mailbox, lambda frames: len(frames) >= 3)
        plug.unlink()
        with pytest.raises(CameraError, match="not found"):
            read_on(mailbox, lambda frames: False)


def test_a_run_that_ends_while_the_camera_is_away_does_not_wait_for_it(plug: Path) -> None:
    with capturing(camera(plug), reconnect_s=600, join_s=5) as mailbox:
        read_on(mailbox, lambda frames: len(frames) >= 1)
        plug.unlink()
        wait_for(mailbox.notices, 20)
        began = time.monotonic()
    assert time.monotonic() - began < 3


PARENT = """
import sys, time
from functools import partial
from pathlib import Path
from tests.edge.camera.camera_parts import Plugged, live
from edge.camera.isolated import IsolatedCamera
with IsolatedCamera(partial(Plugged, Path(sys.argv[1]), "hang", size=(480, 640)), live(read_timeout_s=60)) as camera:
    for _ in range(3):
        camera.read()
    camera.read()
"""


def test_a_parent_that_is_killed_takes_a_hanging_camera_with_it_and_leaves_no_shared_memory(plug: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, "-c", PARENT, str(plug)], env=environ) as parent:
        wait_for(lambda: plug.with_name("misbehaving").exists(), 20)
        assert not gone(child_of(plug))
        maps = [Path(f"/proc/{pid}/maps").read_text("utf-8") for pid in (parent.pid, child_of(plug))]
        assert all("memfd:sicklescope-frame" in text and "/shm/" not in text for text in maps), "memory that has a name"
        parent.kill()
    wait_for(lambda: gone(child_of(plug)), 20)


def test_what_a_frame_costs_is_little(plug: Path) -> None:
    """Of the 2 ms that a frame of 640x480 may cost, in processor time of this side; the child's part is a copy too."""
    with camera(plug, size=(480, 640), fps=1e6) as source:
        source.read()
        began = time.process_time()
        for _ in range(100):
            frame = frame_of(source)
        cost_ms = (time.process_time() - began) * 10
    assert np.asarray(frame.pixels).nbytes == 480 * 640 * 3
    assert cost_ms < 2
