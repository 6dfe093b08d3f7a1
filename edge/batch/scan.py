"""`sicklescope scan`: images, folders and videos in; fields.jsonl, cells.csv, summary.json and report.html out.

Every image is a sample of its own: under `auto` its scale is estimated by itself, since a folder may hold pictures of
many microscopes, and its cells count whatever other images show. The frames of one video share a slide and a
microscope: the scale is estimated once and locked, and each cell counts once. `one_sample` says the same of all the
images.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pydantic import ValidationError

from edge.batch.duplicates import CountedOnce
from edge.batch.inputs import ScanFiles, copies_apart, find_files
from edge.batch.records import MaskedRecord, ModelRecord, Summary, VerdictRecord, left_out_records, printable
from edge.batch.result_files import ResultFiles, refuse_others_files
from edge.camera.base import RejectedInputError
from edge.camera.decode.field import DecodedField
from edge.camera.decode.reader import read_pictures
from edge.camera.decode.video import Video
from edge.camera.frames import frame_of
from edge.camera.image_files import is_video
from edge.camera.input_files import Leftover
from edge.config.model import Config, OpticsConfig
from edge.errors import CameraError, ConfigError, InputError
from edge.pipeline import Pipeline
from edge.runtime.base import Network
from edge.screening.accumulator import Accumulator
from edge.screening.verdict import RESEARCH_USE, VerdictRules
from edge.system.atomic_files import aside
from edge.types import FieldReading, Pixels, Reason, Rejection, unread

NAMES_SHOWN = 3
"""Names of inputs that a report's title holds."""

Progress = Callable[[int, int, str], None]
"""Called after each field with how many inputs are done, how many there are, and the name of the field."""


