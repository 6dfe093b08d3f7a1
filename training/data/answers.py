"""What a reviewer saw by eye at places where networks found something: `artefacts.csv`, and the sheets it is made from.

A picture is named by its set and the first 16 digits of its sha256, for x and y are pixels of this very file. No part
of a picture is kept.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from edge.types import CANONICAL_UM_PER_PX, Pixels
from edge.vision.classify import crops
from training.data.datasets import PLACE_ANSWERS, DataError, LabelledField, digest, read_pixels, table
from training.data.fields import resized

FILE = Path(__file__).parent / "artefacts.csv"

COLUMNS = ("set", "picture", "x", "y", "answer")

CROP_PX, SHOWN_PX, ACROSS = 56, 120, 10
"""Canonical pixels of a crop, pixels that it is shown in, and crops in a row of a sheet."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found.

    set, picture: as in the file; x, y: pixels of the picture; um_per_px: its scale.
    """

    set: str
    picture: str
    x: float
    y: float
    um_per_px: float


def answers(file: Path = FILE) -> dict[tuple[str, str], list[tuple[float, float, str]]]:
    """Return x, y and answer of the places of each picture, by set and name; raises DataError."""
    seen: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    for row in table(file, COLUMNS):
        try:
            x, y = float(row["x"]), float(row["y"])
        except ValueError:
            x = y = math.nan
        if not (math.isfinite(x) and math.isfinite(y) and row["answer"] in PLACE_ANSWERS):
            said = ",".join(row.values())
            raise DataError(
                f"{file} holds {said!r}: expected set, picture, two numbers, and {' or '.join(PLACE_ANSWERS)}"
            )
        seen.setdefault((row["set"], row["picture"]), []).append((x, y, row["answer"]))
    return seen


def with_answers(fields: Sequence[LabelledField], file: Path | None = None) -> list[LabelledField]:
    """Return fields with their answers.

    Raises:
        DataError: answers are of a picture of these sets that is gone.
    """
    file = file or FILE
    seen, sets = answers(file), {field.dataset for field in fields}
    names = [(field.dataset, digest(field.path)[:16]) for field in fields]
    gone = sorted({key for key in seen if key[0] in sets} - set(names))
    if gone:
        raise DataError(
            f"{file} has answers for {len(gone)} pictures that their sets do not hold, the first {gone[0][1]} of "
            f"{gone[0][0]}. Bring them back, or take their lines out"
        )
    return [
        replace(field, answers=tuple(seen[name])) if name in seen else field
        for field, name in zip(fields, names, strict=True)
    ]


def keep(places: Sequence[Place], said: Mapping[int, str], file: Path = FILE) -> int:
    """Add answers, by the number of the place from 1, to the file.

    An earlier one of the same place is replaced.

    Returns how many the file holds. Raises DataError for a number or a word that is unknown; nothing is written then.
    """
    unknown = [str(n) for n in said if not 1 <= n <= len(places)]
    unknown += [answer for answer in said.values() if answer not in PLACE_ANSWERS]
    if unknown:
        raise DataError(
            f"{unknown[0]} is no answer: expected numbers 1 to {len(places)}, and {' or '.join(PLACE_ANSWERS)}"
        )
    rows: dict[tuple[str, str, str, str], str] = {}
    if file.is_file():
        answers(file)  # a damaged file is told before it is written over
        rows = {(r["set"], r["picture"], r["x"], r["y"]): r["answer"] for r in table(file, COLUMNS)}
    for n, answer in said.items():
        place = places[n - 1]
        rows[place.set, place.picture, f"{place.x:.1f}", f"{place.y:.1f}"] = answer
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *((*key, rows[key]) for key in sorted(rows))])
    unfinished = file.with_suffix(".part")
    unfinished.write_text(text.getvalue(), encoding="utf-8")
    unfinished.replace(file)
    return len(rows)


def numbers(text: str) -> dict[int, str]:
    """Read answers such as `none 1 4-6; open 9`; raises DataError."""
    said: dict[int, str] = {}
    for part in filter(None, (p.split() for p in text.split(";"))):
        for word in part[1:]:
            low, _, high = word.partition("-")
            if not low.isdecimal() or (high and not high.isdecimal()):
                raise DataError(f"{word!r} is neither a number nor a range of numbers; expected `none 1 4-6; open 9`")
            said |= dict.fromkeys(range(int(low), int(high or low) + 1), part[0])
    return said


def sheet(places: Sequence[Place], pictures: Mapping[tuple[str, str], Path]) -> Pixels:
    """Draw places side by side, each with its number, at one scale: uint8 (H, W, 3)."""
    rows = math.ceil(len(places) / ACROSS)
    drawn = np.full((rows * (SHOWN_PX + 4), ACROSS * (SHOWN_PX + 4), 3), 255, np.uint8)
    for n, place in enumerate(places):
        zoom = CANONICAL_UM_PER_PX / place.um_per_px
        pixels = resized(read_pixels(pictures[place.set, place.picture]), zoom)
        at = np.array([[place.x, place.y, place.x, place.y]], np.float32) / zoom
        crop = cv2.resize(crops(pixels, at, CROP_PX)[0], (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_CUBIC)
        cv2.putText(crop, str(n + 1), (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 3, cv2.LINE_AA)
        cv2.putText(crop, str(n + 1), (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        for tick in (crop[:6], crop[-6:]):
            tick[:, SHOWN_PX // 2 - 1 : SHOWN_PX // 2 + 1] = (0, 0, 255)
        for tick in (crop[:, :6], crop[:, -6:]):
            tick[SHOWN_PX // 2 - 1 : SHOWN_PX // 2 + 1] = (0, 0, 255)
        row, column = divmod(n, ACROSS)
        y0, x0 = row * (SHOWN_PX + 4), column * (SHOWN_PX + 4)
        drawn[y0 : y0 + SHOWN_PX, x0 : x0 + SHOWN_PX] = crop
    return drawn


def write_index(places: Iterable[Place], path: Path) -> None:
    """Write the places of a sheet, which its numbers count."""
    path.write_text(json.dumps([asdict(place) for place in places]) + "\n", encoding="utf-8")


def read_index(path: Path) -> list[Place]:
    """Read what `write_index` wrote; raises DataError."""
    try:
        return [Place(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is no index of a sheet: {error}. Make one with: sicklescope-train answers sheet"
        ) from error
