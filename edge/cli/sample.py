"""`sicklescope sample`: what is done with samples, by the service where one runs, else in its database."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.config.environment import person
from edge.config.loader import Loaded, load
from edge.errors import CommandError
from edge.system.console import ConfigPath, answering

if TYPE_CHECKING:
    from edge.page.listing import ListedSample
    from edge.sample.lifecycle import Lifecycle
    from edge.sample.sample_row import StoredSample

app = typer.Typer(
    help="Start, stop, review, list and export lifecycle.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Form(str, Enum):
    """Forms in which a sample is exported."""

    CSV = "csv"
    FHIR = "fhir"
    HL7 = "hl7"


class Reading(str, Enum):
    """Readings of a sample, as in edge.sample.review.rows."""

    FIRST = "first"
    SECOND = "second"
    THIRD = "third"


SampleName = Annotated[str, typer.Argument(metavar="SAMPLE", help="Its code (then the newest with it) or identifier.")]
LANGUAGES = "Of the report, such as fr, pt or sw."
Why = Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why; stored, so never a patient's name.")]
Who = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it; else your login name.")]


@app.command()
def start(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The clinic's own code, never a patient's name.")],
    by: Who = None,
    config: ConfigPath = None,
) -> None:
    """Begin to scan a sample."""
    _do(config, by, command="start", sample=code)


@app.command()
def stop(by: Who = None, config: ConfigPath = None) -> None:
    """End the scanning of the sample at hand; what was counted is its result."""
    _do(config, by, command="stop")


@app.command()
def discard(sample: SampleName, reason: Why = "", by: Who = None, config: ConfigPath = None) -> None:
    """Say that a sample is not to be used."""
    _do(config, by, command="discard", sample=sample, reason=reason)


@app.command()
def reopen(sample: SampleName, reason: Why = "", by: Who = None, config: ConfigPath = None) -> None:
    """Go a step back.

    Final to review, review or incomplete to scanning, discarded to incomplete.
    """
    _do(config, by, command="reopen", sample=sample, reason=reason)


@app.command()
def review(
    sample: SampleName,
    cells: Annotated[
        list[str] | None, typer.Option("--cell", metavar="NUMBER=CLASS", help="What a cell is; may be repeated.")
    ] = None,
    undo: Annotated[
        list[int] | None, typer.Option("--undo", metavar="NUMBER", help="Take the answer on a cell back; repeatable.")
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="WORDS", help="On the sample; never a patient's name.")] = "",
    reading: Annotated[
        Reading, typer.Option("--reading", help="first; second, by another person; third, where the two differ.")
    ] = Reading.FIRST,
    done: Annotated[bool, typer.Option("--done", help="Sign it: the sample is final, locked and published.")] = False,
    reason: Why = "",
    by: Who = None,
    config: ConfigPath = None,
) -> None:
    """Say what cells are, take answers back, note, or sign."""
    with answering():
        given = dict(_cell(text) for text in cells or [])
    said = {"cells": given, "undo": undo or [], "note": note, "reading": reading.value, "done": done}
    _do(config, by, command="review", sample=sample, reason=reason, **said)


@app.command()
def erase(
    sample: SampleName,
    reason: Why = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: Who = None,
    config: ConfigPath = None,
) -> None:
    """Erase all that is kept of a sample.

    Only that it was erased, when, by whom and why remains.
    """
    if not yes:
        typer.confirm(f"Erase all that is kept of sample {sample}? It cannot be undone", abort=True)
    _do(config, by, command="erase", sample=sample, reason=reason)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="So many, the newest.")] = 20,
    state: Annotated[str, typer.Option(help="Only samples in it, such as review.")] = "",
    search: Annotated[str, typer.Option(metavar="TEXT", help="Only codes with this in them.")] = "",
    config: ConfigPath = None,
) -> None:
    """List the samples that are kept, the newest first, with what was counted."""
    with answering():
        from edge.page.listing import listing

        _, found = _stored(load(config), lambda lifecycle: listing(lifecycle.database, search, state, limit=limit))
        if not found:
            typer.echo("no sample fits" if state or search else "no sample is kept", err=True)
        else:
            table = [_COLUMNS, *(_row(one) for one in found)]
            widths = [max(len(row[i]) for row in table) for i in range(len(_COLUMNS))]
            for row in table:
                typer.echo("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


_COLUMNS = ("sample", "day", "state", "red cells", "sickle-like", "fraction", "verdict", "reason")


def _row(sample: ListedSample) -> tuple[str, ...]:
    """Return a sample as words; after review with the person's figures, while it is scanned without any."""
    from edge.language.languages import ENGLISH, language

    figures = sample.figures
    counted = ("–",) * 4
    if figures is not None:
        share = language(ENGLISH).percent(figures.fraction) if figures.status == "reported" else "–"
        counted = (str(figures.red_cells), str(figures.sickle), share, figures.status)
    return (sample.code, sample.day, sample.state, *counted, sample.reason)


@app.command()
def show(
    sample: SampleName,
    classes: Annotated[
        bool, typer.Option("--classes", help="Show what the device called each cell; else only of answered ones.")
    ] = False,
    config: ConfigPath = None,
) -> None:
    """Show a sample's newest result, its history, its review, and the cells to be looked at."""
    with answering():
        _stored(load(config), lambda lifecycle: _show(lifecycle, lifecycle.store.find(sample), classes))


