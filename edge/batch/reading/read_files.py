"""Files to results, one field after the other, with one pipeline."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edge.batch.annotate import Gallery, annotated, jpeg
from edge.batch.field_result import FieldResult, encoded
from edge.batch.reading.journal import FieldLog, Journal, Unit
from edge.batch.records import printable
from edge.camera.base import RejectedInputError
from edge.camera.decode.field import DecodedField, unreadable
from edge.camera.decode.reader import read_pictures
from edge.camera.decode.video import Video
from edge.camera.frames import frame_of
from edge.camera.image_files import is_video
from edge.camera.stored_file import StoreError, local_copy
from edge.errors import CameraError, ModelError
from edge.pipeline import Pipeline
from edge.types import FieldReading, Pixels, Reason, Rejection, unread

AfterField = Callable[[str, bool], None]
"""Called after each field with its name and False, and after the last one of a file with the file's name and True."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read.

    Attributes:
        cells: each image is a crop of one cell.
        annotate: draw each field.
    """

    cells: bool = False
    annotate: bool = False


NetworkId = tuple[str, str]
"""Digest of a network's file, and the backend that runs it, in words: what numbers hang on."""


def networks_of(pipeline: Pipeline) -> tuple[NetworkId, ...]:
    """Return by which networks a pipeline reads."""
    return tuple((network.sha256, network.runtime) for network in (pipeline.detector, pipeline.classifier))


def refuse_other_networks(expected: tuple[NetworkId, ...], found: tuple[NetworkId, ...]) -> None:
    """Raise ModelError where a process has other networks than the scan.

    Its counts would be others.
    """
    if found != expected:
        raise ModelError(
            f"computer {platform.node()} has other networks than this scan: {_words(found)} there, {_words(expected)} "
            "here. Install the same version of sicklescope, its packages and the same models on both"
        )


def _words(networks: tuple[NetworkId, ...]) -> str:
    return " and ".join(f"{sha256[:12]} by {runtime}" for sha256, runtime in networks)


class Reader(Protocol):
    """Reads units of one sample into a journal."""

    def read(self, units: Iterable[Unit], journal: Journal, after: AfterField, stopped: Callable[[], bool]) -> None:
        """Read the units, in any order, until the last.

        It ends after the field at hand once `stopped` says so.
        """
        ...


class FileReader:
    """Reads the files of a unit with one pipeline."""

    def __init__(self, pipeline: Pipeline, options: ReadOptions) -> None:
        self._pipeline, self._options = pipeline, options
        self._gallery, self._lost = Gallery(), False

    def new_sample(self) -> None:
        """Begin another sample: its most sickle-like cells are its own."""
        self._gallery = Gallery()

    def read(self, unit: Unit) -> Iterator[FieldResult | None]:
        """Give the fields of a unit, and None after the last one of each file.

        There is no None after a file that its store did not give: it may be read another time.
        """
        self._pipeline.new_sample(each_cell_once=unit.each_cell_once)
        number = 0
        for path in unit.files:
            self._lost = False
            with closing(self._readings(path, number)) as readings:
                for reading, pixels, cause in readings:
                    number += 1
                    yield self._result(unit, reading, pixels, cause)
            if not self._lost:
                yield None

    def _result(self, unit: Unit, reading: FieldReading, pixels: Pixels | None, cause: str | None) -> FieldResult:
        if pixels is None:
            return FieldResult(reading, cause, readable=False)
        # A copy's cells may not count, and must not keep others out of the gallery.
        gallery = Gallery() if unit.copies else self._gallery
        drawn = jpeg(annotated(pixels, reading)) if self._options.annotate else None
        return FieldResult(reading, cause, True, tuple(gallery.offer(pixels, reading)), drawn)

    def _readings(
        self, path: Path, number: int
    ) -> Generator[tuple[FieldReading, Pixels | None, str | None], None, None]:
        """Give the readings of one file, each with its pixels and, where it could not be read, the cause in words."""
        read = self._pipeline.read_crop if self._options.cells else self._pipeline.read
        try:
            for found in frames(path, self._pipeline.config.quality.megapixels_max):
                yield read(frame_of(replace(found, name=printable(found.name)), number)), found.pixels, None
                number += 1
        except RejectedInputError as error:
            self._lost = isinstance(error.__cause__, StoreError)
            yield unread(printable(error.name), number, error.rejection), None, _cause(error, error.name)
        except CameraError as error:
            # The video broke: what it gave so far has been read, and the rest is one field that could not be.
            yield unread_file(path, number), None, _cause(error, str(path))


class SerialReader:
    """Reads with one pipeline in this process."""

    def __init__(self, pipeline: Pipeline, options: ReadOptions) -> None:
        self._reader = FileReader(pipeline, options)

    def read(self, units: Iterable[Unit], journal: Journal, after: AfterField, stopped: Callable[[], bool]) -> None:
        """Read the units in their order; see `Reader`."""
        self._reader.new_sample()
        for unit in units:
            journal.begin(unit)
            for result in self._reader.read(unit):
                note(journal, unit, None if result is None else encoded(result))
                after(str(unit.files[0]) if result is None else result.reading.name, result is None)
                if stopped() and (result is None or stops_within(unit)):
                    return


def note(journal: FieldLog, unit: Unit, result: bytes | None) -> None:
    """Note a field of a unit, or with None the end of one of its files."""
    if result is None:
        journal.file_done(unit)
    else:
        journal.add(unit, result)


def stops_within(unit: Unit) -> bool:
    """Whether reading may stop after any field of a unit.

    A picture is read to its end, a video takes too long.
    """
    return is_video(unit.files[0])


def unread_file(path: Path, number: int) -> FieldReading:
    """Return the reading of what of a file could not be read."""
    return unread(printable(str(path)), number, Rejection(Reason.UNREADABLE, 0.0, 1.0))


def frames(path: Path, megapixels_max: float) -> Iterator[DecodedField]:
    """Give each field of a picture file, or each frame of a video."""
    if not is_video(path):
        yield from read_pictures(path, megapixels_max)
        return
    with ExitStack() as open_:
        try:
            copy = open_.enter_context(local_copy(path))
        except OSError as error:
            raise unreadable(path, error.strerror or str(error)) from error
        video = open_.enter_context(closing(Video(copy, megapixels_max, path)))
        while (found := video.read()) is not None:
            yield found


def _cause(error: Exception, name: str) -> str:
    """Return what an error says of a file, without its name, which stands beside it."""
    return printable(str(error).removeprefix(f"{name} ").removeprefix("cannot be read: "))
