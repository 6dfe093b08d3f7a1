"""Readers of sets in which each picture shows one cell. Each takes the set's own folder.

Where an original layout is not at hand here, its reader says where it was looked up.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from training.bench.datasets.labelled_cell import CellSet, Sample
from training.bench.datasets.layout import all_present, class_folders, folders, home, pictures, wrong
from training.bench.datasets.nucleus import white_cell
from training.data.datasets import IDB1_UM_PER_PX, DataError, read_pixels, table

IDB_CLASSES = ("circular", "elongated", "other")
IDB_LICENCE = "CC BY-NC-ND 4.0 as reported"
WBC_TYPES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
WBC_ABSENT = "BloodImage_00116.jpg"
"""Has a label, but no picture in the set as it was handed on."""
WBC_TWINS = {"BloodImage_00038": "BloodImage_00037"}
"""Pictures of a field that was pictured before: they share its group."""


def cell_set(name: str, licence: str, samples: list[Sample]) -> CellSet:
    """Put the cells together, with their classes in the order of the alphabet."""
    return CellSet(name, licence, tuple(sorted({s.label for s in samples})), tuple(samples))


def _mask(cell: Path) -> Path:
    """Return where the mask of a colour crop lies: `mask/circular/c0001.tif` of `color/circular/c0001.jpg`."""
    return cell.parents[2] / "mask" / cell.parent.name / f"{cell.stem}.tif"


def idb1(folder: Path) -> CellSet:
    """Read erythrocytesIDB 1, single cells in colour.

    `cells.csv` with folds and masks, or as it was published.

    Published as `individual cells/circular|elongated|other/*.jpg` (public code that reads it, e.g. "Version 2,
    erythrocytesIDB 2021"), without slides: each cell is a group of its own.
    """
    if (folder / "cells.csv").is_file():
        rows = list(table(folder / "cells.csv", ("path", "label"), ("fold",)))
        samples = [
            Sample(folder / row["path"], row["label"], f"{row['label']}/{Path(row['path']).stem}", int(row["fold"]),
                   IDB1_UM_PER_PX, mask=_mask(folder / row["path"])) for row in rows
        ]  # fmt: skip
        masks = [s.mask for s in samples if s.mask is not None]
        all_present([*(s.path for s in samples), *masks], folder / "cells.csv")
        return cell_set("erythrocytes_idb1", IDB_LICENCE, samples)
    expected = f"cells.csv, or the folders {', '.join(IDB_CLASSES)} below 'individual cells'"
    cells = home(folder, "erythrocytesIDB1", "individual cells")
    found = {p.name: p for p in folders(cells)}
    if not set(IDB_CLASSES) <= set(found):
        raise wrong(cells, expected)
    return cell_set("erythrocytes_idb1", IDB_LICENCE, [
        Sample(path, label, f"{label}/{path.stem}", um_per_px=IDB1_UM_PER_PX)
        for label in IDB_CLASSES for path in pictures(found[label])
    ])  # fmt: skip


def xu2017(folder: Path) -> CellSet:
    """Read the cells of Xu et al. 2017 in eight shape classes.

    The group is the donor, and each donor a fold.

    Without `cells.csv`: a folder for each class, the donor being a name's part before the first `_`, as in
    `JH172_Im110_subImg11.png`, of which turned copies keep it.
    """
    if (folder / "cells.csv").is_file():
        rows = list(table(folder / "cells.csv", ("path", "label", "donor")))
        samples = [Sample(folder / row["path"], row["label"], row["donor"]) for row in rows]
        all_present((s.path for s in samples), folder / "cells.csv")
    else:
        found = class_folders(folder, "cells.csv, or a folder of pictures for each shape class")
        samples = [Sample(path, kind.name, path.stem.partition("_")[0]) for kind in found for path in pictures(kind)]
    donors = sorted({s.group for s in samples})
    return cell_set("sickle_rbc_xu2017", "none stated", [replace(s, fold=donors.index(s.group)) for s in samples])


def wbc(folder: Path) -> CellSet:
    """Read `Original_Images` with `labels.csv`.

    One white cell in most pictures, found by its nucleus.

    The group is the picture. Pictures without a type or with two are left out, and the three basophils, too few to
    be learnt.
    """
    images, labels = folder / "Original_Images", folder / "labels.csv"
    if not images.is_dir() or not labels.is_file():
        raise wrong(folder, "labels.csv and the folder Original_Images")
    samples = []
    for row in table(labels, ("Category",), ("Image",)):
        path = images / f"BloodImage_{int(row['Image']):05d}.jpg"
        types = {word.strip() for word in row["Category"].split(",")}
        if len(types) == 1 and types <= set(WBC_TYPES) and path.name != WBC_ABSENT:
            samples.append(Sample(path, types.pop().lower(), WBC_TWINS.get(path.stem, path.stem)))
    all_present((s.path for s in samples), labels)
    samples = [replace(s, box=white_cell(read_pixels(s.path))) for s in samples]
    return cell_set("wbc_four_types", "MIT as BCCD; none in its repository", samples)


def elsafty(folder: Path) -> CellSet:
    """Read the Elsafty crops, `Cropped images/CLASS/*.jpg`.

    The group is the slide, the first number of a name.

    Layout and names ("slide number, patch number, XYWH"): the set's description, figshare 25599981, as public code
    and notes quote it.
    """
    cells = home(folder, "Elsafty_RBCs_for_Classification", "Cropped images")
    samples = []
    for kind in class_folders(cells, "the folder 'Cropped images' with a folder of pictures for each class"):
        for path in pictures(kind, deep=True):
            slide = re.search(r"\d+", path.stem)
            if slide is None:
                raise DataError(f"{path}: the name of an Elsafty crop begins with the number of its slide")
            samples.append(Sample(path, kind.name, f"slide {int(slide[0])}"))
    return cell_set("elsafty", "see figshare 25599981", samples)


def own(folder: Path) -> CellSet:
    """Read anyone's own cells: a folder for each class.

    The group is the folder below that of the class, or else the picture's name without its last number:
    `sickle/slide7/1.png` and `sickle/slide7_001.png` both belong to `slide7`. Groups run across classes.
    """
    samples = []
    for kind in class_folders(folder, "a folder of pictures for each class"):
        for path in pictures(kind, deep=True):
            below = path.relative_to(kind).parts
            stem = re.sub(r"[\s_.(-]*\d+\)?$", "", path.stem) or path.stem
            samples.append(Sample(path, kind.name, below[0] if len(below) > 1 else stem))
    return cell_set(folder.resolve().name, "your own", samples)