def _show(lifecycle: Lifecycle, sample: StoredSample, classes: bool) -> None:
    from edge.language.languages import ENGLISH, language
    from edge.report.review_words import review_sentences
    from edge.sample.review.review import SampleReview

    found, review = lifecycle.described(sample), SampleReview(lifecycle)
    newest = found["results"][-1] if found["results"] else None
    words = newest["text"] if newest else "its result comes when scanning has ended"
    typer.echo(f"{sample.code}  {sample.day}  {sample.state}  {sample.id}\n{found['damaged'] or words}")
    for step in found["history"]:
        typer.echo(f"  {step['state']} by {step['by']} {step['reason']}".rstrip())
    if found["damaged"] or sample.state not in ("review", "incomplete", "final"):
        return
    reviewed = lifecycle.reviewed(sample, lifecycle.record(sample))
    for sentence in review_sentences(language(ENGLISH), review, lifecycle.database, sample, reviewed):
        typer.echo(f"  {sentence}")
    gallery = review.gallery(sample, blind=not classes)
    typer.echo(f"  {gallery.answered} of {len(gallery.cells)} cells to look at are answered")
    for cell in gallery.cells:
        said = f"{cell.class_name or 'hidden until it is answered'}, answered {cell.answer or 'not yet'}"
        typer.echo(f"  cell {cell.number}: {said}")


@app.command()
def export(
    sample: SampleName,
    target: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="A folder for csv; else a file.")],
    form: Annotated[
        Form, typer.Option("--format", help="csv, with JSON and pictures; fhir (R4B) or hl7 (v2.5.1) for a laboratory.")
    ] = Form.CSV,
    config: ConfigPath = None,
) -> None:
    """Write a sample as CSV and JSON with its pictures, or its result for a laboratory system."""
    with answering():
        from edge.sample.export import export as write
        from edge.sample.export import remember, write_text

        def work(lifecycle: Lifecycle) -> None:
            found = lifecycle.store.find(sample)
            if form is not Form.CSV:
                write_text(target, _laboratory_text(lifecycle, found, form))
                remember(lifecycle.database, found.id, [target])
                return
            cells = lifecycle.store.cells(found.id)
            crops = {one.number: lifecycle.store.crop(found.id, one.number) or b"" for one in cells if one.pictured}
            remember(lifecycle.database, found.id, write(target, lifecycle.described(found), cells, crops))

        _stored(load(config), work)
        typer.echo(f"{target / 'sample.json' if form is Form.CSV else target}")


def _laboratory_text(lifecycle: Lifecycle, sample: StoredSample, form: Form) -> str:
    """Return a sample's result as FHIR or HL7."""
    from importlib.metadata import version

    from edge.report.fhir import fhir_bundle
    from edge.report.hl7 import hl7_message
    from edge.report.laboratory import laboratory_result

    result = laboratory_result(lifecycle, sample, version("sicklescope"))
    return fhir_bundle(result) if form is Form.FHIR else hl7_message(result)


@app.command()
def report(
    sample: SampleName,
    file: Annotated[Path, typer.Argument(metavar="FILE.html", help="Where the page goes.")],
    language: Annotated[str, typer.Option("--language", metavar="CODE", help=LANGUAGES)] = "en",
    config: ConfigPath = None,
) -> None:
    """Write the report of a sample: one page to read, print or send."""
    with answering():
        from edge.language.languages import asked
        from edge.report.of_sample import report_of_sample
        from edge.report.page import render
        from edge.sample.export import remember, write_text

        say = asked(language)

        def work(lifecycle: Lifecycle) -> None:
            found = lifecycle.store.find(sample)
            write_text(file, render(report_of_sample(lifecycle, found, say)))
            remember(lifecycle.database, found.id, [file])

        _stored(load(config), work)
        typer.echo(f"{file}")


def _cell(text: str) -> tuple[int, str]:
    number, equals, name = text.partition("=")
    if not equals or not number.strip().isascii() or not number.strip().isdigit():
        raise CommandError(f"--cell is {text!r}; expected a cell's number and class, such as 17=sickle")
    return int(number), name.strip()


def _do(config: Path | None, by: str | None, **fields: Any) -> None:
    """Have the service do it, or do it here when none runs."""
    with answering():
        loaded = load(config)
        import json

        from edge.api.client import NotRunningError, ask
        from edge.sample.commands import parse
        from edge.sample.handlers import NoScanner, perform

        command = parse(json.dumps({**fields, "by": by or person()}).encode())
        try:
            answer = ask(loaded.config.device.state_dir, command)
        except NotRunningError:
            answer = _stored(loaded, lambda lifecycle: perform(command, lifecycle, NoScanner(lifecycle)))
        for path in answer.get("left", []):
            typer.echo(f"left, for it was changed or is another user's: {path}", err=True)
        reason = f": {answer['reason']}" if answer.get("reason") else ""
        typer.echo(f"sample {answer.get('sample', answer['id'])} is {answer['state']}{reason}")


def _stored(loaded: Loaded, work: Any) -> Any:
    """Open the database beside whatever runs, and return what `work` makes of the samples in it."""
    from edge.publish.composer import Composer
    from edge.sample.lifecycle import Lifecycle
    from edge.storage.database import Database, database_path

    config = loaded.config
    with Database(database_path(config), checked=False) as database:
        return work(Lifecycle(config, database, Composer(config.device)))
