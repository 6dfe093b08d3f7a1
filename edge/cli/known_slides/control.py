"""`sicklescope control`: slides of which it is known what they show, read every day."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.known_slides import blank
from edge.config.environment import person
from edge.config.loader import Loaded, load
from edge.errors import CommandError, ConfigError, EdgeError, InputError, SampleError
from edge.runtime.registry import digests
from edge.sample.codes import CONTROL, moment
from edge.screening.levey_jennings import Point, levey_jennings
from edge.screening.westgard import RULES, Expected, observed
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.console import ConfigPath, answering, err, out

if TYPE_CHECKING:
    from edge.sample.controls import ControlReading, ControlSlide, ControlSlides
    from edge.storage.database import Database

app = typer.Typer(
    help="Control slides: what they are to show, what they were read as, and whether the device is in order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(blank.app, name="blank")

SlideName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the control slide.")]

POLL_S = 0.2
"""How often a service is asked how far it is."""

READINGS_TO_SUGGEST = 20
"""From as many readings a laboratory may take its own mean and spread (CLSI C24)."""


@app.command()
def add(
    name: SlideName,
    sickle: Annotated[
        float | None, typer.Option("--sickle", metavar="FRACTION", help="Fraction called sickle, 0 to 1.")
    ] = None,
    sd: Annotated[
        float, typer.Option("--sd", metavar="FRACTION", help="Its standard deviation from reading to reading.")
    ] = 0.0,
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option("--range", metavar="LOW HIGH", help="Instead of both: where 95 % of readings lie, mean ± 2 s."),
    ] = None,
    config: ConfigPath = None,
) -> None:
    """Take a control slide into use.

    What chance does to a count is reckoned with beside the standard deviation.
    """
    with answering(), _slides(load(config)) as book:
        if (sickle is None) == (limits is None):
            raise ConfigError("expected either --sickle, with --sd, or --range LOW HIGH: what the slide is to show")
        if limits is not None:
            sickle, sd = (limits[0] + limits[1]) / 2, (limits[1] - limits[0]) / 4
        try:
            expected = Expected(sickle or 0.0, sd)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
        book.add(name, expected)
        typer.echo(f"{name}: {_expected(expected)}. Read it with: sicklescope control read {name}")


@app.command()
def read(
    name: SlideName,
    frames: Annotated[int | None, typer.Option(min=1, help="Read so many frames, and not up to the target.")] = None,
    config: ConfigPath = None,
) -> None:
    """Read a control slide up to the target of red cells; exit 1 when it failed or was not read.

    Where a service runs it reads the slide, as a sample; else this command opens the camera itself.
    """
    with answering():
        loaded = load(config)
        with _slides(loaded) as book:
            slide = book.slide(name)
            before = len(book.readings(slide))
        code = f"{CONTROL}-{name}-{moment()}"
        fault = None
        if _served(loaded, frames):
            _have_read(loaded, code)
        else:
            fault = _read(loaded, code, frames)
        with _slides(loaded) as book:
            readings = book.readings(slide)
        if fault is not None:
            raise fault
        if len(readings) == before:
            err.print(f"{name} was not read: these counts say nothing of the device", style="red", highlight=False)
            raise typer.Exit(1)
        typer.echo(f"{name}: {_expected(slide.expected)}; found {_figures(readings[-1])}")
        if readings[-1].failed:
            for rule in readings[-1].rules:
                err.print(f"{rule}: {RULES[rule]}", style="red", highlight=False)
            raise typer.Exit(1)


def _served(loaded: Loaded, frames: int | None) -> bool:
    """Say whether a service runs that is to read the slide; raises ConfigError where it cannot do what is asked."""
    from edge.api.client import NotRunningError, state

    try:
        state(loaded.config.device.state_dir)
    except NotRunningError:
        return False
    if frames is not None:
        raise ConfigError("--frames is for this command's own camera, but a service runs: leave it out, or stop that")
    return True


def _read(loaded: Loaded, code: str, frames: int | None) -> EdgeError | None:
    """Read the slide as a sample; returns the fault that ended it early."""
    from edge.cli.live_view import RunView, show_outcome, stopped_by_signals
    from edge.service.service import Service

    view = RunView(out)
    service = Service(loaded.config, code, frames, view)
    with stopped_by_signals(service.stop), view:
        outcome = service.run()
    if outcome is None:
        raise SampleError(f"{code} was stopped before it began")
    show_outcome(outcome, out)
    return outcome.fault


def _have_read(loaded: Loaded, code: str) -> None:
    """Have the service read the slide as a sample, and wait until it is read; Ctrl-C ends it early, as it does here."""
    from edge.api.client import NotRunningError, ask, state
    from edge.cli.live_view import stopped_by_signals
    from edge.sample.commands import Start, Stop
    from edge.sample.store import Store

    folder, by = loaded.config.device.state_dir, person()
    stopping = threading.Event()
    with stopped_by_signals(stopping.set), out.status(f"the service reads {code}") as shown:
        sample = ask(folder, Start(command="start", sample=code, by=by))["id"]
        with suppress(NotRunningError):  # it may end meanwhile
            while (now := state(folder))["id"] == sample:
                if now["verdict"] is not None:
                    shown.update(f"the service reads {code}: {now['verdict']['red_cells']} red cells")
                if stopping.wait(POLL_S):
                    with suppress(SampleError):  # the sample ended by itself just now
                        ask(folder, Stop(command="stop", by=by))
    with _database(loaded) as database:
        found = Store(database).find(sample)
    if found.state == "scanning":
        raise CommandError(
            f"the service ended while it read {code}, which goes on when it is back: sicklescope sample list"
        )
    out.print(f"{code} is in {found.state}: {found.reason}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def retire(name: SlideName, config: ConfigPath = None) -> None:
    """Take a control slide out of use. Its readings stay on record."""
    with answering(), _slides(load(config)) as book:
        book.retire(name)
        typer.echo(f"{name} is out of use")


@app.command("list")
def list_(config: ConfigPath = None) -> None:
    """Show the control slides in use, their last readings, and what results say of it."""
    with answering():
        loaded = load(config)
        with _slides(loaded) as book:
            slides = book.slides()
            if not slides:
                typer.echo("no control slide is in use; begin with: sicklescope control add NAME --sickle FRACTION")
            for slide in slides:
                typer.echo(f"{slide.name}: {_expected(slide.expected)}")
                last = book.readings(slide)[-1:]
                typer.echo(f"  last read {_line(last[0])}" if last else "  not read yet")
            control, models = loaded.config.control, loaded.config.models
            if control.enforce == "off":
                typer.echo("control.enforce is off: results say nothing of control slides")
                return
            found = book.standing(control, digests(models, loaded.config.device.state_dir))
            verb = {"mark": "carry the flag", "withhold": "are withheld, with the flag"}[control.enforce]
            for flag, why in found.items():
                typer.echo(f"results {verb} {flag}: {why}")
            if not found:
                typer.echo("all control slides are in order")


@app.command()
def show(name: SlideName, config: ConfigPath = None) -> None:
    """List every reading of a control slide."""
    with answering(), _slides(load(config)) as book:
        slide = book.slide(name)
        readings = book.readings(slide)
        typer.echo(f"{slide.name}: {_expected(slide.expected)}")
        for reading in readings:
            typer.echo(_line(reading))
        if len(readings) >= READINGS_TO_SUGGEST:
            mean, sd = observed([(reading.sickle, reading.red_cells) for reading in readings])
            typer.echo(f"Your own {len(readings)} readings: --sickle {mean:.4f} --sd {sd:.4f}")


@app.command()
def chart(
    name: SlideName,
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Else control-NAME.svg, here.")] = None,
    config: ConfigPath = None,
) -> None:
    """Draw a control slide's readings as a Levey-Jennings chart.

    An SVG that any browser shows and prints.
    """
    with answering(), _slides(load(config)) as book:
        slide = book.slide(name)
        readings = book.readings(slide)
        if not readings:
            raise InputError(f"{name} was not read yet. Read it with: sicklescope control read {name}")
        target = file or Path(f"control-{name}.svg")
        points = [Point(_when(reading), _figures(reading), reading.s, reading.rules) for reading in readings]
        with aside(target.absolute().parent) as folder:
            drawn = folder / target.name
            with storage_errors(target):
                drawn.write_text(levey_jennings(_title(slide), _expected(slide.expected), points), "utf-8")
            move(drawn, target.absolute())
        typer.echo(f"{len(readings)} readings: {target}")


@contextmanager
def _slides(loaded: Loaded) -> Iterator[ControlSlides]:
    from edge.sample.controls import ControlSlides

    with _database(loaded) as database:
        yield ControlSlides(database)


def _database(loaded: Loaded) -> Database:
    from edge.storage.database import Database, database_path

    return Database(database_path(loaded.config), checked=False)


def _title(slide: ControlSlide) -> str:
    return f"Control slide {slide.name}, sickle-like cells"


def _expected(expected: Expected) -> str:
    return f"expected {expected.fraction:.2%} sickle-like, between-run SD {expected.between_run_sd:.2%}"


def _line(reading: ControlReading) -> str:
    return f"{_when(reading)}  {_figures(reading)}"


def _when(reading: ControlReading) -> str:
    told = f"{datetime.fromtimestamp(reading.read_ms / 1000, timezone.utc):%Y-%m-%d %H:%M}"
    return told if reading.clock_synchronised else f"{told}?"


def _figures(reading: ControlReading) -> str:
    share = reading.sickle / reading.red_cells
    told = f"{reading.sickle} of {reading.red_cells} = {share:.2%}, {reading.s:+.1f} s"
    if not reading.rules:
        return told
    return f"{told}; {'FAILED' if reading.failed else 'warning'}: {', '.join(reading.rules)}"
