"""`sicklescope control blank`: slides without sickle cells, and the limit of blank that follows for this device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.config.loader import Loaded, load
from edge.runtime.registry import digests
from edge.screening.site_blank import EP17_SLIDES, SiteBlank
from edge.system.console import ConfigPath, answering

if TYPE_CHECKING:
    from edge.sample.blanks import StoredBlank
    from edge.sample.lifecycle import Lifecycle

app = typer.Typer(
    help="Slides known to be free of sickle cells, read on this device: its own limit of blank.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Sample = Annotated[str, typer.Argument(metavar="SAMPLE", help="Code of the sample as which the slide was read.")]

SHOWN_AT = (500, 1000, 2000)
"""Red cells for which a provisional limit is shown."""


@app.command()
def add(
    sample: Sample,
    person: Annotated[str, typer.Option(metavar="CODE", help="Code of whom it is of; never a name.")],
    stain: Annotated[str, typer.Option(metavar="BATCH", help="Batch of the stain.")],
    by: Annotated[
        Literal["hplc", "electrophoresis"], typer.Option("--hb-aa-by", help="How haemoglobin A alone was found.")
    ],
    anaemic: Annotated[bool, typer.Option("--anaemic", help="The person is anaemic.")] = False,
    config: ConfigPath = None,
) -> None:
    """Take a sample that was read, of a person with Hb AA, as a blank slide.

    It needs 1,000 red cells.
    """
    with answering():
        loaded = load(config)
        with _lifecycle(loaded) as lifecycle:
            found = lifecycle.store.find(sample)
            lifecycle.blanks.add(found, lifecycle.record(found), person, stain, by, anaemic)
            _tell(loaded, lifecycle)


@app.command()
def remove(sample: Sample, config: ConfigPath = None) -> None:
    """Let a slide count no longer."""
    with answering():
        loaded = load(config)
        with _lifecycle(loaded) as lifecycle:
            lifecycle.blanks.remove(sample)
            _tell(loaded, lifecycle)


@app.command(name="list")
def list_(config: ConfigPath = None) -> None:
    """Show the blank slides and the limit that follows."""
    with answering():
        loaded = load(config)
        with _lifecycle(loaded) as lifecycle:
            for one in lifecycle.blanks.all():
                typer.echo(_line(one))
            _tell(loaded, lifecycle)


@contextmanager
def _lifecycle(loaded: Loaded) -> Iterator[Lifecycle]:
    from edge.publish.composer import Composer
    from edge.sample.lifecycle import Lifecycle
    from edge.storage.database import Database, database_path

    with Database(database_path(loaded.config), checked=False) as database:
        yield Lifecycle(loaded.config, database, Composer(loaded.config.device))


def _tell(loaded: Loaded, lifecycle: Lifecycle) -> None:
    """Print the limit that results have with the models and optics in use, or why there is none.

    The camera is taken to be that of the newest sample: it is not opened here.
    """
    from edge.sample.blanks import optics_in_use

    slides = lifecycle.blanks.all()
    if not slides:
        typer.echo("no blank slide; begin with: sicklescope control blank add SAMPLE --person … --stain … --hb-aa-by …")
        return
    networks = digests(loaded.config.models, loaded.config.device.state_dir)
    optics = slides[-1].optics  # Where no sample is left, nothing tells the camera.
    for newest in lifecycle.store.newest(1):
        setup = lifecycle.described(newest)["setup"]
        optics = optics_in_use(loaded.config, setup.get("camera") if isinstance(setup, dict) else None)
    limit = lifecycle.blanks.in_force(networks, optics)
    if limit is None:
        other = "models" if all(one.networks != networks for one in slides) else "camera, calibration or scale"
        typer.echo(
            f"stale: the slides were read with other {other}, and results use the model's own limit. Read them anew"
        )
        return
    for line in in_words(limit):
        typer.echo(line)


def in_words(limit: SiteBlank) -> list[str]:
    """Return what a site's limit is and what it rests on.

    A result never goes below the model's own limit.
    """
    number = len(limit.slides)
    if limit.provisional:
        at = ", ".join(f"{limit.limit(red):.2%} of {red}" for red in SHOWN_AT)
        return [
            f"provisional limit of blank from {number} slides: {at} red cells",
            f"to be more than provisional it has: {'; '.join(limit.missing())}",
        ]
    said = f"limit of blank from {number} slides: {limit.limit(0):.2%}, the highest of the stain batches"
    if number < EP17_SLIDES:
        return [said, f"not by CLSI EP17-A2, which asks for {EP17_SLIDES} blanks"]
    return [said]


def _line(one: StoredBlank) -> str:
    slide = one.slide
    when = datetime.fromtimestamp(one.read_ms / 1000, timezone.utc)
    said = f"{one.code or 'erased'}  {when:%Y-%m-%d}  {slide.sickle} of {slide.red_cells}"
    person = f"person {slide.person}{', anaemic' if slide.anaemic else ''}, Hb AA by {one.method}"
    return f"{said} = {slide.sickle / slide.red_cells:.2%}  {person}, stain {slide.stain}, models {one.networks[1][:8]}"
