"""`sicklescope scan`: images, folders and videos in; fields.jsonl, cells.csv, summary.json and report.html out.

Every image is a sample of its own: under `auto` its scale is estimated by itself, since a folder may hold pictures of
many microscopes, and its cells count whatever other images show. The frames of one video share a slide and a
microscope: the scale is estimated once and locked, and each cell counts once. `one_sample` says the same of all the
images. What is read goes into the journal, and the results are made from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge.batch.options import ScanOptions, effective, sections
from edge.batch.parquet import pyarrow_modules
from edge.batch.reading.engine import Engine
from edge.batch.reading.journal import Journal, Unit
from edge.batch.reading.ray_actor import HowRead
from edge.batch.reading.ray_reader import RayReader
from edge.batch.reading.read_files import Reader, ReadOptions, SerialReader, networks_of
from edge.batch.reading.workers import WorkerPool, cores, process_count
from edge.batch.records import MaskedRecord, ModelRecord, Summary, VerdictRecord, left_out_records
from edge.batch.result_files import ResultFiles, refuse_others_files
from edge.batch.samples import Sample, SampleOptions, find_samples
from edge.batch.samples_table import refuse_others_table, write_table
from edge.batch.stopping import asked_to_stop
from edge.camera.input_files import Leftover
from edge.config.model import Config
from edge.errors import ConfigError, InputError
from edge.language.languages import language
from edge.pipeline import Pipeline
from edge.runtime.base import Network
from edge.screening.accumulator import Accumulator
from edge.screening.verdict import RESEARCH_USE, VerdictRules
from edge.system.atomic_files import aside, remove_unfinished
from edge.system.progress_bars import ReportProgress, quiet


@dataclass(frozen=True, slots=True)
class SampleResult:
    """The result of one sample: where it lies, and what summary.json holds."""

    out_dir: Path
    summary: Summary


@dataclass(frozen=True, slots=True)
class ScanResults:
    """The results of the samples that were read, and whether all were read to their end."""

    samples: list[SampleResult]
    complete: bool


def scan(
    paths: Iterable[Path | str], out_dir: Path, config: Config, *, report: ReportProgress = quiet, **asked: Any
) -> Summary:
    """Read everything that `paths` name as one sample and write the results below `out_dir`.

    An image that cannot be read is a rejected field, and the scan goes on. The first Ctrl-C or SIGTERM ends the scan
    after the field at hand: its results are whole and say `complete: false`. A second one, or an error, leaves
    `out_dir` as it was.

    Args:
        paths: files, folders and patterns.
        out_dir: where the results go.
        config: of networks, quality and screening.
        report: told of the progress.
        asked: fields of `ScanOptions`.

    Returns:
        What summary.json holds.

    Raises:
        InputError: There is nothing to read, nothing could be read (the files then say why), or `out_dir` holds files
            of others that would be overwritten.
        ConfigError: Options exclude each other, or a resumed scan was made with others.
        StorageError: The results cannot be written.
        ModelError: A network cannot be loaded.
    """
    return _scanned(paths, out_dir, config, ScanOptions(**asked), False, report).samples[0].summary


def scan_folders(
    paths: Iterable[Path | str], out_dir: Path, config: Config, *, report: ReportProgress = quiet, **asked: Any
) -> ScanResults:
    """Read what `paths` name, each folder as a sample; write its results below `out_dir`.

    The results of a folder are written when it is done, and a table of all at the end. All else is as in `scan`.
    """
    refuse_others_table(out_dir)
    results = _scanned(paths, out_dir, config, ScanOptions(**asked), True, report)
    write_table(out_dir, [(one.out_dir.relative_to(out_dir), one.summary) for one in results.samples])
    return results


def _scanned(
    paths: Iterable[Path | str], out_dir: Path, config: Config, asked: ScanOptions, by_folder: bool,
    report: ReportProgress,
) -> ScanResults:  # fmt: skip
    config = effective(config, asked)
    if asked.parquet:
        pyarrow_modules()  # Missing, it is told now and not when all is read.
    with asked_to_stop() as stop:
        samples = find_samples(
            paths,
            SampleOptions(
                by_folder, asked.one_sample, asked.keep_duplicates, not (asked.cells or asked.one_sample),
                config.quality.megapixels_max,
            ),
            report,
        )  # fmt: skip
        for sample in samples:
            refuse_others_files(out_dir / sample.folder)
        results = _Scan(out_dir, config, asked, samples, report, stop).run(by_folder)
    done = sum(one.summary.inputs_done for one in results.samples)
    ended = all(one.summary.complete for one in results.samples)  # one that was stopped says nothing of the rest
    if done and ended and not any(_any_read(one.summary) for one in results.samples):
        raise InputError(
            f"none of the {done} files could be read; {results.samples[0].out_dir / 'fields.jsonl'} says why for each. "
            "Give images that open in other programs"
        )
    return results


def _any_read(summary: Summary) -> bool:
    unreadable = summary.rejected["unreadable"] + summary.rejected["too_large"]
    return summary.fields_read + sum(summary.rejected.values()) > unreadable


class _Scan:
    """One run: reads what its journal lacks, and writes the results of each sample from there."""

    def __init__(
        self, out_dir: Path, config: Config, asked: ScanOptions, samples: list[Sample], report: ReportProgress,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        self._out_dir, self._config, self._asked, self._report, self._stop = out_dir, config, asked, report, stop
        self._samples = samples
        self._total = sum(len(sample.files.files) for sample in samples)
        self._options = ReadOptions(asked.cells, asked.annotate)
        if asked.engine is Engine.LOCAL:
            self._processes = process_count(asked.processes, max(len(sample.units) for sample in samples), cores())

    def run(self, by_folder: bool) -> ScanResults:
        """Read all samples, or until asked to stop."""
        with ExitStack() as open_, Pipeline(self._config) as pipeline:
            models = {"detector": _model(pipeline.detector), "classifier": _model(pipeline.classifier)}
            rules = VerdictRules(
                self._config.screening.min_red_cells,
                self._config.screening.target_red_cells,
                pipeline.classifier.contract.limit_of_blank,
                novelty_max=pipeline.classifier.contract.thresholds.get("novelty_field"),
            )
            journal = open_.enter_context(Journal(self._out_dir, self._settings(models, by_folder), self._asked.resume))
            self._done = self._total - sum(len(unit.files) for _, unit in self._missing(journal))
            reader = self._reader(pipeline, journal, open_)
            results: list[SampleResult] = []
            for sample in self._samples:
                results.append(self._sample(sample, reader, journal, models, rules))
                if self._stop.is_set():
                    break
            complete = len(results) == len(self._samples) and all(one.summary.complete for one in results)
            if not complete:
                journal.keep()
            return ScanResults(results, complete)

    def _missing(self, journal: Journal) -> Iterator[tuple[int, Unit]]:
        """Give each unit that is still to be read, with the number of its sample."""
        return ((number, unit) for number, one in enumerate(self._samples) for unit in journal.missing(one.units))

    def _reader(self, pipeline: Pipeline, journal: Journal, open_: ExitStack) -> Reader:
        on_cpu = "on the CPU" in pipeline.detector.runtime
        if self._asked.engine is Engine.RAY:
            if not on_cpu:
                raise ConfigError(
                    f"engine ray reads on the CPUs of many computers; the networks run by {pipeline.detector.runtime}. "
                    "Set models.runtime, or leave --engine out"
                )
            how = HowRead(self._config, self._options, networks_of(pipeline))
            missing = self._missing(journal)
            return open_.enter_context(RayReader(self._asked.address, self._asked.processes, how, missing))
        # A GPU is shared by nothing: what runs on it is read by this process.
        if self._processes == 1 or not on_cpu:
            return SerialReader(pipeline, self._options)
        return open_.enter_context(WorkerPool(self._processes, self._config, self._options, networks_of(pipeline)))

    def _sample(
        self, sample: Sample, reader: Reader, journal: Journal, models: dict[str, ModelRecord], rules: VerdictRules
    ) -> SampleResult:
        begun_at, begun_s = datetime.now(timezone.utc), time.monotonic()
        missing = journal.missing(sample.units)
        files = len(sample.files.files)

        def after(name: str, file_done: bool) -> None:
            self._done += file_done
            self._report(f"reading, {Path(name).name}", self._done, self._total)

        reader.read(missing, journal, after, self._stop.is_set)
        out_dir = self._out_dir / sample.folder
        if journal.resumed:
            remove_unfinished(out_dir)
        with aside(out_dir) as unfinished:
            with ResultFiles(
                unfinished, out_dir, Accumulator(rules), annotate=self._asked.annotate, parquet=self._asked.parquet
            ) as written:
                done = _write(sample, journal, written, self._stop.is_set())
            summary = Summary(
                schema_version=1,
                sicklescope=version("sicklescope"),
                research_use=RESEARCH_USE,
                complete=done == files,
                name=sample.name,
                site=self._config.device.site,
                device=self._config.device.device,
                started_at=begun_at.isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - begun_s, 3),
                inputs=files,
                inputs_done=done,
                **_left_out(sample),
                **_counted(written.accumulator),
                scale=written.scale(),
                models=models,
                settings={"reading": self._asked.reading(), **sections(self._config)},
            )
            written.publish(summary, language(self._asked.language))
        return SampleResult(out_dir, summary)

    def _settings(self, models: dict[str, ModelRecord], by_folder: bool) -> dict[str, Any]:
        """Return what the readings of a journal depend on, each with the name that a person knows it by."""
        return {
            "version": version("sicklescope"),
            "model": {name: [model.sha256, model.runtime] for name, model in models.items()},
            "--sample-per": by_folder,
            "--cells or --one-sample": self._asked.reading(),
            "--annotate": self._asked.annotate,
            "configuration": sections(self._config),
        }


def _write(sample: Sample, journal: Journal, files: ResultFiles, stopped: bool) -> int:
    """Write the fields of a sample; return how many of its files were read to their end.

    Of a scan that was stopped, up to the first file that was not.
    """
    once, done = sample.counted_once(), 0
    for unit in sample.units:
        for result in journal.fields(unit):
            files.add(replace(result, reading=once(unit.files[0], result.reading)))
        done += journal.files_done(unit)
        if stopped and journal.files_done(unit) < len(unit.files):
            break
    return done


def _left_out(sample: Sample) -> dict[str, Any]:
    """Return the keys of `Summary` that say what was not read."""
    left_out = left_out_records(sample.files.left_out)
    return {
        "left_out": {reason.value: sum(one.reason is reason for one in left_out) for reason in Leftover},
        "left_out_files": left_out,
    }


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
