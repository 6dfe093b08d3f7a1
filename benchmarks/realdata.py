"""The real smear images that measurements and tests read, where SICKLESCOPE_DATA has them; none is in the project."""

from __future__ import annotations

import os
import random
from pathlib import Path

from edge.camera.image_files import IMAGE_SUFFIXES

FIELDS = {
    "uganda_scd": ("negative", "positive"),
    "txl_pbc": ("images",),
    "chula_rbc12": ("images",),
    "wbc_four_types": ("Original_Images",),
    "krd_wbc": ("images",),
}
"""Sets of whole fields, and their folders of images."""


def data_folder() -> Path:
    """Return the folder of the data sets, which may not be there."""
    return Path(os.environ.get("SICKLESCOPE_DATA", "../shared/data"))


def some_fields(dataset: str, count: int, seed: int = 0) -> list[Path]:
    """Return so many files of a set, the same ones each time; none where the set is absent."""
    folders = [data_folder() / dataset / folder for folder in FIELDS[dataset]]
    files = sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return random.Random(seed).sample(files, min(count, len(files)))  # noqa: S311 - a sample, not a secret