def scan(
    paths: Iterable[Path | str],
    out_dir: Path,
    config: Config,
    *,
    cells: bool = False,
    annotate: bool = False,
    keep_border: bool = False,
    no_quality_gate: bool = False,
    one_sample: bool = False,
    keep_duplicates: bool = False,
    um_per_px: float | Literal["auto"] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Read everything that `paths` name and write the results below `out_dir`.

    Return what summary.json holds.

    cells: each image is a crop of one cell. annotate: draw each field. one_sample: all images are of one slide and
    come
    from one microscope: they may overlap, and each cell counts once, as in a video; not with `cells`. The others,
    where
    given, stand above the configuration. An image that cannot be read is a rejected field, and the scan goes on.

    The first Ctrl-C ends the scan after the field at hand: its results are whole and say `complete: false`. A second
    one, or an error, leaves `out_dir` as it was. Raises InputError when there is nothing to read, when nothing could
    be read (the files then say why), or when `out_dir` holds files of others that would be overwritten; StorageError
    when the results cannot be written; ModelError when a network cannot be loaded.
    """
    if cells and one_sample:
        raise ConfigError("cells and one_sample exclude each other: a picture of one cell has no place on a slide")
    paths = list(paths)
    config = _effective(config, keep_border, no_quality_gate, um_per_px)
    found = find_files(paths)
    refuse_others_files(out_dir)
    sample = (
        ScanFiles(found.files, found.left_out, {})
        if keep_duplicates
        else copies_apart(found, config.quality.megapixels_max, by_picture=not (cells or one_sample))
    )
    inputs, left_out = sample.files, left_out_records(sample.left_out)
    begun_at, begun_s = datetime.now(timezone.utc), time.monotonic()
    with Pipeline(config) as pipeline, aside(out_dir) as unfinished, _ctrl_c_asks() as stop:
        with ResultFiles(unfinished, out_dir, annotate, _accumulator(pipeline)) as files:
            done = _read_all(pipeline, sample, cells, one_sample, files, stop, progress)
        summary = Summary(
            schema_version=1,
            sicklescope=version("sicklescope"),
            research_use=RESEARCH_USE,
            complete=done == len(inputs),
            name=_named(paths),
            site=config.device.site,
            device=config.device.device,
            started_at=begun_at.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - begun_s, 3),
            inputs=len(inputs),
            inputs_done=done,
            left_out={reason.value: sum(one.reason is reason for one in left_out) for reason in Leftover},
            left_out_files=left_out,
            **_counted(files.accumulator),
            scale=files.scale(),
            models={"detector": _model(pipeline.detector), "classifier": _model(pipeline.classifier)},
            settings={
                "reading": "one cell an image" if cells else "fields of one sample" if one_sample else "fields",
                **{name: getattr(config, name).model_dump(mode="json") for name in ("optics", "quality", "screening")},
            },
        )
        files.publish(summary)
    if done and not files.readable:
        raise InputError(
            f"none of the {done} files could be read; {out_dir / 'fields.jsonl'} says why for each. "
            "Give images that open in other programs"
        )
    return summary


def _named(paths: Sequence[Path | str]) -> str:
    """Return what is scanned as a name for people: the last parts of the paths that were given."""
    names = [printable(Path(path).name or str(Path(path).resolve().name)) for path in paths]
    more = "" if len(names) <= NAMES_SHOWN else f" and {len(names) - NAMES_SHOWN} more"
    return ", ".join(names[:NAMES_SHOWN]) + more


def _effective(
    config: Config, keep_border: bool, no_quality_gate: bool, um_per_px: float | Literal["auto"] | None
) -> Config:
    """Return the configuration with what was asked for this scan in its place."""
    changes: dict[str, Any] = {}
    if keep_border:
        changes["screening"] = config.screening.model_copy(update={"keep_border": True})
    if no_quality_gate:
        changes["quality"] = config.quality.model_copy(update={"gate": False})
    if um_per_px is not None:
        try:
            given = OpticsConfig(um_per_px=um_per_px).um_per_px
        except ValidationError as error:
            raise ConfigError(
                f"um_per_px is {um_per_px}; expected 'auto' or micrometres per pixel between 0.02 and 2"
            ) from error
        changes["optics"] = config.optics.model_copy(update={"um_per_px": given})
    return config.model_copy(update=changes)


def _read_all(
    pipeline: Pipeline,
    sample: ScanFiles,
    cells: bool,
    one_sample: bool,
    files: ResultFiles,
    stop: threading.Event,
    progress: Progress | None,
) -> int:
    """Read the inputs until the last, or until asked to stop; return how many were read to their end."""
    inputs, once = sample.files, CountedOnce(sample.copies)
    pipeline.new_sample(each_cell_once=one_sample)
    for done, path in enumerate(inputs):
        if not one_sample:
            pipeline.new_sample(each_cell_once=is_video(path))
        with closing(_readings(pipeline, path, cells, files)) as readings:
            for reading, pixels, cause in readings:
                files.add(once(path, reading), pixels, cause)
                if progress is not None:
                    progress(done, len(inputs), reading.name)
                if stop.is_set() and is_video(path):
                    return done
        if progress is not None:
            progress(done + 1, len(inputs), str(path))
        if stop.is_set():
            return done + 1
    return len(inputs)


def _readings(
    pipeline: Pipeline, path: Path, cells: bool, files: ResultFiles
) -> Generator[tuple[FieldReading, Pixels | None, str | None], None, None]:
    """Give the readings of one file, each with its pixels and, where it could not be read, the cause in words."""
    try:
        for found in _frames(path, pipeline.config.quality.megapixels_max):
            frame = frame_of(replace(found, name=printable(found.name)), files.fields)
            yield (pipeline.read_crop(frame) if cells else pipeline.read(frame)), found.pixels, None
    except RejectedInputError as error:
        yield unread(printable(error.name), files.fields, error.rejection), None, _cause(error, error.name)
    except CameraError as error:
        # The video broke: what it gave so far has been read, and the rest is one field that could not be.
        yield (
            unread(printable(str(path)), files.fields, Rejection(Reason.UNREADABLE, 0.0, 1.0)),
            None,
            _cause(error, str(path)),
        )


def _cause(error: Exception, name: str) -> str:
    """Return what an error says of a file, without its name, which stands beside it."""
    return printable(str(error).removeprefix(f"{name} ").removeprefix("cannot be read: "))


def _frames(path: Path, megapixels_max: float) -> Iterator[DecodedField]:
    """Give each field of a picture file, or each frame of a video."""
    if not is_video(path):
        yield from read_pictures(path, megapixels_max)
        return
    with closing(Video(path, megapixels_max)) as video:
        while (found := video.read()) is not None:
            yield found


@contextmanager
def _ctrl_c_asks() -> Iterator[threading.Event]:
    """Make the first Ctrl-C set the event; the second interrupts as ever. Does nothing outside the main thread."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _accumulator(pipeline: Pipeline) -> Accumulator:
    screening, limit_of_blank = pipeline.config.screening, pipeline.classifier.contract.limit_of_blank
    return Accumulator(VerdictRules(screening.min_red_cells, screening.target_red_cells, limit_of_blank))


def _counted(accumulator: Accumulator) -> dict[str, Any]:
    """Return the keys of `Summary` that come from the counts."""
    counts, verdict, masked = accumulator.counts(), accumulator.verdict(), accumulator.masked
    return {
        **asdict(counts),
        "red_cells": counts.red_cells,
        "verdict": VerdictRecord(**asdict(verdict)),
        "masked": MaskedRecord(share=masked.share, where=masked.where) if masked else None,
    }


def _model(network: Network) -> ModelRecord:
    contract = network.contract
    return ModelRecord(
        name=contract.name,
        version=contract.version,
        sha256=network.sha256,
        runtime=network.runtime,
        thresholds=contract.thresholds,
        temperature=contract.temperature,
        log_odds=contract.log_odds,
        training_data=list(contract.training_data),
    )
