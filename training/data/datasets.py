"""Typed readers of the data sets that teach and judge the shipped models; licences and labels: see the data README.

The folder that holds the sets is named by the environment variable SICKLESCOPE_DATA (default ../shared/data).
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from edge.errors import InputError
from edge.system.digest import sha256_file
from edge.types import Floats, Pixels

FOLDS = (0, 1, 2, 3)
"""Into which the sets are divided: never a place or slide in two of them."""

UGANDA_LABELS = ("positive", "negative")
"""What a field of `uganda_scd` is: of a patient with sickle cells, or without."""

CHULA_NORMAL, CHULA_UNCATEGORISED = 0, 10
CHULA_SIZES = (1, 2)
"""Macrocytes and microcytes: an estimated scale cannot see them, so normal and other are both right."""
LABELLED_ENOUGH = 0.1
"""Largest part of cells without a label, of a field of `chula_rbc12` in which what has no label is no red cell."""
CHULA_NAMES = (
    "normal", "macrocyte", "microcyte", "spherocyte", "target", "stomatocyte", "ovalocyte",
    "teardrop", "burr", "schistocyte", "uncategorised", "hypochromic", "elliptocyte",
)  # fmt: skip

IDB1_UM_PER_PX = 0.15


UNBOXED = Path(__file__).parent / "unboxed.csv"
"""1,704 cells of `uganda_scd` in no box that networks which had not seen them called sickle, and what a reviewer saw by
eye: `no` sickle cell (831: clumps, smears, dirt, burr and round cells), or `perhaps` one. A picture is named by the
first 16 digits of its sha256, for x and y are pixels of this very file. The first 840 taught the shipped networks."""

ANSWERS = {"no": 0.0, "perhaps": 1.0}

NONE, WHITE, CELL, OPEN = "none", "white", "cell", "open"
"""No cell: dirt, streak, precipitate, ring, pointer, bare ground. Of a white cell or platelet, or its rest. A red cell,
whichever. Not to be decided."""

PLACE_ANSWERS = (NONE, WHITE, CELL, OPEN)


class DataError(InputError):
    """A data set is not where it should be, or not what it should be."""


@dataclass(frozen=True, slots=True)
class LabelledField:
    """One picture of a smear with its labels.

    boxes: float32 (N, 4) x0, y0, x1, y1 in pixels, for `txl_pbc` every cell, for `uganda_scd` the boxed sickle cells.
    kinds: int (N,) into KINDS; partial: bool (N,), boxes that are cut. points: float32 (M, 3) x, y, class for
    `chula_rbc12`. unboxed: float32 (K, 3) x, y and 1 or 0 for cells of `uganda_scd` that have no box and were looked at
    by eye: may it be a sickle cell after all? answers: x, y and what a reviewer saw there, see `training.data.answers`.
    fold is -1 where the set has none; group is what must never be split.
    """

    dataset: str
    path: Path
    group: str
    fold: int
    label: str
    boxes: Floats
    kinds: np.ndarray
    partial: np.ndarray
    points: Floats
    fraction_unlabelled: float = 0.0
    unboxed: Floats = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    answers: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledCrop:
    """One picture of one cell."""

    path: Path
    label: str
    fold: int


def data_root() -> Path:
    """Return the folder of the data sets; raises DataError when it is absent."""
    root = Path(os.environ.get("SICKLESCOPE_DATA", "../shared/data"))
    if not root.is_dir():
        raise DataError(f"data folder {root} not found. Set SICKLESCOPE_DATA to the folder that holds the data sets")
    return root


def read_pixels(path: Path) -> Pixels:
    """Read a picture as uint8 (H, W, 3) RGB; raises DataError when it cannot be read."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError(f"{path} cannot be read as an image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def digest(path: Path) -> str:
    """Return the sha256 of a picture's file; raises DataError when it cannot be read."""
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def table(path: Path, columns: tuple[str, ...], integers: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file.

    Raises DataError for one that is absent, cut short, lacks columns or is no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = "not found" if isinstance(error, FileNotFoundError) else f"no UTF-8 text: {error}"
        raise DataError(f"{path} {said}: is {path.parent} the data set {path.parent.name}?") from error
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        missing = {*columns, *integers} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"{path} has columns {reader.fieldnames}; {', '.join(sorted(missing))} expected as well")
        for row in reader:
            if None in row.values() or not all((row[name] or "").isdecimal() for name in integers):
                raise DataError(f"{path} line {reader.line_num} is cut short, or {', '.join(integers)} is no number")
            yield row


