"""Real pictures that an older version read and this one refuses or flags: `python -m benchmarks.newly_refused OLD`.

OLD is the Python of an installed older version, which scans each set whole. This version reads the same files, copies
too. Both readings of each picture are kept below --out, so that a broken run goes on with the next set; without its
files the run begins anew.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.realdata import FIELDS, data_folder
from edge.batch.reading.journal import unit_of
from edge.batch.reading.read_files import FileReader, ReadOptions
from edge.camera.image_files import IMAGE_SUFFIXES
from edge.config.model import Config
from edge.pipeline import Pipeline

CELLS = ("erythrocytes_idb1", "sickle_rbc_xu2017")
"""Sets whose pictures are crops of one cell."""


def main(
    old: Annotated[Path, typer.Argument(help="Python of the older version.")],
    out: Annotated[Path, typer.Option(help="Where the readings are kept.")],
    sets: Annotated[list[str] | None, typer.Option("--set", help="Else every set that is there.")] = None,
) -> None:
    """Read each set with both versions, and print what is newly refused, flagged or read."""
    there = [name for name in sets or (*FIELDS, *CELLS) if (data_folder() / name).is_dir()]
    if not there:
        raise typer.BadParameter(f"none of the sets is below {data_folder()}")
    typer.echo(
        "| set | pictures | read before | newly refused | newly flagged | newly read |\n|---|---|---|---|---|---|"
    )
    reasons: dict[str, list[dict[str, Any]]] = {}
    for name in there:
        pictures = compared(old, name, out)
        before = [one for one in pictures if one["old"] is None]
        refused = [one for one in before if one["new"] is not None]
        flagged = [one for one in before if one["new"] is None and one["flags"]]
        read = sum(one["old"] is not None and one["new"] is None for one in pictures)
        shares = [f"{len(some)} ({len(some) / max(1, len(before)):.2%})" for some in (refused, flagged)]
        typer.echo(f"| `{name}` | {len(pictures)} | {len(before)} | {shares[0]} | {shares[1]} | {read} |")
        for one in refused:
            reasons.setdefault(f"refused: {one['new']}", []).append(one)
        for one in flagged:
            reasons.setdefault(f"flagged: {', '.join(one['flags'])}", []).append(one)
    for reason, some in sorted(reasons.items()):
        typer.echo(f"\n{reason} ({len(some)}): {', '.join(one['image'] for one in some)}")


def compared(old: Path, name: str, out: Path) -> list[dict[str, Any]]:
    """Return what both versions say of each picture of a set, from the file below `out` where it is there."""
    kept = out / f"{name}.json"
    if not kept.exists():
        folder = (data_folder() / name).absolute()
        before, now = read_before(old, folder, out / f"{name}-old"), read_now(folder)
        both = [
            {"image": str(path.relative_to(folder.parent)), "old": before.get(str(path), "no line"), **now[path]}
            for path in now
        ]
        kept.write_text(json.dumps(both, indent=0), encoding="utf-8")
    pictures: list[dict[str, Any]] = json.loads(kept.read_text("utf-8"))
    typer.echo(f"{name}: {Counter(str(one['new']) for one in pictures)}", err=True)
    return pictures


def read_before(old: Path, folder: Path, out: Path) -> dict[str, str | None]:
    """Return for each picture why the older version refuses it, None where it reads it."""
    lines = out / "fields.jsonl"
    if not lines.exists():
        out.mkdir(parents=True, exist_ok=True)  # in a folder of its own, so that no other version is imported
        command = [str(old.absolute()), "-m", "edge", "scan", str(folder), "--out", str(out)]
        command += ["--cells"] if folder.name in CELLS else []
        subprocess.run(command, cwd=out, check=True, capture_output=True)  # noqa: S603 - named by who runs this
    found = map(json.loads, lines.read_text("utf-8").splitlines())
    return {one["image"]: one["rejected"] and one["rejected"]["reason"] for one in found}


def read_now(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return for each picture why this version refuses it, None where it reads it, and the flags it raises."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    readings: dict[Path, dict[str, Any]] = {}
    with Pipeline(Config.model_validate({"models": {"threads": 1}})) as pipeline:
        reader = FileReader(pipeline, ReadOptions(cells=folder.name in CELLS))
        for path in files:
            results = [one for one in reader.read(unit_of([path], each_cell_once=False)) if one is not None]
            refused = [one.reading.rejected.reason.value for one in results if one.reading.rejected is not None]
            flags = sorted({flag for one in results for flag in one.reading.flags})
            readings[path] = {"new": refused[0] if refused else None, "flags": flags}
    return readings


if __name__ == "__main__":
    typer.run(main)
