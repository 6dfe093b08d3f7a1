"""The file for whoever helps: written whatever is broken, and with nothing in it that names anybody.

Kind: a device that cannot be helped. In 0.6.0 there was only the log, with every sample's code.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copy

import pytest
from typer.testing import CliRunner, Result

from edge.cli.main import app
from edge.system.redaction import redacted

OLD = Path(__file__).parents[2] / "fixtures" / "v0_6_0" / "sicklescope.sqlite3"

MESSAGES = [
    'logger=edge.service.sample_loop thread=main message="sample S-2 is in review: it was stopped before its target"',
    'logger=edge.sample.command_queue thread=main message="stop of nurse.joy: no sample is being scanned"',
    'logger=edge.sample.lifecycle thread=main message="sample GHOST-77 is incomplete: erased, of Annemarie Huber 1961"',
    'logger=edge.publish.sender message="sample 104217 cannot go on: 3 of 12.5 MB, at 1883, in 4.2s"',
]
SECRET = ("S-2", "joy", "GHOST", "Annemarie", "Huber", "1961", "104217", "hunter2hunter2", "pa55word", "reviewer")
"""What is in the database, the log, the unit's status or the configuration, and must not be in the file."""

CONFIGURATION = """
[device]
site = "lab"
device = "one"
state_dir = "state"
[camera]
kind = "openflexure"
device = "http://joy:pa55word@127.0.0.1:9"
[mqtt]
host = "127.0.0.1"
port = 9
username = "scope-1"
password = "hunter2hunter2"
"""


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a configuration and the database of a device, and a journal and a unit that name people."""
    (tmp_path / "sicklescope.toml").write_text(CONFIGURATION, "utf-8")
    (tmp_path / "state").mkdir()
    copy(OLD, tmp_path / "state")
    entries = [{"__REALTIME_TIMESTAMP": "1796000000000000", "PRIORITY": "4", "MESSAGE": text} for text in MESSAGES]
    (tmp_path / "journal").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), "utf-8")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in (
        ("journalctl", f"cat {tmp_path}/journal"),
        ("systemctl", "echo ActiveState=active; echo StatusText=reading sample S-2 from /dev/video0"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


def support(device: Path, name: str = "support.txt") -> Result:
    line = ["support", str(device / name), "--config", str(device / "sicklescope.toml")]
    return CliRunner().invoke(app, line)


def written(device: Path) -> str:
    done = support(device)
    assert done.exit_code == 0, done.output
    return (device / "support.txt").read_text("utf-8")


def test_all_that_helps_is_in_it_and_nobody_s_name(device: Path) -> None:
    umask = os.umask(0)
    try:
        text = written(device)
    finally:
        os.umask(umask)
    for expected in (
        "sicklescope 0.", "onnxruntime ", 'site = "lab"', "configured camera", "samples: final, 1",
        "ActiveState=active",
        "outbox: result, pending, 3", "check: ok", "detector: shipped",
        "is in review: it was stopped before its target",
        "2026-11-30 00:53:20 4 logger=edge.service.sample_loop", "3 of 12.5 MB, at 1883, in 4.2s",
    ):  # fmt: skip
        assert expected in text
    for name in SECRET:
        assert name.lower() not in text.lower()
    assert (device / "support.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("broken", ["damaged", "locked", "absent", "foreign", "not TOML", "wrong", "no state"])
def test_it_is_written_whatever_is_broken(device: Path, broken: str) -> None:
    path, config = device / "state/sicklescope.sqlite3", device / "sicklescope.toml"
    with closing(sqlite3.connect(path)) as other:
        if broken == "damaged":
            path.write_bytes(path.read_bytes()[:8192] + os.urandom(20000))
        elif broken == "locked":
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
        elif broken == "absent":
            path.unlink()
        elif broken == "foreign":
            path.write_bytes(b"no database " * 1000)
        elif broken == "not TOML":
            config.write_text(CONFIGURATION + "\npassword = 'hunter2hunter2", "utf-8")
        elif broken == "wrong":
            config.write_text(CONFIGURATION.replace("port = 9", 'port = "hunter2hunter2"'), "utf-8")
        else:
            path.unlink()
            (device / "state").rmdir()
        text = written(device)
    assert "onnxruntime " in text
    assert "it was stopped before its target" in text
    for name in SECRET:
        assert name.lower() not in text.lower()
    assert not list((device / "state").glob("*-wal")) or broken == "locked"


def test_its_size_is_bounded_and_what_is_there_is_not_replaced(device: Path) -> None:
    (device / "journal").write_text((device / "journal").read_text("utf-8") * 500, "utf-8")
    assert len(written(device)) < 150_000
    before = (device / "state/sicklescope.sqlite3").read_bytes()
    refused = support(device, "state/sicklescope.sqlite3")
    assert refused.exit_code == 7
    assert "is there already and is not overwritten" in " ".join(refused.output.split())
    assert (device / "state/sicklescope.sqlite3").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("sample K-1042 is final", "sample … is final"),
        ("sample code Anna was used on 2026-11-30 already", "sample code … was used on 2026-11-30 already"),
        ("the broker refused it: 0x97, after 12.5 ms", "the broker refused it: 0x97, after 12.5 ms"),
        ("MARIA was here with 0176-5551234", "… was here with …"),
        ("the camera /dev/video0 stopped", "the camera … stopped"),
    ],
)
def test_a_text_keeps_the_program_s_own_words_alone(text: str, left: str) -> None:
    assert redacted(text, {"Anna"}) == left
