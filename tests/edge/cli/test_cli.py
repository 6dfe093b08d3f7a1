"""The command as a person meets it: what it prints, its exit codes, and Ctrl-C at any time."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner

from edge import errors
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.cli.main import app
from edge.errors import EdgeError
from tests.mosquitto import free_port, wait_for
from tests.program import Program


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Write a configuration of a virtual slide without an end, and no broker."""
    (tmp_path / "sicklescope.toml").write_text(
        f'[device]\nstate_dir = "{tmp_path}/state"\n[optics]\num_per_px = 0.25\n'
        '[camera]\nkind = "virtual"\nwidth = 160\nheight = 120\nframes = 100000\nfps = 50\n'
        '[screening]\nstart = "at_once"\nstop.at_target = false\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    )
    return tmp_path


@pytest.fixture
def running(state: Path) -> Iterator[Program]:
    program = Program(state, "run")
    # A line of counts tells that frames are read.
    wait_for(lambda: re.search(r"^[1-9]\d* fields read", program.out, re.M) or program.process.poll() is not None, 60)
    yield program
    program.process.kill()
    program.process.wait()


def results(state: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(state / "state/sicklescope.sqlite3")) as outbox:
        return [json.loads(row) for (row,) in outbox.execute("SELECT payload FROM outbox WHERE kind = 'result'")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_sample_with_its_result(running: Program, state: Path, number: int) -> None:
    running.process.send_signal(number)
    assert running.end() == 0
    assert "Not a diagnosis" in running.out
    assert "the result waits in the outbox" in running.out
    assert "cannot be reached" in running.out
    (result,) = results(state)
    told = re.findall(r"^(\d+) fields read", running.out, re.M)
    assert result["fields_read"] >= int(told[-1]) > 0


def begun(state: Path) -> bool:
    """Whether the database holds a sample, which `run` begins when it obeys signals."""
    if not (state / "state/sicklescope.sqlite3").exists():
        return False
    with closing(sqlite3.connect(state / "state/sicklescope.sqlite3")) as database:
        try:
            return bool(database.execute("SELECT id FROM samples").fetchall())
        except sqlite3.OperationalError:
            return False  # Its tables are being made.


def test_the_second_ctrl_c_stops_at_once(state: Path) -> None:
    # A camera whose next frame is a quarter of an hour away: the end of the sample waits for it.
    (state / "sicklescope.toml").write_text((state / "sicklescope.toml").read_text().replace("fps = 50", "fps = 0.001"))
    program = Program(state, "run", "--frames", 2)
    wait_for(lambda: begun(state), 60)
    program.process.send_signal(signal.SIGINT)
    wait_for(lambda: "once more to stop at once" in program.err, 60)
    program.process.send_signal(signal.SIGINT)
    assert program.end(60) == 130
    assert "stopped" in program.err


def test_ctrl_c_while_it_starts_shows_no_traceback(state: Path) -> None:
    program = Program(state, "run")
    wait_for(lambda: program.err or (state / "state").exists() or program.process.poll() is not None, 60)
    program.process.send_signal(signal.SIGINT)
    assert program.end() in (0, 130)


def test_ctrl_c_before_it_began_shows_no_traceback(state: Path) -> None:
    program = Program(state, "run")
    # Once this library is in its memory, the program is amid its imports.
    wait_for(lambda: "pydantic_core" in Path(f"/proc/{program.process.pid}/maps").read_text(), 60)
    program.process.send_signal(signal.SIGINT)
    assert program.end() in (-signal.SIGINT, 130, 0)


def test_a_run_of_some_frames_prints_its_result(state: Path) -> None:
    program = Program(state, "run", "--frames", 5, "--sample", "S-1")
    assert program.end() == 0
    assert "Sample S-1" in program.out
    assert "5 frames: " in program.out
    assert "For Research Use Only" in program.out
    assert results(state)[0]["sample"] == "S-1"


def test_it_is_ready_soon(state: Path) -> None:
    """Start, one frame and stop. Processor time, since the machine may be doing other things."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = Program(state, "run", "--frames", 1, SICKLESCOPE_MQTT__ENABLED="false")
    assert program.end(timeout_s=100) == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 6


def test_a_broken_video_ends_with_the_cameras_exit_code_and_its_result(state: Path) -> None:
    field = cv2.cvtColor(Slide(SlideSpec(width=320, height=240)).render(0), cv2.COLOR_RGB2BGR)
    writer = cv2.VideoWriter(str(state / "whole.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(30):
        writer.write(field)
    writer.release()
    whole = (state / "whole.avi").read_bytes()
    (state / "cut.avi").write_bytes(whole[: len(whole) // 2])
    program = Program(state, "run", SICKLESCOPE_CAMERA__KIND="replay", SICKLESCOPE_CAMERA__DEVICE="cut.avi",
                      SICKLESCOPE_CAMERA__FPS="0")  # fmt: skip
    assert program.end() == 4
    assert "breaks after frame" in program.err
    assert results(state)[0]["fields_read"] > 5


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "words"),
    [
        (["run", "-c", "absent.toml"], {}, 2, "absent.toml cannot be read"),
        (["run"], {"SICKLESCOPE_MQTT__PROT": "1"}, 2, "nearest valid name: SICKLESCOPE_MQTT__PORT"),
        (["run", "--sample", "Jane Doe"], {}, 8, "never a patient's name"),
        (["run"], {"SICKLESCOPE_CAMERA__KIND": "replay", "SICKLESCOPE_CAMERA__DEVICE": "nowhere"}, 3, "nowhere"),
        (["run"], {"SICKLESCOPE_CAMERA__KIND": "opencv", "SICKLESCOPE_CAMERA__DEVICE": "/dev/video99"}, 4, "not found"),
        (["run"], {"SICKLESCOPE_DEVICE__STATE_DIR": "/proc/nowhere"}, 7, "/proc/nowhere"),
        (["resend"], {"SICKLESCOPE_MQTT__ENABLED": "false"}, 2, "mqtt.enabled is false"),
        (["scan", "nowhere", "--out", "o"], {}, 3, "nowhere"),
        (["scan", "sicklescope.toml", "--out", "o", "--um-per-px", "wide"], {}, 2, "expected auto"),
    ],
)
def test_errors_are_one_clear_message_on_stderr(
    state: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: dict[str, str], code: int, words: str
) -> None:
    monkeypatch.chdir(state)
    done = CliRunner().invoke(app, arguments, env=variables)
    assert done.exit_code == code
    assert isinstance(done.exception, SystemExit)
    assert words in done.stderr
    assert done.stderr.startswith("sicklescope: ")
    assert done.stdout == ""
    assert not (state / "o").exists()


def test_an_error_shows_no_traceback(state: Path) -> None:
    program = Program(state, "run", SICKLESCOPE_CAMERA__KIND="opencv", SICKLESCOPE_CAMERA__DEVICE="/dev/video99")
    assert program.end() == 4
    assert "/dev/video99 not found" in program.err
    assert program.out == ""


def test_scan_reads_a_folder_and_says_where_the_report_is(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state)
    field = cv2.cvtColor(Slide(SlideSpec(width=320, height=240)).render(0), cv2.COLOR_RGB2BGR)
    (state / "fields").mkdir()
    cv2.imwrite("fields/a.png", field)
    (state / "fields/b.png").write_bytes(b"\x89PNG")
    done = CliRunner().invoke(app, ["scan", "fields", "--out", "o", "--um-per-px", "0.25", "--annotate"])
    assert done.exit_code == 0, done.output
    assert "1 fields read, 1 rejected. Insufficient" in done.stdout
    assert "For Research Use Only" in done.stdout
    assert "Report: o/report.html" in done.stdout
    first = json.loads((state / "o/fields.jsonl").read_text().splitlines()[0])
    assert (first["um_per_px"], first["scale_source"]) == (0.25, "configured")
    assert list((state / "o/annotated").iterdir())


def test_config_shows_each_value_with_its_source(state: Path) -> None:
    program = Program(state, "config", **{"SICKLESCOPE_MQTT__USERNAME": "u", "SICKLESCOPE_MQTT__PASSWORD": "hunter2"})
    assert program.end() == 0
    assert 'kind = "virtual"  # sicklescope.toml:6' in program.out
    assert 'username = "u"  # environment SICKLESCOPE_MQTT__USERNAME' in program.out
    assert "hunter2" not in program.out
    assert "********" in program.out


def test_config_check_lists_all_that_is_wrong(state: Path) -> None:
    assert Program(state, "config", "--check").end() == 0
    (state / "sicklescope.toml").write_text("[mqtt]\nhots = 1\nport = 0\n")
    program = Program(state, "config", "--check")
    assert program.end() == 2
    assert "mqtt.hots" in program.err
    assert "mqtt.port" in program.err


def test_version_and_help_need_nothing_heavy(tmp_path: Path) -> None:
    program = Program(tmp_path, "--version")
    assert program.end() == 0
    assert program.out.startswith("sicklescope 0.")
    assert Program(tmp_path, "--help").end() == 0


def test_every_exit_code_is_in_the_table_and_means_one_thing() -> None:
    """Those of errors that mean different things to a script differ; docs/install.md names each."""
    from calibration.int8.procedure import GateError

    table = Path(__file__).parents[3].joinpath("docs/install.md").read_text("utf-8")
    named = {int(code) for code in re.findall(r"^\| (\d+) \| ", table, re.MULTILINE)}
    kinds: list[type[EdgeError]] = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, EdgeError)
    ]
    codes = {kind.exit_code for kind in kinds}
    assert codes | {GateError.exit_code} <= named
    assert GateError.exit_code not in codes


def test_what_the_commands_write_is_not_for_everybody_whatever_the_umask(tmp_path: Path) -> None:
    """Kind: files of patients' cells that anyone on the machine can read. In 0.6.0 all but the unit's were 0644."""
    config = tmp_path / "sicklescope.toml"
    config.write_text(
        '[device]\nstate_dir = "state"\n[mqtt]\nenabled = false\n[optics]\num_per_px = 0.25\n'
        '[camera]\nkind = "virtual"\nwidth = 320\nheight = 240\nframes = 2\n'
    )
    before = os.umask(0)
    try:
        for line in (
            ["run", "--sample", "K-1"], ["sample", "export", "K-1", str(tmp_path / "out")],
            ["backup", str(tmp_path / "copy.sqlite3")],
        ):  # fmt: skip
            result = CliRunner().invoke(app, [*line, "--config", str(config)])
            assert result.exit_code == 0, result.output
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    written = [path for path in tmp_path.rglob("*") if path != config]
    assert {path.name for path in written} >= {"cells.csv", "sample.json", "pictures", "copy.sqlite3", "service.lock"}
    assert [path.name for path in written if path.stat().st_mode & 0o007] == []
