"""How well the size of a pixel is found without being told, over all given sets: `python -m benchmarks.scale`.

The truth of `txl_pbc` is the median of its boxes round whole red cells. Elsewhere pictures of one set and size are held
against their median, which is the truth where one lens took them all; `--draw` shows the others for a look by eye: a
circle that is 7.5 µm wide by the estimate. Goes on where it was broken off, from the lines in `--out`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.realdata import data_folder
from edge.camera.image_files import IMAGE_SUFFIXES, read_image
from edge.config.model import Config
from edge.runtime.registry import open_network
from edge.types import Pixels, Rejection
from edge.vision.prepare import cropped, slide_part
from edge.vision.scale import CELLS_TO_ESTIMATE, RED_CELL_UM, ScaleEstimator

SETS = {
    "txl_pbc": "txl_pbc/images",
    "uganda_scd negative": "uganda_scd/negative",
    "uganda_scd positive": "uganda_scd/positive",
    "chula_rbc12": "chula_rbc12/images",
    "chula_rbc12 diseases": "chula_rbc12/diseases",
    "chula_rbc12 unlabelled": "chula_rbc12/unlabelled",
    "krd_wbc": "krd_wbc/images",
    "wbc_four_types": "wbc_four_types/Original_Images",
}
"""Sets of whole fields, and the folder of each."""

NEAR, FAR, WRONG = 1.15, 1.35, 1.5
"""Factors by which an estimate may be off before it is counted."""

EDGE_PX = 1.5


def main(
    out: Annotated[Path, typer.Option(help="Lines of what was estimated.")] = Path("scale.jsonl"),
    draw: Annotated[Path | None, typer.Option(help="Folder for pictures of the estimates that are off.")] = None,
) -> None:
    """Estimate the scale of every picture and print how far off it is."""
    cv2.setNumThreads(1)
    known = _known(out)
    config = Config()
    with (
        closing(open_network("detector", config.models, config.device.state_dir)) as network,
        out.open("a") as lines,
    ):
        estimate = ScaleEstimator(network)
        for name, path in _pictures():
            if str(path) not in known:
                known[str(path)] = {"set": name, "picture": str(path), **_estimated(estimate, path)}
                lines.write(json.dumps(known[str(path)]) + "\n")
                lines.flush()
    rows = [known[str(path)] for _, path in _pictures()]
    _compare(rows)
    Console(width=130).print(_table(rows))
    for row in sorted(rows, key=lambda row: -abs(np.log(row["off"] or 1))):
        if row["off"] is not None and not 1 / FAR <= row["off"] <= FAR:
            typer.echo(f"{row['set']} {Path(row['picture']).name}: {row['um_per_px']:.4f}, {row['off']:.2f} times")
            if draw is not None:
                _draw(draw, row)


def _known(out: Path) -> dict[str, dict[str, Any]]:
    rows = map(json.loads, out.read_text().splitlines()) if out.exists() else ()
    return {row["picture"]: row for row in rows}


def _pictures() -> list[tuple[str, Path]]:
    folders = {name: data_folder() / folder for name, folder in SETS.items()}
    return [
        (name, path)
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]


def _estimated(estimate: ScaleEstimator, path: Path) -> dict[str, Any]:
    pixels = read_image(path, 64)
    part = slide_part(pixels, Config().quality)
    size = list(pixels.shape[:2])
    if isinstance(part, Rejection):
        return {"size": size, "um_per_px": None, "cells": 0, "rejected": part.reason.value}
    scale, cells = estimate(cropped(pixels, part.visible)[0], CELLS_TO_ESTIMATE, cut_too=True)
    return {"size": size, "um_per_px": scale and scale.um_per_px, "cells": cells, "rejected": ""}


def _compare(rows: list[dict[str, Any]]) -> None:
    """Add to each row by how many times its estimate is off, None where that cannot be told."""
    alike = defaultdict(list)
    for row in rows:
        if row["um_per_px"] is not None:
            alike[_alike(row)].append(row["um_per_px"])
    for row in rows:
        truth = _boxed(row) if row["set"] == "txl_pbc" else float(np.median(alike[_alike(row)] or [np.nan]))
        row["off"] = None if row["um_per_px"] is None or truth is None else row["um_per_px"] / truth


def _alike(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what pictures through one lens have in common; those of `uganda_scd` are cut round the eyepiece."""
    return (row["set"],) if row["set"].startswith("uganda") else (row["set"], *row["size"])


def _boxed(row: dict[str, Any]) -> float | None:
    """Return the scale that the boxes of a picture give; None with fewer than two whole red cells."""
    path, (h, w) = Path(row["picture"]), row["size"]
    labels = data_folder() / "txl_pbc" / "labels" / path.parent.name / f"{path.stem}.txt"
    kind, x, y, across, down = np.loadtxt(labels, ndmin=2).T
    whole = (
        (np.minimum(x - across / 2, 1 - x - across / 2) * w > EDGE_PX)
        & (np.minimum(y - down / 2, 1 - y - down / 2) * h > EDGE_PX)
        & (kind == 1)
    )
    if whole.sum() < CELLS_TO_ESTIMATE:
        return None
    return RED_CELL_UM / float(np.median(np.sqrt(across * w * down * h)[whole]))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("set", "pictures", "no scale", "compared", f"beyond {NEAR}", f"beyond {FAR}", f"beyond {WRONG}")
    for name in [*SETS, "all"]:
        mine = [row for row in rows if name in (row["set"], "all")]
        off = np.abs(np.log([row["off"] for row in mine if row["off"] is not None]))
        refused = sum(row["um_per_px"] is None for row in mine)
        beyond = [f"{int((off > np.log(limit)).sum())} ({(off > np.log(limit)).mean():.1%})" if len(off) else ""
                  for limit in (NEAR, FAR, WRONG)]  # fmt: skip
        share = f"{refused} ({refused / len(mine):.1%})" if mine else ""
        table.add_row(name, str(len(mine)), share, str(len(off)), *beyond)
    return table


def _draw(folder: Path, row: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels: Pixels = read_image(Path(row["picture"]), 64).copy()
    radius = round(RED_CELL_UM / row["um_per_px"] / 2)
    cv2.circle(pixels, (radius + 4, radius + 4), radius, (255, 0, 0), 2)
    cv2.imwrite(str(folder / f"{row['set'].replace(' ', '_')}_{Path(row['picture']).stem}.png"), pixels[:, :, ::-1])


if __name__ == "__main__":
    typer.run(main)
