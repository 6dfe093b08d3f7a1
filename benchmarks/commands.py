"""How long the commands of two installed versions take: `python -m benchmarks.commands OLD NEW`.

Each version is named by the Python that it is installed in. `scan` reads pictures of a set with their scale given and
without; `run` reads JPEG files of a rendered slide as fast as it can. The versions take turns, on all cores; printed is
new ÷ old of the medians, and the least and the greatest ratio of any two runs. Nothing else should run meanwhile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import some_fields
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.diagnosis.speed import machine

START_FRAMES = 20
"""Frames of a run that is taken off a longer one, so that what remains is reading and not starting."""

SETTINGS = """
[device]
state_dir = "{folder}/state"
[camera]
kind = "replay"
device = "{folder}/{pictures}"
[mqtt]
enabled = false
[screening]
start = "at_once"
[screening.stop]
at_target = false
"""


@dataclass(frozen=True, slots=True)
class Used:
    """What a command used: seconds by the clock and of all its processors, and its largest process, MB."""

    clock_s: float
    processor_s: float
    peak_mb: float


def used(command: list[str], folder: Path) -> Used:
    """Run a command in a folder to its end; raises BadParameter with its last words where it fails."""
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)  # noqa: S603 - named by who runs this
        _, status, usage = os.wait4(child.pid, 0)
        clock_s = time.monotonic() - began_s
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise typer.BadParameter(f"{' '.join(command)} failed: {said.read()[-500:].decode(errors='replace')}")
    return Used(clock_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)


def main(
    old: Annotated[Path, typer.Argument(help="Python of one version.")],
    new: Annotated[Path, typer.Argument(help="Python of the other.")],
    dataset: Annotated[str, typer.Option(help="Whose pictures are scanned.")] = "chula_rbc12",
    count: Annotated[int, typer.Option(min=2, help="So many pictures of the set's commonest size.")] = 200,
    um_per_px: Annotated[float, typer.Option(help="Their scale, where it is given.")] = 0.21,
    frames: Annotated[int, typer.Option(min=START_FRAMES + 10, help="Of the long run.")] = 220,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each version.")] = 3,
) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scanned = _scanned(folder, dataset, count)
        _rendered(folder / "long", frames)
        _rendered(folder / "short", START_FRAMES)
        given = ["--um-per-px", str(um_per_px)]
        found = {
            f"scan of {scanned} pictures, scale given": _by_turns(old, new, rounds, folder, ["scan", *given]),
            f"scan of {scanned} pictures, scale not known": _by_turns(old, new, rounds, folder, ["scan"]),
            f"run, {frames} frames": _by_turns(old, new, rounds, folder, ["long"]),
            f"run, {START_FRAMES} frames": _by_turns(old, new, rounds, folder, ["short"]),
        }
    about = machine()
    table = Table("", "old", "new", "new ÷ old", "least, greatest", title=f"{about['cpu']}, {about['cores']} cores")
    for what, (before, after) in found.items():
        _row(table, f"{what}: clock, s", [one.clock_s for one in before], [one.clock_s for one in after])
        _row(table, f"{what}: processor, s", [one.processor_s for one in before], [one.processor_s for one in after])
        _row(table, f"{what}: peak, MB", [one.peak_mb for one in before], [one.peak_mb for one in after])
    *_, long, short = found.values()
    rates = [
        [(frames - START_FRAMES) / (one.clock_s - other.clock_s) for one, other in zip(first, second, strict=True)]
        for first, second in zip(long, short, strict=True)
    ]
    _row(table, "run: frames a second", *rates)
    Console(width=140).print(table)


def _row(table: Table, what: str, before: list[float], after: list[float]) -> None:
    ratios = [one / other for one, other in product(after, before)]
    table.add_row(
        what, f"{median(before):.2f}", f"{median(after):.2f}", f"{median(after) / median(before):.2f}",
        f"{min(ratios):.2f}, {max(ratios):.2f}",
    )  # fmt: skip


def _by_turns(old: Path, new: Path, rounds: int, folder: Path, what: list[str]) -> tuple[list[Used], list[Used]]:
    """Let both versions do the same, in turns that change who begins."""
    times: dict[Path, list[Used]] = {old: [], new: []}
    for turn in range(rounds):
        for python in (old, new) if turn % 2 == 0 else (new, old):
            for left in ("state", "out"):
                shutil.rmtree(folder / left, ignore_errors=True)
            program = [str(python.absolute()), "-m", "edge"]
            if what[0] == "scan":
                asked = [*what, str(folder / "scanned"), "--out", str(folder / "out")]
            else:
                settings = folder / "settings.toml"
                settings.write_text(SETTINGS.format(folder=folder, pictures=what[0]), "utf-8")
                asked = ["run", "--config", str(settings), "--sample", "B-1"]
            # In that folder, so that no other version is imported.
            times[python].append(used(program + asked, folder))
    return times[old], times[new]


def _scanned(folder: Path, dataset: str, count: int) -> int:
    """Link pictures of the commonest size of a set into a folder, and return how many."""
    by_size: dict[tuple[int, ...], list[Path]] = {}
    for path in some_fields(dataset, 100_000):
        pixels = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if pixels is not None:
            by_size.setdefault(pixels.shape, []).append(path)
    if not by_size:
        raise typer.BadParameter(f"no pictures of {dataset}: set SICKLESCOPE_DATA to the folder of the sets")
    chosen = max(by_size.values(), key=len)[:count]
    (folder / "scanned").mkdir()
    for path in chosen:
        (folder / "scanned" / path.name).symlink_to(path.absolute())
    return len(chosen)


def _rendered(folder: Path, frames: int) -> None:
    """Write fields of a rendered slide as JPEG."""
    folder.mkdir()
    slide = Slide(SlideSpec(seed=1, width=640, height=480, n_fields=frames))
    for index in range(frames):
        bgr = cv2.cvtColor(slide.render(index), cv2.COLOR_RGB2BGR)
        (folder / f"{index:05}.jpg").write_bytes(cv2.imencode(".jpg", bgr)[1].tobytes())


if __name__ == "__main__":
    typer.run(main)
