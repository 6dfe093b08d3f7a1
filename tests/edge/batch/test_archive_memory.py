"""What a scan knows of its files lies on the disk: an archive of millions takes the memory of a folder."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from edge.batch.reading.journal import Journal
from edge.batch.samples import SampleOptions, find_samples
from edge.system.progress_bars import quiet

FILES_A_FOLDER = 100
BYTES_A_FILE = 120
"""A record in memory takes 500 or more; what a folder has at one time is spread over all files here."""


def peak_bytes(folder: Path, files: int) -> int:
    """Return what listing so many files, and noting that each was read, takes at its highest."""
    (folder / "picture.png").write_bytes(b"no picture")
    for number in range(files):
        slide = folder / "slides" / f"slide{number // FILES_A_FOLDER}"
        slide.mkdir(parents=True, exist_ok=True)
        (slide / f"{number}.png").hardlink_to(folder / "picture.png")
    tracemalloc.start()
    options = SampleOptions(
        by_folder=False, one_sample=False, keep_duplicates=True, compare=False, megapixels_max=64
    )  # fmt: skip
    (sample,) = find_samples([folder / "slides"], options, quiet)
    with Journal(folder / "out", {}, resume=False) as journal:
        for unit in journal.missing(sample.units):
            journal.begin(unit)
            journal.add(unit, b"{}")
            journal.file_done(unit)
        assert not list(journal.missing(sample.units))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_the_memory_of_a_scan_does_not_grow_with_its_files(tmp_path: Path) -> None:
    few, many = 100, 1000
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
    peak_bytes(tmp_path / "few", few)  # what is made once
    (tmp_path / "again").mkdir()
    grown = peak_bytes(tmp_path / "many", many) - peak_bytes(tmp_path / "again", few)
    assert grown / (many - few) < BYTES_A_FILE
