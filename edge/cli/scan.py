"""`sicklescope scan`: its options, its progress and what it says at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge.config.loader import load
from edge.errors import ConfigError
from edge.system.console import INTERRUPTED, ConfigPath, answering, err

if TYPE_CHECKING:
    from edge.batch.records import Summary

LINE_EVERY_S = 30.0
"""Time between two lines of progress where nobody watches a bar: in a log."""


REASONS_SHOWN = 20
"""Reasons that are printed at the end; the report has all."""


def scan(
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Images, folders or videos.")],
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
    config: ConfigPath = None,
) -> None:
    """Read images, folders or a video.

    Write fields.jsonl, cells.csv, summary.json and report.html.
    """
    with answering():
        loaded = load(config)
        scale = _scale(um_per_px)
        from edge.batch.scan import scan as scan_files

        with _progress() as progress:
            summary = scan_files(
                paths,
                out_dir,
                loaded.config,
                cells=cells,
                annotate=annotate,
                keep_border=keep_border,
                no_quality_gate=no_quality_gate,
                one_sample=one_sample,
                keep_duplicates=keep_duplicates,
                um_per_px=scale,
                progress=progress,
            )
        _tell(summary, out_dir)
        if not summary.complete:
            err.print(f"stopped after {summary.inputs_done} of {summary.inputs} files; what was read is written")
            raise typer.Exit(INTERRUPTED)


def _scale(text: str | None) -> float | Literal["auto"] | None:
    if text is None or text == "auto":
        return None if text is None else "auto"
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--um-per-px is {text!r}; expected auto, or micrometres per pixel such as 0.25") from error


def _tell(summary: Summary, out_dir: Path) -> None:
    """Print what was counted, what was not and why, and where the results are."""
    from edge.screening.verdict import RESEARCH_USE

    rejected = sum(summary.rejected.values())
    typer.echo(f"{summary.fields_read} fields read, {rejected} rejected. {summary.verdict.text}")
    for (kind, cause), (number, example) in list(_reasons(summary, out_dir).items())[:REASONS_SHOWN]:
        # Plain lines and no table, which would cut the names at the width of a terminal that is not there.
        typer.echo(f"  {number} {kind}: {cause}; such as {example}", err=True)
    typer.echo(f"{RESEARCH_USE}\nReport: {out_dir / 'report.html'}")


def _reasons(summary: Summary, out_dir: Path) -> dict[tuple[str, str], tuple[int, str]]:
    """Return how many fields and files were not counted for each reason, and the name of the first."""
    from edge.batch.result_files import rejected_fields

    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for name, reason, cause in rejected_fields(out_dir):
        counts[reason, cause] += 1
        first.setdefault((reason, cause), name)
    for one in summary.left_out_files:
        counts["left out", one.cause] += 1
        first.setdefault(("left out", one.cause), one.file)
    return {key: (number, first[key]) for key, number in counts.most_common()}


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Give what is called after each field: a bar on a terminal, else a line every half minute."""
    if not err.is_terminal:
        yield _lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, description=Path(name).name)


def _lines(clock: Callable[[], float] = time.monotonic) -> Callable[[int, int, str], None]:
    begun_s = said_s = clock()

    def say(done: int, total: int, name: str) -> None:
        nonlocal said_s
        now = clock()
        if now - said_s >= LINE_EVERY_S:
            said_s = now
            left = f", about {(now - begun_s) / done * (total - done) / 60:.0f} min left" if done else ""
            typer.echo(f"{done} of {total} files read{left}: {name}", err=True)

    return say
