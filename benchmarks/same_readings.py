"""Whether two installed versions read pictures alike, and as fast: `python -m benchmarks.same_readings OLD NEW`.

Each version is named by the Python that it is installed in. Both `scan` the same pictures, in turn, and their
`fields.jsonl` are compared line by line; exit code 1 where they differ. Times are of whole scans, the start with them.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.realdata import FIELDS, data_folder, some_fields
from edge.camera.image_files import IMAGE_SUFFIXES

SHOWN = 10
"""Of so many pictures that differ the keys are printed."""


def main(
    old: Annotated[Path, typer.Argument(help="Python of one version.")],
    new: Annotated[Path, typer.Argument(help="Python of the other.")],
    pictures: Annotated[list[Path] | None, typer.Argument(help="Else some of each real set.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures of each real set.")] = 15,
    rounds: Annotated[int, typer.Option(min=1, help="Scans with each version.")] = 3,
) -> None:
    """Scan by turns, compare, and print how many lines differ and the ratio of times."""
    given = pictures or [*(path for dataset in FIELDS for path in some_fields(dataset, count)), *krd(count)]
    if not given:
        raise typer.BadParameter(f"no picture given, and none below {data_folder()}")
    took: dict[Path, list[float]] = {old: [], new: []}
    lines: dict[Path, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for python in (old, new):
                began = time.perf_counter()
                lines[python] = scanned(python, given, Path(folder) / f"{len(took[python])}-{python is new}")
                took[python].append(time.perf_counter() - began)
    differing = [(a, b) for a, b in zip(*lines.values(), strict=True) if a != b]
    for one, other in differing[:SHOWN]:
        name = Path(str(one["image"])).name
        typer.echo(f"{name}: {', '.join(key for key in {**one, **other} if one.get(key) != other.get(key))}")
    ratios = [b / a for a, b in zip(took[old], took[new], strict=True)]
    spread = max((abs(b / a - 1) for runs in took.values() for a, b in pairwise(runs)), default=0.0)
    typer.echo(
        f"{len(given)} pictures, {len(differing)} differ; time of new ÷ old {median(ratios):.3f} "
        f"(a version's own runs differ by up to {spread:.1%})"
    )
    raise typer.Exit(bool(differing))


def krd(count: int) -> list[Path]:
    """Return so many pictures of krd_wbc, spread over the set."""
    files = sorted(p for p in (data_folder() / "krd_wbc").rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return files[:: max(1, len(files) // count)][:count]


def scanned(python: Path, pictures: list[Path], out: Path) -> list[dict[str, Any]]:
    """Scan with one version, in a folder of its own so that no other is imported.

    Returns the lines of fields.jsonl.
    """
    out.mkdir(parents=True)
    command = [str(python), "-m", "edge", "scan", *(str(p.absolute()) for p in pictures), "--out", str(out / "scan")]
    subprocess.run(command, cwd=out, check=True, capture_output=True)  # noqa: S603 - named by who runs this
    return [json.loads(line) for line in (out / "scan" / "fields.jsonl").read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    typer.run(main)
