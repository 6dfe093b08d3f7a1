"""A scan on Ray: the bytes of one computer, whatever dies, and a store that fails costs its own pictures only."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest

from edge.batch.reading import ray_reader
from edge.batch.reading.engine import Engine
from edge.batch.reading.ray_cluster import cluster
from edge.batch.scan import scan, scan_folders
from edge.config.model import Config
from edge.errors import ConfigError, EdgeError
from tests.edge.batch.reading.test_resume import begun, folder, journal_lines, timeless
from tests.edge.batch.test_scan import lines

__all__ = ["folder"]

pytestmark = [
    pytest.mark.timeout(600),
    # Ray's own: what it opens for its processes it leaves to the end of the program.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray", "ignore::DeprecationWarning:ray"),
]

RAY: dict[str, Any] = {"engine": Engine.RAY, "no_quality_gate": True}


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Start Ray once for all tests here, with few units a block so that a scan has several."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as open_:
        patch.setattr(ray_reader, "UNITS_A_BLOCK", 2)
        try:
            started = open_.enter_context(cluster(None))
        except EdgeError as error:
            pytest.skip(f"this computer is too busy for Ray, whose parts have 15 s to start: {error}")
        yield started


def kill_once(found: Callable[[psutil.Process], bool]) -> bool:
    """Kill one process of Ray's that is meant; return whether there was one."""
    for process in psutil.Process().children(recursive=True):
        try:
            if found(process):
                process.kill()
                return True
        except psutil.Error:
            continue
    return False


def actor(process: psutil.Process) -> bool:
    return "FieldActor" in " ".join(process.cmdline()[:1])


def reading(process: psutil.Process) -> bool:
    return any("edge.batch.reading.worker" in part for part in process.cmdline())


@pytest.mark.parametrize("victim", [None, actor, reading], ids=["nothing dies", "an actor dies", "a reader dies"])
def test_the_bytes_of_one_computer(
    ray: Any, folder: Path, tmp_path: Path, victim: Callable[[psutil.Process], bool] | None
) -> None:
    """Engines that differ in how they read, how they find copies, how they count, or what they lose with a process."""
    slides = tmp_path / "slides"
    shutil.copytree(folder, slides / "one")
    shutil.copytree(folder, slides / "two", ignore=lambda _, names: [name for name in names if "0" in name])
    killed: list[bool] = []

    def report(what: str, done: int, total: int) -> None:
        if what.startswith("reading") and victim is not None and not any(killed):
            killed.append(kill_once(victim))

    scan_folders([slides], tmp_path / "plain", Config(), no_quality_gate=True, annotate=True)
    scan_folders([slides], tmp_path / "ray", Config(), report=report, annotate=True, **RAY)
    assert any(killed) == (victim is not None)
    assert timeless(tmp_path / "ray") == timeless(tmp_path / "plain")


def test_a_driver_that_is_killed_goes_on(ray: Any, folder: Path, tmp_path: Path) -> None:
    """Scans that a kill ends: what was read is kept and not read again."""
    plain, out = tmp_path / "plain", tmp_path / "out"
    for name in ("a", "b", "c"):  # several blocks
        shutil.copytree(folder, tmp_path / "slides" / name)
    slides = tmp_path / "slides"
    asked: dict[str, Any] = {"annotate": True, "keep_duplicates": True}
    scan([slides], plain, Config(), no_quality_gate=True, **asked)
    address = ray.get_runtime_context().gcs_address
    process = begun(slides, out, "--keep-duplicates", "--engine", "ray", "--address", address)
    while journal_lines(out) < 4:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    read: list[int] = []

    def report(what: str, done: int, total: int) -> None:
        if what.startswith("reading"):
            read.append(done)

    scan([slides], out, Config(), resume=True, report=report, **asked, **RAY)
    assert read[0] > 1
    assert timeless(out) == timeless(plain)


def test_sigterm_ends_it_with_whole_results(ray: Any, folder: Path, tmp_path: Path) -> None:
    """Ray takes SIGTERM from the program that starts it: results of a stopped scan would be lost."""

    def report(what: str, done: int, total: int) -> None:
        if what.startswith("reading") and done == 3:
            signal.raise_signal(signal.SIGTERM)

    summary = scan([folder], tmp_path / "out", Config(), report=report, **RAY)
    assert not summary.complete
    scan([folder], tmp_path / "out", Config(), resume=True, **RAY)
    scan([folder], tmp_path / "plain", Config(), no_quality_gate=True)
    assert timeless(tmp_path / "out") == timeless(tmp_path / "plain")


def test_a_store_that_fails_costs_its_own_pictures_only(ray: Any, folder: Path, tmp_path: Path) -> None:
    """Stores that do not answer: named and counted. The memory of this process is a store that no actor can reach."""
    store = fsspec.filesystem("memory")
    store.pipe_file("/archive/far.png", (folder / "field0.png").read_bytes() + b"\0")
    summary = scan([folder, "memory://archive"], tmp_path / "out", Config(), keep_duplicates=True, **RAY)
    told = {line["image"]: line["rejected"] for line in lines(tmp_path / "out")}
    assert told["memory://archive/far.png"]["cause"] == "the store has no such file"
    assert summary.complete
    assert summary.rejected["unreadable"] == 2  # with the one that is no picture
    store.rm("/archive", recursive=True)


def test_options_that_cannot_be_are_refused(ray: Any, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Give --engine ray with it"):
        scan([folder], tmp_path / "out", Config(), address="127.0.0.1:6379")
    with pytest.raises(ConfigError, match="0 processes were asked for"):
        scan([folder], tmp_path / "out", Config(), processes=0, **RAY)
    assert not (tmp_path / "out").exists()
