"""A scan that is killed goes on with `--resume`: nothing is read twice, and the results have the same bytes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from edge.batch.reading import read_files
from edge.batch.reading.journal import JOURNAL, Journal
from edge.batch.scan import scan
from edge.camera.decode.field import DecodedField
from edge.config.model import Config
from edge.errors import BusyError, ConfigError
from tests.edge.batch.test_scan import lines, smear, tree, video

PICTURES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of six pictures, one of them a copy, a film and a file that cannot be read."""
    folder = tmp_path / "slide"
    folder.mkdir()
    for i in range(PICTURES):
        cv2.imwrite(str(folder / f"field{i}.png"), smear(i % (PICTURES - 1)), [cv2.IMWRITE_PNG_COMPRESSION, i])
    video(folder / "film.avi", 3)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def begun(folder: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Begin a scan in a process of its own, which can be killed."""
    command = [sys.executable, "-m", "edge", "scan", str(folder), "--out", str(out), "--no-quality-gate", "--annotate"]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def journal_lines(out: Path) -> int:
    path = out / JOURNAL
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(folder: Path, out: Path, at: int, *options: str) -> None:
    """Kill a scan, by SIGKILL, as soon as its journal has so many lines; a scan that ended before is a failure."""
    process = begun(folder, out, *options)
    while journal_lines(out) < at:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert (out / JOURNAL).exists()
    assert not (out / "summary.json").exists()


def timeless(out: Path) -> dict[str, bytes | None]:
    """Return the files of a scan without the times of its run, which no two runs share."""
    found = tree(out)
    for name, data in found.items():
        if data is not None and name.endswith(("summary.json", "report.html")):
            text = re.sub(r'"started_at": "[^"]*"|"seconds": [\d.e-]+', "", data.decode())
            found[name] = re.sub(r"scan (begun|ended)</th><td>.*?</td>|seconds</th><td>[\d.]+", "", text).encode()
    return found


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one process", "two processes"])
def test_a_killed_scan_goes_on_and_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Scans that a kill ends: all that was read is kept, whenever it comes, and read once."""
    if options and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one core")
    plain, out = tmp_path / "plain", tmp_path / "out"
    scan([folder], plain, Config(), no_quality_gate=True, annotate=True)
    for at in (2, 13):
        kill_at(folder, out, at, *options, *(["--resume"] if at > 2 else []))
    done = json_files_done(out)
    read: list[str] = []
    real = read_files.frames

    def frames(path: Path, megapixels_max: float) -> Iterator[DecodedField]:
        read.append(path.name)
        yield from real(path, megapixels_max)

    monkeypatch.setattr(read_files, "frames", frames)
    scan([folder], out, Config(), no_quality_gate=True, annotate=True, resume=True)
    assert done
    assert not set(read) & done
    assert len(set(read) | done) == PICTURES + 2
    assert timeless(out) == timeless(plain)


def json_files_done(out: Path) -> set[str]:
    """Return the names of the files that the journal has to their end."""
    parts = [line.split(b" ", 3) for line in (out / JOURNAL).read_bytes().splitlines() if line.count(b" ") >= 3]
    ended = {key for _, kind, key, _ in parts if kind == b"D"}
    fields = [(key, json.loads(data)) for _, kind, key, data in parts if kind == b"F" and key in ended]
    return {Path(found["reading"]["name"]).name.partition("#")[0] for _, found in fields}


def test_a_journal_that_a_power_cut_left_half_written_is_cut_to_what_is_whole(folder: Path, tmp_path: Path) -> None:
    """Scans that a kill ends: a line is whole or it is not there."""
    plain, out = tmp_path / "plain", tmp_path / "out"
    scan([folder], plain, Config(), no_quality_gate=True, annotate=True)
    kill_at(folder, out, 12)
    journal = out / JOURNAL
    data = bytearray(journal.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    journal.write_bytes(data + b"half a li")
    scan([folder], out, Config(), no_quality_gate=True, annotate=True, resume=True)
    assert timeless(out) == timeless(plain)


def test_ctrl_c_and_resume_give_the_whole(folder: Path, tmp_path: Path) -> None:
    """Scans that a person stops: what was read is written, and the rest can be read later."""
    plain, out = tmp_path / "plain", tmp_path / "out"
    scan([folder], plain, Config(), no_quality_gate=True)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("reading") and done == 3:
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        summary = scan([folder], out, Config(), no_quality_gate=True, report=stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (summary.complete, summary.inputs_done) == (False, 3)
    assert scan([folder], out, Config(), no_quality_gate=True, resume=True).complete
    assert timeless(out) == timeless(plain)


def test_another_scan_is_not_gone_on_with(folder: Path, tmp_path: Path) -> None:
    """Scans that a kill ends: other options would mix two kinds of readings."""
    kill_at(folder, tmp_path / "out", 3)
    with pytest.raises(ConfigError, match=r"made with another --annotate, configuration\. Go on with the same"):
        scan([folder], tmp_path / "out", Config(), resume=True)
    assert journal_lines(tmp_path / "out") >= 3


def test_a_picture_that_was_changed_since_is_read_again(folder: Path, tmp_path: Path) -> None:
    kill_at(folder, tmp_path / "out", 6)
    cv2.imwrite(str(folder / "field0.png"), smear(77, discs=12))
    scan([folder], tmp_path / "out", Config(), no_quality_gate=True, annotate=True, resume=True)
    scan([folder], tmp_path / "plain", Config(), no_quality_gate=True, annotate=True)
    assert lines(tmp_path / "out") == lines(tmp_path / "plain")


def test_two_scans_do_not_write_to_one_folder(folder: Path, tmp_path: Path) -> None:
    with Journal(tmp_path, {}, resume=False), pytest.raises(BusyError, match="another scan is writing"):
        scan([folder], tmp_path, Config())
