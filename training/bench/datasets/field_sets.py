"""Readers of sets in which a picture shows many cells: each cell is a box in it. Each takes the set's own folder."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from training.bench.datasets.crop_sets import cell_set
from training.bench.datasets.labelled_cell import CellSet, Sample
from training.bench.datasets.layout import home, pictures, wrong
from training.data.datasets import (
    CHULA_NAMES,
    CHULA_UNCATEGORISED,
    DataError,
    LabelledField,
    chula_fields,
    numbers,
    txl_fields,
    uganda_fields,
)

CHULA_SIDE_PX = 96
"""Side of the square round a centre of `chula_rbc12`: a red cell there is some 70 pixels wide."""
TXL_SPLITS = ("train", "val", "test")
TXL_LABELS = ("red cell", "white cell", "platelet")


def txl(folder: Path) -> CellSet:
    """Read TXL-PBC, `images/SPLIT` and `labels/SPLIT` in YOLO form, as published.

    folds: train 0, val 1, test 2.
    """
    present = [split for split in TXL_SPLITS if (folder / "images" / split).is_dir()]
    if not present:
        raise wrong(folder, "images/train and labels/train")
    samples = []
    for split in present:
        for field in txl_fields(folder, split):
            for box, kind in zip(field.boxes, field.kinds, strict=True):
                samples.append(_boxed(field, box, TXL_LABELS[int(kind)], TXL_SPLITS.index(split)))
    return cell_set("txl_pbc", "MIT", samples)


def chula(folder: Path) -> CellSet:
    """Read Chula RBC-12.

    `fields.csv` with series and folds, or `Dataset/*.jpg` and `Label/*.txt` as published.

    The published layout is that of github.com/Chula-PIC-Lab/Chula-RBC-12-Dataset; its group is the picture. Class 10,
    uncategorised, is left out.
    """
    if (folder / "fields.csv").is_file():
        found = [(f.path, f.group, f.fold, f.points) for f in chula_fields(folder)]
    else:
        found = [(p, p.stem, -1, numbers(folder / "Label" / f"{p.stem}.txt", 3)) for p in pictures(folder / "Dataset")]
    if not found:
        raise wrong(folder, "fields.csv, or the folders Dataset and Label")
    samples = []
    for path, group, fold, points in found:
        for x, y, kind in points:
            if not 0 <= kind < len(CHULA_NAMES):
                raise DataError(f"the labels of {path} hold class {kind:g}; 0 to {len(CHULA_NAMES) - 1} expected")
            if kind != CHULA_UNCATEGORISED:
                corner = max(0, round(x - CHULA_SIDE_PX / 2)), max(0, round(y - CHULA_SIDE_PX / 2))
                box = (*corner, round(x + CHULA_SIDE_PX / 2), round(y + CHULA_SIDE_PX / 2))
                samples.append(Sample(path, CHULA_NAMES[int(kind)], group, fold, box=box))
    return cell_set("chula_rbc12", "MIT", samples)


def uganda(folder: Path) -> CellSet:
    """Read whole fields, positive or negative.

    `fields.csv` with groups and folds, or as published on Kaggle.

    Published as `Positive/Unlabelled` and `Negative/Clear` (F. Tushabe, sickle-cell-disease-dataset; read in notes of
    those who fetched it); `Positive/Labelled` is left out, for it is the same pictures with boxes drawn into them.
    """
    if (folder / "fields.csv").is_file():
        samples = [Sample(f.path, f.label, f.group, f.fold) for f in uganda_fields(folder)]
        return cell_set("uganda_scd", "DbCL 1.0 as reported", samples)
    places = {"positive": home(folder, "Positive", "Unlabelled"), "negative": home(folder, "Negative", "Clear")}
    samples = [Sample(p, label, f"{label}/{p.stem}") for label, at in places.items() for p in pictures(at)]
    if folder in places.values() or not samples:
        raise wrong(folder, "fields.csv, or the folders Positive/Unlabelled and Negative/Clear")
    return cell_set("uganda_scd", "DbCL 1.0 as reported", samples)


def uganda_cells(folder: Path) -> CellSet:
    """Read the boxed sickle cells of the fields that have boxes.

    One class, for no other cells are labelled.
    """
    samples = [
        _boxed(field, box, "sickle", field.fold)
        for field in uganda_fields(folder)
        for box, partial in zip(field.boxes, field.partial, strict=True) if not partial
    ]  # fmt: skip
    return cell_set("uganda_scd_cells", "DbCL 1.0 as reported", samples)


def bccd(folder: Path) -> CellSet:
    """Read BCCD, boxes in Pascal VOC form.

    `Annotations/*.xml` and `JPEGImages/*.jpg` (github.com/Shenggan/BCCD_Dataset).
    """
    folder = home(folder, "BCCD")
    files = sorted((folder / "Annotations").glob("*.xml"))
    if not files:
        raise wrong(folder, "Annotations/*.xml and JPEGImages/*.jpg")
    samples = []
    for file in files:
        path = folder / "JPEGImages" / f"{file.stem}.jpg"
        if not path.is_file():
            raise DataError(f"{file} labels {path}, which is not there")
        samples += [Sample(path, label, path.stem, box=box) for label, box in _voc(file)]
    return cell_set("bccd", "MIT", samples)


def _voc(file: Path) -> list[tuple[str, tuple[int, int, int, int]]]:
    corners = ("xmin", "ymin", "xmax", "ymax")
    try:
        objects = ElementTree.parse(file).getroot().findall("object")  # noqa: S314, a label file of one's own
        found = [
            (thing.findtext("name", ""), tuple(round(float(thing.findtext(f"bndbox/{c}", ""))) for c in corners))
            for thing in objects
        ]
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f"{file} is no Pascal VOC file: {error}") from error
    # A few published boxes have no width or no height.
    return [(name, (a, b, c, d)) for name, (a, b, c, d) in found if c > a and d > b]


def _boxed(field: LabelledField, box: object, label: str, fold: int) -> Sample:
    x0, y0, x1, y1 = (max(0, round(float(v))) for v in box)  # type: ignore[attr-defined]
    return Sample(field.path, label, field.group, fold, box=(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
