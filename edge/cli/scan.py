"""`sicklescope scan`: its options, its progress and what it says at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.batch.reading.engine import Engine
from edge.config.loader import load
from edge.errors import ConfigError
from edge.system.console import INTERRUPTED, ConfigPath, answering, err
from edge.system.progress_bars import progress_bars

if TYPE_CHECKING:
    from edge.batch.scan import SampleResult

REASONS_SHOWN = 20
"""Reasons that are printed at the end; the report has all."""


class SamplePer(str, Enum):
    """What makes one result."""

    SCAN = "scan"
    FOLDER = "folder"


def scan(
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Images, folders, videos or URLs.")],
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")],
    annotate: Annotated[bool, typer.Option("--annotate", help="Draw each image with its cells outlined.")] = False,
    um_per_px: Annotated[
        str | None, typer.Option("--um-per-px", metavar="VALUE|auto", help="Size of a pixel on the slide, µm.")
    ] = None,
    cells: Annotated[bool, typer.Option("--cells", help="Each image is a crop of one cell.")] = False,
    keep_border: Annotated[bool, typer.Option("--keep-border", help="Count cells cut by the border too.")] = False,
    no_quality_gate: Annotated[bool, typer.Option("--no-quality-gate", help="Read rejected fields too.")] = False,
    one_sample: Annotated[
        bool, typer.Option("--one-sample", help="All images are of one slide: count each cell once.")
    ] = False,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Count copies of a picture as often as they are there.")
    ] = False,
    sample_per: Annotated[
        SamplePer, typer.Option("--sample-per", help="One result of all files, or one of each folder.")
    ] = SamplePer.SCAN,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a scan that was killed or stopped.")] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", help="How many read files; as many as pay if not given.")
    ] = None,
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="Of the report, such as fr, pt or sw.")
    ] = "en",
    engine: Annotated[
        Engine, typer.Option("--engine", help="What reads: processes of this computer, or Ray on one or many.")
    ] = Engine.LOCAL,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Of a Ray cluster that runs already.")
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write fields and cells as Parquet too.")] = False,
    config: ConfigPath = None,
) -> None:
    """Read images, folders or a video, of this computer or an object store (s3://bucket/slides).

    Write fields.jsonl, cells.csv, summary.json and report.html.
    """
    with answering():
        loaded = load(config)
        scale = _scale(um_per_px)
        from edge.batch.scan import SampleResult, ScanResults, scan_folders
        from edge.batch.scan import scan as scan_files

        asked = {
            "cells": cells, "annotate": annotate, "keep_border": keep_border, "no_quality_gate": no_quality_gate,
            "one_sample": one_sample, "keep_duplicates": keep_duplicates, "um_per_px": scale, "resume": resume,
            "processes": processes, "language": language, "engine": engine, "address": address, "parquet": parquet,
        }  # fmt: skip
        with progress_bars(err) as report:
            if sample_per is SamplePer.FOLDER:
                results = scan_folders(paths, out_dir, loaded.config, report=report, **asked)
            else:
                summary = scan_files(paths, out_dir, loaded.config, report=report, **asked)
                results = ScanResults([SampleResult(out_dir, summary)], summary.complete)
        _tell(results.samples, out_dir)
        if not results.complete:
            summaries = [one.summary for one in results.samples]
            done, files = (sum(getattr(one, name) for one in summaries) for name in ("inputs_done", "inputs"))
            err.print(f"{done} of {files} files were read, and are written. --resume reads the rest")
            raise typer.Exit(INTERRUPTED)


def _scale(text: str | None) -> float | Literal["auto"] | None:
    if text is None or text == "auto":
        return None if text is None else "auto"
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--um-per-px is {text!r}; expected auto, or micrometres per pixel such as 0.25") from error


def _tell(results: Sequence[SampleResult], out_dir: Path) -> None:
    """Print what was counted, what was not and why, and where the results are."""
    from edge.screening.verdict import RESEARCH_USE

    for one in results:
        name = "" if one.out_dir == out_dir else f"{one.out_dir.relative_to(out_dir)}: "
        read, rejected = one.summary.fields_read, sum(one.summary.rejected.values())
        typer.echo(f"{name}{read} fields read, {rejected} rejected. {one.summary.verdict.text}")
    reasons = _reasons(results)
    for (kind, cause), (number, example) in reasons[:REASONS_SHOWN]:
        # Plain lines and no rich table, which would cut the names at the width of a terminal that is not there.
        typer.echo(f"{number:>6}  {kind:<14}  {cause}; such as {example}", err=True)
    if len(reasons) > REASONS_SHOWN:
        typer.echo(f"and {len(reasons) - REASONS_SHOWN} more reasons: see the report", err=True)
    where = [str(one.out_dir / "report.html") for one in results]
    typer.echo(f"{RESEARCH_USE}\nReport: {where[0] if len(where) == 1 else f'{where[0]} to {where[-1]}'}")


def _reasons(results: Sequence[SampleResult]) -> list[tuple[tuple[str, str], tuple[int, str]]]:
    """Return reason and cause of what was not counted, each with how often it occurs and the name of the first."""
    from edge.batch.result_files import rejected_fields

    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for result in results:
        for name, reason, cause in rejected_fields(result.out_dir):
            counts[reason, cause] += 1
            first.setdefault((reason, cause), name)
        for one in result.summary.left_out_files:
            counts["left out", one.cause] += 1
            first.setdefault(("left out", one.cause), one.file)
    return [(key, (number, first[key])) for key, number in counts.most_common()]
