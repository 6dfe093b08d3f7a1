"""`sicklescope verify`: the site's own manual counts against the device's."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from edge.config.loader import load
from edge.errors import CommandError
from edge.system.console import ConfigPath, answering


def verify(
    counts: Annotated[Path, typer.Argument(metavar="COUNTS.csv", help="Columns slide, red_cells, sickle.")],
    page: Annotated[Path, typer.Argument(metavar="FILE.html", help="Where the page goes.")],
    cut_off: Annotated[
        float, typer.Option("--cut-off", metavar="PERCENT", min=0, max=100, help="The site's own, of red cells.")
    ],
    signed_by: Annotated[str, typer.Option("--signed-by", metavar="NAME", help="Who answers for the manual counts.")],
    config: ConfigPath = None,
) -> None:
    """Compare manual counts of slides with the device's: Bland-Altman, kappa, a table.

    A slide is a sample that this device has read, by its code.
    """
    with answering():
        if not signed_by.strip():
            raise CommandError("--signed-by is empty; expected the name of who answers for the manual counts")
        loaded = load(config)
        import time

        from edge.language.languages import asked
        from edge.publish.composer import Composer
        from edge.report.verification import render, sentences
        from edge.report.verification import verify as compare
        from edge.report.words import when
        from edge.sample.export import write_text
        from edge.sample.lifecycle import Lifecycle
        from edge.storage.database import Database, database_path
        from edge.system.clock import clock_synchronised

        settings = loaded.config
        facts = {
            "signed by": signed_by.strip(),
            "on": when(asked("en"), int(time.time() * 1000), clock_synchronised()),
            "site": settings.device.site,
            "device": settings.device.device,
            "sicklescope": version("sicklescope"),
            "cut-off": f"{cut_off:g} % sickle-like of red cells",
        }
        with Database(database_path(settings), checked=False) as database:
            found = compare(Lifecycle(settings, database, Composer(settings.device)), counts, cut_off / 100, facts)
        write_text(page, render(found))
        for sentence in sentences(found):
            typer.echo(sentence)
        typer.echo(f"{page}")
