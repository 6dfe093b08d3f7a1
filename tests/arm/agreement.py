"""Whether an emulated ARM64 computer names cells as this one does: `python -m tests.arm.agreement FIELDS CELLS RESULT`.

FIELDS is the folder of pictures, CELLS the `cells.csv` that the other computer made of it, RESULT the result that came
from it over MQTT.
"""

from __future__ import annotations

import csv
import json
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

LEAST = 0.98
"""Of all cells that either computer found: the part that both found and named alike."""

NEAR_PX = 5
"""Two boxes whose sides are no further apart are one cell."""

Box = tuple[float, float, float, float]
Named = dict[str, list[tuple[Box, str]]]


def main(fields: Path, cells: Path, result: Path) -> None:
    """Scan the pictures here too, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-m", "edge", "scan", str(fields), "--out", str(out), "--processes", "1"]
        subprocess.run([*command, "--keep-duplicates"], check=True, capture_output=True)
        here, there = read(out / "cells.csv"), read(cells)
    pairs = [(one, other) for image in here for one, other in both(here[image], there[image])]
    alike = sum(one == other for one, other in pairs)
    found = sum(map(len, here.values())) + sum(map(len, there.values())) - len(pairs)
    message = json.loads(result.read_text("utf-8"))
    print(
        f"{platform.machine()} and aarch64: {len(here)} fields with {found} cells, {len(pairs)} found by both, {alike} "
        f"({alike / found:.2%}) named alike. Over MQTT: {message['stage']}, {message['fields_read']} fields, "
        f"{message['red_cells']} red cells, {message['runtime']}"
    )
    if alike < LEAST * found or not message["red_cells"]:
        sys.exit(f"at least {LEAST:.0%} of the cells must be named alike, and the result must count red cells")


def read(path: Path) -> Named:
    """Return boxes and classes of the cells of each picture, by its name."""
    cells: Named = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            box = (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"]))
            cells[Path(row["image"]).name].append((box, row["class"]))
    return cells


def both(ones: list[tuple[Box, str]], others: list[tuple[Box, str]]) -> list[tuple[str, str]]:
    """Return the two classes of each cell that is in both lists."""
    left = list(others)
    pairs = []
    for box, name in ones:
        near = [cell for cell in left if max(abs(a - b) for a, b in zip(box, cell[0], strict=True)) <= NEAR_PX]
        if near:
            left.remove(near[0])
            pairs.append((name, near[0][1]))
    return pairs


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
