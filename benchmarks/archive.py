"""A scan on Ray against one of several processes: `python -m benchmarks.archive PICTURES --count 20000`.

The pictures that are given are hard-linked until there are as many as asked, and read with `--keep-duplicates`; where
none are given, grey ones of 64 by 64 pixels, for what a scan costs beside the reading. Told are wall time and CPU time
of both, the start of Ray apart, peak memory of the driver, and whether the bytes are the same. CPU time holds on a busy
computer too. The last table is a model: what more computers would give if each stage took what it took here.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from edge.batch.reading.ray_cluster import BUSY, STARTS
from edge.batch.reading.workers import cores
from edge.camera.input_files import find_inputs
from edge.config.environment import set_defaults

COMPUTERS = (1, 2, 4, 8, 16, 64)
"""Numbers of computers, of as many cores as this one, in the model."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one scan took: seconds, and the largest memory of the process that wrote the results, MB.

    cpu_s: CPU time of all processes; driver_cpu_s: of the program and its own.
    """

    wall_s: float
    cpu_s: float
    driver_cpu_s: float
    peak_mb: float


class CpuTimes:
    """CPU time of all processes that this one began, and those began, also of those that have ended."""

    def __init__(self) -> None:
        self._seen_s: dict[tuple[int, float], float] = {}

    def total_s(self) -> float:
        """Look at all, and return the sum in seconds; what a process did after the last look is left out."""
        for one in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                times = one.cpu_times()
                self._seen_s[one.pid, one.create_time()] = times.user + times.system
        return sum(self._seen_s.values())


def main(
    pictures: Annotated[Path | None, typer.Argument(help="Folder of pictures; without it grey squares.")] = None,
    count: Annotated[
        int, typer.Option(min=1, help="How many to read; the given ones are linked again and again.")
    ] = 2000,
    processes: Annotated[int, typer.Option(min=1, help="That read, with and without Ray.")] = 2,
    nodes: Annotated[int, typer.Option(min=1, help="Ray nodes on this computer, which share its cores.")] = 1,
    um_per_px: Annotated[float | None, typer.Option(help="Size of a pixel, where it is known.")] = None,
    work: Annotated[Path | None, typer.Option(help="Folder on the file system of the pictures.")] = None,
) -> None:
    """Read the pictures both ways and print what it took."""
    console = Console()
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(dir=work)))
        linked(pictures or grey(folder / "grey"), folder / "slide", count)
        asked = ["--keep-duplicates", "--processes", str(processes)]
        asked += [] if um_per_px is None else ["--um-per-px", str(um_per_px)]
        local = scanned(folder / "slide", folder / "local", asked)
        begun = time.monotonic()
        address = open_.enter_context(_Cluster(nodes, processes))
        start_s = time.monotonic() - begun
        ray = scanned(folder / "slide", folder / "ray", [*asked, "--engine", "ray", "--address", address])
        console.print(table(count, {f"{processes} processes": local, f"Ray, {nodes} nodes": ray}))
        extra_s = ray.cpu_s - local.cpu_s
        console.print(
            f"Start of Ray, not in the table: {start_s:.1f} s. Overhead: {ray.wall_s / local.wall_s - 1:+.1%} of wall "
            f"time, {extra_s / local.cpu_s:+.1%} of CPU time ({1000 * extra_s / count:+.1f} ms a picture)"
        )
        same = results(folder / "local") == results(folder / "ray")
        console.print("The results have the same bytes." if same else "THE RESULTS DIFFER.")
        console.print(model(count, processes, ray))
    if not same:
        raise typer.Exit(1)


def grey(folder: Path) -> Path:
    """Make a folder with a picture that shows nothing and costs next to nothing to read."""
    folder.mkdir()
    Image.new("RGB", (64, 64), (200, 190, 195)).save(folder / "grey.png")
    return folder


def linked(pictures: Path, folder: Path, count: int) -> None:
    """Make a folder of so many hard links to the pictures, or copies where they lie on another file system."""
    folder.mkdir()
    for number, path in enumerate(islice(cycle(find_inputs([pictures])), count)):
        at = folder / f"{number:07d}{path.suffix}"
        try:
            at.hardlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, at)


def scanned(folder: Path, out: Path, asked: list[str]) -> Run:
    """Scan in a process of its own."""
    times = CpuTimes()
    cpu_s = times.total_s()
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "edge", "scan", str(folder), "--out", str(out), *asked]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603
        peak_kb, all_s = 0, cpu_s
        while process.poll() is None:
            peak_kb = max(peak_kb, resident_peak_kb(process.pid))
            all_s = times.total_s()
            time.sleep(0.5)
    if process.returncode:
        raise typer.Exit(process.returncode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    driver_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(time.monotonic() - begun, all_s - cpu_s, driver_s, peak_kb / 1024)


def resident_peak_kb(pid: int) -> int:
    """Return the largest memory that a process has had; 0 when it has gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def results(out: Path) -> tuple[bytes, bytes, str]:
    """Return fields, cells and summary without the times of the run."""
    summary = re.sub(r'"(started_at|seconds)": [^\n]*', "", (out / "summary.json").read_text())
    return (out / "fields.jsonl").read_bytes(), (out / "cells.csv").read_bytes(), summary


def table(count: int, runs: dict[str, Run]) -> Table:
    """Return what was measured."""
    found = Table(title=f"{count} pictures, {cores()} cores")
    columns = ("", "wall s", "pictures a second", "CPU s", "of them the program and its own processes", "its peak MB")
    for column in columns:
        found.add_column(column, justify="right")
    for name, run in runs.items():
        cpu = f"{run.cpu_s:.1f}", f"{run.driver_cpu_s:.1f}"
        found.add_row(name, f"{run.wall_s:.1f}", f"{count / run.wall_s:.1f}", *cpu, f"{run.peak_mb:.0f}")
    return found


def model(count: int, processes: int, ray: Run) -> Table:
    """Return what more computers would give: actors share the reading, and the driver alone writes and compares."""
    driver_s = ray.driver_cpu_s / count
    actor_s = max(0.0, ray.wall_s / count - driver_s) * processes
    found = Table(title="A model, not a measurement: stage times as here, network and store for nothing")
    for column in ("computers", "pictures a second", "held back by"):
        found.add_column(column, justify="right")
    for computers in COMPUTERS:
        read, written = computers * processes / actor_s if actor_s else 0.0, 1 / driver_s
        found.add_row(str(computers), f"{min(read, written):.0f}", "the driver" if written < read else "the actors")
    return found


class _Cluster:
    """Ray nodes on this computer; a context manager that gives their address."""

    def __init__(self, nodes: int, cpus: int) -> None:
        set_defaults({"RAY_USAGE_STATS_ENABLED": "0", **BUSY})
        self._shares = [cpus // nodes + (number < cpus % nodes) for number in range(nodes)]

    def __enter__(self) -> str:
        from ray.cluster_utils import Cluster

        for left in reversed(range(STARTS)):  # Ray's own limit of 30 s is too short for a busy computer
            self._cluster: Any = Cluster()
            try:
                for share in self._shares:
                    self._cluster.add_node(num_cpus=share, include_dashboard=False)
            except Exception:
                self._cluster.shutdown()
                if not left:
                    raise
            else:
                break
        return str(self._cluster.address)

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()


if __name__ == "__main__":
    typer.run(main)
