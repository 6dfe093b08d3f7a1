"""What reaches systemd's journal: one line an entry, its level, and neither a secret nor a picture's name."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from edge.system.journal import JournalFormatter
from tests.mosquitto import free_port
from tests.program import Program


def line(text: str, level: int = logging.WARNING, exc_info: Any = None) -> str:
    return JournalFormatter().format(logging.LogRecord("edge.service.service", level, "", 0, text, None, exc_info))


def test_an_entry_is_one_line_with_its_level_and_fields() -> None:
    shown = line('the configuration cannot be used:\n  mqtt.port = "x"', logging.ERROR)
    assert shown.startswith("<3>logger=edge.service.service thread=MainThread message=")
    assert json.loads(shown.partition("message=")[2]) == 'the configuration cannot be used:\n  mqtt.port = "x"'
    assert "\n" not in shown
    assert [line("x", level)[:3] for level in (10, 20, 30, 40, 50)] == ["<7>", "<6>", "<4>", "<3>", "<2>"]


def test_a_traceback_stays_with_its_entry() -> None:
    try:
        raise ValueError("a = 1")
    except ValueError as error:
        shown = line("it failed", exc_info=(ValueError, error, error.__traceback__))
    assert "\n" not in shown
    assert "ValueError: a = 1" in shown.partition("traceback=")[2]


@pytest.mark.parametrize("path", ["/data/Jane Doe/left eye.PNG", "~/Jane.tiff", "./Jane.mp4", "../x/Jane Doe.jpeg"])
def test_the_name_of_a_picture_is_left_out(path: str) -> None:
    shown = line(f"{path} is not a picture. Expected JPEG; see /etc/sicklescope")
    assert "Jane" not in shown
    assert "<picture> is not a picture. Expected JPEG; see /etc/sicklescope" in shown


def test_the_service_writes_to_the_journal_without_secrets_or_picture_names(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("Jane Doe.png", "John Roe.png"):
        (pictures / name).write_bytes(b"not a picture")
    (tmp_path / "sicklescope.toml").write_text(
        f'[device]\nstate_dir = "{tmp_path}/state"\n[camera]\nkind = "replay"\ndevice = "{pictures}"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\nusername = "scope-1"\n'
        '[screening]\nstart = "at_once"\n'
    )
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "mqtt.password").write_text("hunter2\n")
    (tmp_path / "stderr").touch()
    journal = (tmp_path / "stderr").stat()
    program = Program(
        tmp_path, "run", "--keep-trying",
        JOURNAL_STREAM=f"{journal.st_dev}:{journal.st_ino}", CREDENTIALS_DIRECTORY=str(credentials),
    )  # fmt: skip
    assert program.end() == 0
    lines = program.err.splitlines()
    assert lines
    assert all(re.match(r"<[2-7]>logger=[\w.]+ thread=\S+ message=", entry) for entry in lines), program.err
    assert "frame 1 cannot be read: unreadable" in program.err
    assert not re.search("hunter2|Jane|John", program.err + program.out)
    assert not program.out