def value(row: dict[str, str], column: str, path: Path) -> float:
    """Return a finite number of a table's row; raises DataError."""
    try:
        found = float(row[column])
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{path} says {column} {row[column]!r} of {row['path']}: expected a number")
    return found


def numbers(path: Path, columns: int) -> Floats:
    """Read float32 (N, columns) separated by spaces.

    Raises DataError for a file that is absent or holds else.
    """
    try:
        rows = [[float(word) for word in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"labels {path} cannot be read: {error}") from error
    rows = [row for row in rows if row]
    if any(len(row) != columns or not all(map(math.isfinite, row)) for row in rows):
        raise DataError(f"labels {path}: expected {columns} numbers in each line")
    return np.array(rows, np.float32).reshape(-1, columns)


def labelled_field(dataset: str, path: Path, group: str, fold: int, label: str, **labels: object) -> LabelledField:
    """Return a field with these labels and no others.

    Raises DataError when there is no such picture, or it has no group or an unknown fold.
    """
    if not path.is_file():
        raise DataError(f"{path} is named by the labels of {dataset} but not found")
    if not group.strip():
        raise DataError(f"{path} of {dataset} has no group. Pictures of one group must never be split: name it")
    if fold not in (-1, *FOLDS):
        raise DataError(f"{path} of {dataset} is of fold {fold}; expected one of {FOLDS}")
    empty = {
        "boxes": np.zeros((0, 4), np.float32),
        "kinds": np.zeros(0, np.int64),
        "partial": np.zeros(0, bool),
        "points": np.zeros((0, 3), np.float32),
    }
    return LabelledField(dataset, path, group, fold, label, **{**empty, **labels})  # type: ignore[arg-type]


def read_txl(root: Path, split: str) -> list[LabelledField]:
    """Read `txl_pbc`, split `train` or `val`.

    Boxes of red cells, white cells and platelets in YOLO form.
    """
    return txl_fields(root / "txl_pbc", split)


def txl_fields(home: Path, split: str) -> list[LabelledField]:
    """Read one split of the set that lies in `home`, whatever that folder is called."""
    folder = home / "images" / split
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".png", ".jpeg"))
    if not paths:
        raise DataError(f"no images in {folder}; expected the split {split!r} of txl_pbc")
    labels = home / "labels" / split
    strays = sorted({p.stem for p in labels.glob("*.txt")} - {p.stem for p in paths})
    if strays:
        raise DataError(f"{labels / strays[0]}.txt labels an image that is not in {folder}")
    to_kind = np.array([1, 0, 2])  # the set's order is WBC, RBC, platelet
    fields = []
    for path in paths:
        height, width = read_pixels(path).shape[:2]
        rows = numbers(labels / f"{path.stem}.txt", 5)
        if not np.isin(rows[:, 0], (0, 1, 2)).all():
            raise DataError(f"{labels / path.stem}.txt holds a class other than 0, 1 and 2")
        centre, half = rows[:, 1:3] * (width, height), rows[:, 3:5] * (width, height) / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        kinds = to_kind[rows[:, 0].astype(int)]
        fields.append(labelled_field("txl_pbc", path, path.stem, -1, split, boxes=boxes, kinds=kinds,
                                     partial=np.zeros(len(rows), bool)))  # fmt: skip
    return fields


def read_chula(root: Path) -> list[LabelledField]:
    """Read `chula_rbc12`: centre and class of each red cell; no sickle cells; folds by series."""
    return chula_fields(root / "chula_rbc12")


