"""Every data set that the bench can read, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from training.bench.datasets import crop_sets, field_sets
from training.bench.datasets.idb_fields import idb_fields
from training.bench.datasets.labelled_cell import CellSet
from training.data.datasets import DataError, data_root

FOLDER = "folder"
READERS: dict[str, Callable[[Path], CellSet]] = {
    "erythrocytes_idb1": crop_sets.idb1,
    "erythrocytes_idb2": partial(idb_fields, "erythrocytes_idb2"),
    "erythrocytes_idb3": partial(idb_fields, "erythrocytes_idb3"),
    "uganda_scd": field_sets.uganda,
    "uganda_scd_cells": field_sets.uganda_cells,
    "chula_rbc12": field_sets.chula,
    "txl_pbc": field_sets.txl,
    "bccd": field_sets.bccd,
    "wbc_four_types": crop_sets.wbc,
    "sickle_rbc_xu2017": crop_sets.xu2017,
    "elsafty": crop_sets.elsafty,
    FOLDER: crop_sets.own,
}


def read(name: str, root: Path) -> CellSet:
    """Read the set `name` from its own folder, or from the folder of sets that `root` is.

    Raises DataError for a name that is not in READERS, a folder that holds something else, and labels that do not fit.
    """
    if name not in READERS:
        raise DataError(f"no reader for a data set {name!r}; there are: {', '.join(READERS)}")
    if not root.is_dir():
        raise DataError(f"{root} is no folder; looked there for the data set {name}")
    inner = root / name.removesuffix("_cells")
    cells = READERS[name](inner if inner.is_dir() and name != FOLDER else root)
    if not cells.samples:
        raise DataError(f"{root} was read as {name}, and holds no labelled cells")
    return cells


def find(what: str, layout: str | None = None) -> CellSet:
    """Read a set by its name, or a directory in the layout of a named set.

    Named sets lie in SICKLESCOPE_DATA; a directory's layout is FOLDER unless given.
    """
    if what in READERS and what != FOLDER and layout is None:
        return read(what, data_root())
    if not Path(what).is_dir():
        raise DataError(f"{what} is neither a folder nor one of the sets {', '.join(READERS)}")
    return read(layout or FOLDER, Path(what))
