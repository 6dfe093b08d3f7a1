"""Which places a reviewer is shown: sickle calls, abstained cells, faint red cells, and some of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.types import ABSTAINED
from training.data.answers import Place, sheet, write_index
from training.data.datasets import DataError, LabelledField, digest
from training.evaluate.estimates import red
from training.evaluate.predictions import SICKLE, PredictedCells

FAINT = 0.45
"""Score of the detector below which a red cell is faint: half of them are none."""

KINDS = ("calls", "abstained", "faint", "others")


def kinds_of(reading: PredictedCells, sickle: float) -> dict[str, np.ndarray]:
    """Return the rows of the whole red cells of each of KINDS.

    Each row is of the first that it fits.
    """
    labels = reading.labels(sickle)
    rows = np.nonzero(red(labels) & ~reading.border)[0]
    kind = np.select([labels[rows] == SICKLE, labels[rows] == ABSTAINED, reading.score[rows] < FAINT], [0, 1, 2], 3)
    return {name: rows[kind == i] for i, name in enumerate(KINDS)}


def chosen(
    fields: Sequence[LabelledField],
    readings: Mapping[str, PredictedCells],
    sickle: float,
    counts: Mapping[str, int],
    known: Mapping[tuple[str, str], Sequence[tuple[float, float, str]]],
    seed: int,
) -> list[Place]:
    """Draw places without an answer, so many of each of KINDS, and mix them.

    Args:
        fields: that were read.
        readings: by set, folder and name of the picture.
        sickle: threshold of the pair that read them.
        counts: places wanted of each kind.
        known: answers that are there already.
        seed: of the draw.
    """
    found: dict[str, list[Place]] = {name: [] for name in KINDS}
    for field in fields:
        reading = readings.get(f"{field.dataset}/{field.path.parent.name}/{field.path.name}")
        if reading is None or reading.um_per_px is None:
            continue
        picture = digest(field.path)[:16]
        answered = [np.array(place[:2]) for place in known.get((field.dataset, picture), [])]
        for name, rows in kinds_of(reading, sickle).items():
            for x, y in reading.centres[rows].astype(float).round(1).tolist():
                if not any(np.hypot(*(at - (x, y))) < 4.0 / reading.um_per_px for at in answered):
                    found[name].append(Place(field.dataset, picture, x, y, reading.um_per_px))
    rng = np.random.default_rng(seed)
    drawn = [
        found[name][i]
        for name in KINDS
        for i in rng.permutation(len(found[name]))[: counts.get(name, 0)]
    ]  # fmt: skip
    return [drawn[i] for i in rng.permutation(len(drawn))]


def readings_in(path: Path) -> dict[str, PredictedCells]:
    """Read a file of readings, by set, folder and name of the picture; raises DataError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        cells = [PredictedCells.from_json(line) for line in lines]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} holds no readings: {error}. Make them with: sicklescope-train left-out") from error
    return {one.key: one for one in cells}


def write_sheets(places: Sequence[Place], fields: Sequence[LabelledField], folder: Path, per_sheet: int) -> list[Path]:
    """Write pictures of the places and their index beside each; returns the pictures."""
    pictures = {(field.dataset, digest(field.path)[:16]): field.path for field in fields}
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, first in enumerate(range(0, len(places), per_sheet)):
        mine = places[first : first + per_sheet]
        path = folder / f"sheet-{number:02d}.png"
        write_index(mine, path.with_suffix(".json"))
        cv2.imwrite(str(path), cv2.cvtColor(sheet(mine, pictures), cv2.COLOR_RGB2BGR))
        made.append(path)
    return made