def chula_fields(folder: Path) -> list[LabelledField]:
    """Read the set that lies in `folder`, whatever that is called."""
    columns = ("path", "series_group", "fraction_unlabelled")
    fields = []
    for row in table(folder / "fields.csv", columns, ("fold",)):
        path = folder / row["path"]
        labels = folder / "labels" / f"{path.stem}.txt"
        points = numbers(labels, 3)
        if not np.isin(points[:, 2], range(len(CHULA_NAMES))).all():
            raise DataError(f"{labels} holds a class other than 0 to {len(CHULA_NAMES) - 1}")
        empty = not row["fraction_unlabelled"]
        unlabelled = math.nan if empty else value(row, "fraction_unlabelled", folder / "fields.csv")
        group, fold = row["series_group"], int(row["fold"])
        fields.append(labelled_field("chula_rbc12", path, group, fold, "negative", points=points,
                                     fraction_unlabelled=unlabelled))  # fmt: skip
    return fields


def read_uganda(root: Path) -> list[LabelledField]:
    """Read `uganda_scd`: label of the field and boxes of (some of) its sickle cells.

    Folds by field group.
    """
    return uganda_fields(root / "uganda_scd")


def uganda_fields(folder: Path) -> list[LabelledField]:
    """Read the set that lies in `folder`, whatever that is called."""
    boxes = _sickle_boxes(folder / "sickle_boxes.csv")
    unboxed = unboxed_answers()
    fields = []
    for row in table(folder / "fields.csv", ("path", "label", "field_group"), ("fold",)):
        if row["label"] not in UGANDA_LABELS:
            said = f"{folder / 'fields.csv'} calls {row['path']} {row['label']!r}"
            raise DataError(f"{said}; expected one of {', '.join(UGANDA_LABELS)}")
        found = np.array(boxes.pop(row["path"], []), np.float32).reshape(-1, 5)
        group, fold, n = row["field_group"], int(row["fold"]), len(found)
        made = labelled_field("uganda_scd", folder / row["path"], group, fold, row["label"], boxes=found[:, :4],
                              kinds=np.zeros(n, np.int64), partial=found[:, 4] > 0)  # fmt: skip
        seen = unboxed.get(digest(made.path)[:16], [])
        fields.append(replace(made, unboxed=np.array(seen, np.float32).reshape(-1, 3)))
    if boxes:
        gone = f"{folder / 'sickle_boxes.csv'} has boxes in {len(boxes)} pictures that fields.csv does not name"
        raise DataError(f"{gone}, the first {next(iter(boxes))}. Name them, or take their lines out")
    return fields


def _sickle_boxes(path: Path) -> dict[str, list[list[float]]]:
    """Return x0, y0, x1, y1 and whether it is cut of each box, by picture; raises DataError."""
    boxes: dict[str, list[list[float]]] = {}
    for row in table(path, ("path", "x0", "y0", "x1", "y1", "partial")):
        x0, y0, x1, y1, partial = (value(row, name, path) for name in ("x0", "y0", "x1", "y1", "partial"))
        if x0 >= x1 or y0 >= y1 or partial not in (0, 1):
            raise DataError(f"{path} has no box of {row['path']} in {','.join(row.values())!r}: x0 < x1, y0 < y1")
        boxes.setdefault(row["path"], []).append([x0, y0, x1, y1, partial])
    return boxes


def unboxed_answers() -> dict[str, list[list[float]]]:
    """Return x, y and answer of the cells of UNBOXED, by the name of their picture.

    Raises DataError.
    """
    seen: dict[str, list[list[float]]] = {}
    for row in table(UNBOXED, ("picture", "x", "y", "sickle")):
        try:
            answer = [float(row["x"]), float(row["y"]), ANSWERS[row["sickle"]]]
        except (ValueError, KeyError):
            answer = [math.nan]
        if not all(map(math.isfinite, answer)):
            said = ",".join(row.values())
            raise DataError(f"{UNBOXED} holds {said!r}: expected a picture, two numbers, and {' or '.join(ANSWERS)}")
        seen.setdefault(row["picture"], []).append(answer)
    return seen


def read_idb1(root: Path) -> list[LabelledCrop]:
    """Read the colour crops of `erythrocytes_idb1`. Evaluation only.

    Nothing learnt from them may ship.
    """
    folder = root / "erythrocytes_idb1"
    return [
        LabelledCrop(folder / row["path"], row["label"], int(row["fold"]))
        for row in table(folder / "cells.csv", ("path", "label"), ("fold",))
    ]
