"""A scan with several processes: the same bytes as with one, whatever happens to one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from edge.batch.reading import workers
from edge.batch.reading.workers import cores, process_count
from edge.batch.scan import scan
from edge.config.model import Config
from edge.errors import ConfigError
from tests.edge.batch.reading.test_resume import begun, folder, journal_lines, timeless
from tests.edge.batch.test_scan import lines

__all__ = ["folder"]

needs_two_cores = pytest.mark.skipif(cores() < 2, reason="this machine has one core")


def kill_after(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Kill, so many times, the process that has just read a field of the file of that name."""
    real, killed = workers._Worker.take, set[int]()

    def take(self: Any, *rest: Any) -> bool:
        alive = real(self, *rest)
        pid = self._process.pid
        if len(killed) < times and pid not in killed and self.unit is not None and self.unit.files[0].name == name:
            killed.add(pid)
            self._process.kill()
        return alive

    monkeypatch.setattr(workers._Worker, "take", take)


@needs_two_cores
def test_what_a_process_that_died_had_is_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that die: of memory, of a decoder's fault, by a person's hand."""
    scan([folder], tmp_path / "plain", Config(), no_quality_gate=True)
    kill_after(monkeypatch, "film.avi", 1)
    scan([folder], tmp_path / "out", Config(), no_quality_gate=True, processes=2)
    assert timeless(tmp_path / "out") == timeless(tmp_path / "plain")


@needs_two_cores
def test_a_file_of_which_each_process_dies_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(monkeypatch, "film.avi", 2)
    summary = scan([folder], tmp_path / "out", Config(), no_quality_gate=True, processes=2)
    film = [line for line in lines(tmp_path / "out") if "film" in line["image"]]
    assert [line["rejected"]["cause"] for line in film] == ["each of the 2 processes that read it was ended by SIGKILL"]
    assert summary.complete
    assert summary.rejected["unreadable"] == 2


@needs_two_cores
def test_a_signal_ends_several_processes_with_whole_results_as_it_ends_one(folder: Path, tmp_path: Path) -> None:
    """Scans that a person stops: what is written is what one process would have written, up to some file."""
    scan([folder], tmp_path / "plain", Config(), no_quality_gate=True)
    out = tmp_path / "out"
    process = begun(folder, out, "--processes", "2")
    while journal_lines(out) < 4 and process.poll() is None:
        os.sched_yield()
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1].decode()
    read = lines(out)
    assert process.returncode == 130, said
    assert "--resume reads the rest" in said
    assert 0 < len(read) < len(lines(tmp_path / "plain"))
    assert read == lines(tmp_path / "plain")[: len(read)]


def test_a_number_of_processes_that_cannot_be_is_refused(folder: Path, tmp_path: Path) -> None:
    """Options that cannot be: none, and more than there are cores."""
    for asked in (0, -1, cores() + 1):
        with pytest.raises(ConfigError, match=f"{asked} processes were asked for; this scan may use {cores()}"):
            scan([folder], tmp_path / "out", Config(), processes=asked)
    assert not (tmp_path / "out").exists()


def test_few_files_are_read_by_one_process_if_nobody_says() -> None:
    assert process_count(None, 3, cores()) == 1
    assert process_count(None, 100_000, 64) == 64
