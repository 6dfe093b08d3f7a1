"""How long two installed versions take for the same pictures: `python -m benchmarks.compare OLD NEW`.

Each version is named by the Python that it is installed in, and reads in a process of its own. They take turns picture
by picture, so that whatever else the machine does meets both. Printed is new ÷ old with its 95 % interval, by bootstrap
over pictures. Networks without labels around them (`--peer`, see benchmarks/peers) take their turn as well.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.compare_worker import MODES
from benchmarks.peers.network import PeerNetwork
from benchmarks.realdata import some_fields
from edge.camera.image_files import read_image
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.diagnosis.speed import machine
from edge.types import CANONICAL_UM_PER_PX, Pixels

DRAWS = 2000

WORKER = Path(__file__).with_name("compare_worker.py")


@dataclass
class Version:
    """An installed version that reads pictures when asked."""

    python: Path
    threads: int
    times: list[tuple[float, float]] = field(default_factory=list)

    def __enter__(self) -> Version:
        """Start its process in a folder of its own, so that no other version is imported."""
        self._folder = tempfile.TemporaryDirectory()
        command = [str(self.python.absolute()), str(WORKER), str(self.threads)]
        self._process = subprocess.Popen(  # noqa: S603 - named by who runs this
            command, cwd=self._folder.name, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)  # closes its input, which ends it
        self._folder.cleanup()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let it read one picture, and return its answer."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process was not started: use the version as a context manager")
        line = ""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise typer.BadParameter(f"{self.python} ended without an answer. Is sicklescope there?")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main(
    old: Annotated[Path, typer.Argument(help="Python of one version.")],
    new: Annotated[Path, typer.Argument(help="Python of the other.")],
    pictures: Annotated[list[Path] | None, typer.Argument(help="Else drawn ones, and some of real sets.")] = None,
    mode: Annotated[str, typer.Option(help=f"One of {', '.join(MODES)}.")] = "known",
    count: Annotated[int, typer.Option(min=2, help="Pictures of each kind.")] = 15,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each picture is read by each version.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of the networks.")] = 1,
    peer: Annotated[list[Path] | None, typer.Option(help="ONNX files of bare networks, of 640 by 480 pixels.")] = None,
) -> None:
    """Read by turns and print the ratios of processor time and of the clock's."""
    if mode not in MODES:
        raise typer.BadParameter(f"no mode {mode!r}; known: {', '.join(MODES)}")
    kinds = {"given": [read_image(path, 64) for path in pictures]} if pictures else some_pictures(count)
    table = Table("pictures", "of", "", "new ÷ old", "95 % interval", "old, ms", "new, ms", "cells, old / new")
    with tempfile.TemporaryDirectory() as folder, Version(old, threads) as first, Version(new, threads) as second:
        for name, given in kinds.items():
            files = written(given, Path(folder))
            rows(table, name, files, (first, second), mode, rounds)
            for path in peer or ():
                against_peer(table, name, given, files, second, PeerNetwork(path, threads), mode, rounds)
    console = Console(width=130)
    console.print(machine())
    console.print(table)


def some_pictures(count: int) -> dict[str, list[Pixels]]:
    """Return fields of the virtual slide, and of the real sets that are there."""
    slide = Slide(SlideSpec(seed=3, n_fields=count))
    found = {"virtual slide": [slide.render(i) for i in range(count)]}
    for name in ("uganda_scd", "chula_rbc12"):
        real = [read_image(path, 64) for path in some_fields(name, count)]
        if real:
            found[name] = real
    return found


def written(pictures: list[Pixels], folder: Path) -> list[Path]:
    """Write decoded pictures, which every version reads as they are."""
    paths = [folder / f"{i}.npy" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        np.save(path, picture)
    return paths


def rows(table: Table, name: str, files: list[Path], versions: tuple[Version, Version], mode: str, rounds: int) -> None:
    """Read every picture by turns and add two lines to the table."""
    scales = [versions[0].ask({"picture": str(path), "mode": "unknown"})["um_per_px"] for path in files]
    times = np.zeros((2, len(files), rounds, 2))
    cells = np.zeros((2, len(files)))
    for turn in range(rounds):
        for i, path in enumerate(files):
            request = {"picture": str(path), "mode": mode, "um_per_px": scales[i] or CANONICAL_UM_PER_PX}
            for which in islice(cycle((0, 1)), (turn + i) % 2, (turn + i) % 2 + 2):
                answer = versions[which].ask(request)
                times[which, i, turn] = answer["cpu_ms"], answer["wall_ms"]
                cells[which, i] = answer["cells"]
    for kind, label in enumerate(("processor", "clock")):
        old, new = np.median(times[:, :, :, kind], axis=2)
        ratio, low, high = ratio_of(old, new)
        found = f"{cells[0].sum():.0f} / {cells[1].sum():.0f}" if kind == 0 else ""
        table.add_row(name if kind == 0 else "", str(len(files)), label, f"{ratio:.3f}", f"{low:.3f} to {high:.3f}",
                      f"{np.median(old):.1f}", f"{np.median(new):.1f}", found)  # fmt: skip


def against_peer(
    table: Table,
    name: str,
    pictures: list[Pixels],
    files: list[Path],
    version: Version,
    peer: PeerNetwork,
    mode: str,
    rounds: int,
) -> None:
    """Read by turns with a version and a bare network and add a line: version ÷ network, processor time."""
    scales = [version.ask({"picture": str(path), "mode": "unknown"})["um_per_px"] for path in files]
    times = np.zeros((2, len(files), rounds))
    for turn in range(rounds):
        for i, path in enumerate(files):
            request = {"picture": str(path), "mode": mode, "um_per_px": scales[i] or CANONICAL_UM_PER_PX}
            times[1, i, turn] = version.ask(request)["cpu_ms"]
            given = peer.prepared(pictures[i])
            began = time.process_time()
            peer(given)
            times[0, i, turn] = 1000 * (time.process_time() - began)
    bare, whole = np.median(times, axis=2)
    ratio, low, high = ratio_of(bare, whole)
    table.add_row("", str(len(files)), f"new ÷ {peer.name}", f"{ratio:.3f}", f"{low:.3f} to {high:.3f}",
                  f"{np.median(bare):.1f}", f"{np.median(whole):.1f}", "")  # fmt: skip


def ratio_of(old: np.ndarray, new: np.ndarray) -> tuple[float, float, float]:
    """Return Σ new ÷ Σ old of one time a picture, with the 95 % interval by bootstrap over pictures."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(old), size=(DRAWS, len(old)))
    low, high = np.percentile(new[drawn].sum(1) / old[drawn].sum(1), [2.5, 97.5])
    return float(new.sum() / old.sum()), float(low), float(high)


if __name__ == "__main__":
    typer.run(main)
