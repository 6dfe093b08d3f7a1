"""Which of the files that a scan is given it reads, and why the others are left out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2

from edge.batch.duplicates import same_bytes, same_picture
from edge.batch.result_files import drawn_by_a_scan, is_a_result
from edge.camera.decode.library_messages import library_messages
from edge.camera.image_files import is_video
from edge.camera.input_files import InputFiles, LeftOut, Leftover, search
from edge.camera.listing.file_list import natural_order
from edge.camera.stored_file import local_copy
from edge.errors import InputError
from edge.system.progress_bars import ReportProgress, quiet

LIVE_PHOTO_SECONDS = 5.0
"""Longest film that a phone keeps beside a still picture; a film of the same name that is longer is read."""


def find_files(paths: Iterable[Path | str]) -> InputFiles:
    """Return the files that the paths name, without what earlier scans drew.

    It would be read as new fields.

    Raises:
        InputError: A path is not there, or nothing is left to read.
    """
    found = search(paths)
    drawn_in = lru_cache(drawn_by_a_scan)

    def drawn(path: Path) -> bool:
        return drawn_in(path.parent)

    gone = [*found.files.remove(drawn), *(one.path for one in found.left_out if drawn(one.path))]
    if not len(found.files):
        raise InputError(
            f"there are only pictures that an earlier scan drew, such as {min(gone)}. Give the images it read"
        )
    left_out = [one for one in found.left_out if not drawn(one.path) and not is_a_result(one.path)]
    return InputFiles(found.files, [*left_out, *(LeftOut(path, Leftover.DRAWN_BY_A_SCAN) for path in sorted(gone))])


@dataclass(frozen=True, slots=True)
class ScanFiles:
    """The files of one sample.

    Attributes:
        files: to be read, in this order; copies follow the picture whose copies they are.
        left_out: not to be read.
        copies: of files, those that show what another one does, each with that one. The first of them that can be read
            counts.
    """

    files: Collection[Path]
    left_out: list[LeftOut]
    copies: dict[Path, Path]


def copies_apart(
    found: InputFiles, megapixels_max: float, *, by_picture: bool, report: ReportProgress = quiet
) -> ScanFiles:
    """Leave out what is there twice byte by byte, and find the pictures that show the same.

    So that no cell counts twice.

    Args:
        found: the files of the sample.
        megapixels_max: pictures above it are not compared.
        by_picture: compare what pictures show too, not their bytes alone.
        report: told of the progress.
    """
    files, left_out = list(found.files), list(found.left_out)
    for leftovers in (_live_photos, same_bytes):
        more = leftovers(files)
        gone = {one.path for one in more}
        files = [path for path in files if path not in gone]
        left_out += more
    copies = same_picture(files, megapixels_max, report) if by_picture else {}
    return ScanFiles(_beside_their_first(files, copies), left_out, copies)


def _beside_their_first(files: list[Path], copies: dict[Path, Path]) -> list[Path]:
    """Return the files with the copies of a picture behind it, where the first of them stood."""
    groups: dict[Path, list[Path]] = {}
    for path in files:
        groups.setdefault(copies.get(path, path), []).append(path)
    return [
        path for first, group in groups.items() for path in (first, *sorted(set(group) - {first}, key=natural_order))
    ]


def _live_photos(files: list[Path]) -> list[LeftOut]:
    """Return the short films that a phone keeps beside still pictures of the same name."""
    stills = {path.with_suffix("").as_posix().lower(): path for path in files if not is_video(path)}
    return [
        LeftOut(path, Leftover.LIVE_PHOTO, still)
        for path in files
        if is_video(path)
        and (still := stills.get(path.with_suffix("").as_posix().lower()))
        and _seconds(path) <= LIVE_PHOTO_SECONDS
    ]


def _seconds(path: Path) -> float:
    """Return how long a video says it lasts; 0 when it cannot be opened."""
    try:
        with library_messages(), local_copy(path) as copy:
            capture = cv2.VideoCapture(str(copy))
            rate = capture.get(cv2.CAP_PROP_FPS)
            frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            capture.release()
    except OSError:
        return math.inf  # The reader meets the same file later, and its line says what is wrong with it.
    return frames / rate if rate > 0 else 0.0
