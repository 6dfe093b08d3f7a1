"""The demonstration: one command, nothing installed beside it, and its messages can be read by any client."""

from __future__ import annotations

import re
from pathlib import Path

from edge.camera.virtual.camera import VirtualCamera
from edge.cli.demo import Truth, demo_config
from edge.config.model import CameraConfig
from tests.mosquitto import Listener, free_port, wait_for
from tests.program import Program


def test_its_messages_are_read_where_it_says_and_it_ends_by_itself(tmp_path: Path) -> None:
    port = free_port()
    program = Program(tmp_path, "demo", "--port", port, "--seed", 3, TMPDIR=str(tmp_path))
    line = f"mosquitto_sub -h 127.0.0.1 -p {port} -t 'sicklescope/#' -v"
    wait_for(lambda: line in program.out or program.process.poll() is not None, 20)
    with Listener("127.0.0.1", port) as dashboard:
        wait_for(lambda: dashboard.of("progress"), 20)
        program.process.terminate()
        wait_for(lambda: dashboard.of("result"))
    assert program.end() == 0
    assert "the broker has taken the result" in program.out
    assert dashboard.of("birth")[0]["camera"].startswith("virtual slide 3")
    assert not list(tmp_path.glob("sicklescope-demo-*"))


def test_it_ends_after_the_frames_asked_for_and_shows_the_truth_beside_the_result(tmp_path: Path) -> None:
    program = Program(tmp_path, "demo", "--frames", 8)
    assert program.end(60) == 0
    assert "8 frames: " in program.out
    told = re.search(r"The virtual slide's truth in the fields that were read: (\d+) of (\d+) red cells", program.out)
    assert told
    assert int(told[2]) > 300


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    port = free_port()
    first = Program(tmp_path, "demo", "--port", port)
    wait_for(lambda: "mosquitto_sub" in first.out, 20)
    (tmp_path / "second").mkdir()
    second = Program(tmp_path / "second", "demo", "--port", port)
    assert second.end() == 1
    assert "Choose another port" in second.err
    first.process.kill()
    first.process.wait()


def test_the_truth_is_of_the_slide_that_the_service_reads(tmp_path: Path) -> None:
    config = demo_config(tmp_path, 1, frames=2, seed=5).camera
    truth = Truth(config)
    truth.add(1)
    shown = [cell for cell in VirtualCamera(config).truth(1) if cell.fully_visible]
    assert truth.sickle == sum(cell.class_name == "sickle" for cell in shown) > 0
    assert truth.red_cells > truth.sickle
    other = Truth(CameraConfig(kind="virtual", seed=6, frames=2))
    other.add(1)
    assert (other.red_cells, other.sickle) != (truth.red_cells, truth.sickle)
