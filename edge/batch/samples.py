"""Which files make one sample: all that a scan is given, or those of each folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.batch.duplicates import CountedOnce
from edge.batch.inputs import ScanFiles, copies_apart, find_files
from edge.batch.reading.journal import Unit, unit_key, unit_of
from edge.batch.records import printable
from edge.camera.image_files import is_video
from edge.camera.input_files import InputFiles, LeftOut
from edge.camera.listing.file_list import FileList
from edge.camera.stored_file import StoredFile
from edge.system.progress_bars import ReportProgress

NAMES_SHOWN = 3
"""Names of inputs that a report's title holds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Files that give one result.

    Attributes:
        folder: where its results lie below the folder of all results; empty for the only sample.
        name: of what is scanned, for people.
        files: to be read, and left out.
        units: the files as they are read.
    """

    folder: Path
    name: str
    files: ScanFiles
    units: Collection[Unit]

    def counted_once(self) -> CountedOnce:
        """Return what marks the readings of copies."""
        return CountedOnce(self.files.copies)


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What files of a sample are to each other.

    Attributes:
        by_folder: the files of each folder are a sample.
        one_sample: the pictures of a sample may overlap, and each cell counts once.
        keep_duplicates: copies of a picture count as often as they are there.
        compare: by what pictures show, not by their bytes alone.
        megapixels_max: larger pictures are not compared.
    """

    by_folder: bool
    one_sample: bool
    keep_duplicates: bool
    compare: bool
    megapixels_max: float


def find_samples(paths: Iterable[Path | str], options: SampleOptions, report: ReportProgress) -> list[Sample]:
    """Return the samples that the paths name.

    Raises:
        InputError: A path is not there, or nothing is left to read.
    """
    paths = list(paths)
    found = find_files(paths)
    if not options.by_folder:
        return [_sample(Path(), _named(paths), found, options, report)]
    return [
        _sample(folder, printable(folder.as_posix()), files, options, report)
        for folder, files in _by_folder(found).items()
    ]


def _named(paths: Sequence[Path | str]) -> str:
    """Return what is scanned as a name for people: the last parts of the paths that were given."""
    names = [printable(Path(path).name or str(Path(path).resolve().name)) for path in paths]
    more = "" if len(names) <= NAMES_SHOWN else f" and {len(names) - NAMES_SHOWN} more"
    return ", ".join(names[:NAMES_SHOWN]) + more


class _UnitOfEach(Collection[Unit]):
    """Each file of a list as a unit, made when it is asked for: the list is on the disk."""

    def __init__(self, files: FileList) -> None:
        self._files = files

    def __iter__(self) -> Iterator[Unit]:
        for path, size, changed_ns in self._files.identified():
            yield Unit((path,), unit_key([(path, size, changed_ns)]), is_video(path), copies=False)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, unit: object) -> bool:
        return isinstance(unit, Unit) and unit.files[0] in self._files


def _sample(folder: Path, name: str, found: InputFiles, options: SampleOptions, report: ReportProgress) -> Sample:
    if options.keep_duplicates:
        files = ScanFiles(found.files, found.left_out, {})
    else:
        files = copies_apart(found, options.megapixels_max, by_picture=options.compare, report=report)
    units: Collection[Unit]
    if options.one_sample:
        units = [unit_of(files.files, each_cell_once=True)]
    elif options.keep_duplicates:
        units = _UnitOfEach(found.files)
    else:
        alike = {*files.copies, *files.copies.values()}
        units = [unit_of([path], each_cell_once=is_video(path), copies=path in alike) for path in files.files]
    return Sample(folder, name, files, units)


def _by_folder(found: InputFiles) -> dict[Path, InputFiles]:
    """Return the files of each folder, which is named as it lies below the folder of all.

    A file that is left out belongs to the folder that is nearest to it.
    """
    members = found.files.parted(_place)
    above = Path(os.path.commonpath(members))
    if above in members:
        above = above.parent
    left_out: dict[Path, list[LeftOut]] = {folder: [] for folder in members}
    for one in found.left_out:
        at = _place(one.path)
        left_out[max(members, key=lambda folder: len(os.path.commonpath([folder, at])))].append(one)
    return {folder.relative_to(above): InputFiles(files, left_out[folder]) for folder, files in members.items()}


def _place(path: Path) -> Path:
    """Return where a file lies below the root of all; links stay, and a store is a folder of its scheme's name."""
    if isinstance(path, StoredFile):
        return Path("/", *path.parts)
    return Path(os.path.abspath(path))  # noqa: PTH100
