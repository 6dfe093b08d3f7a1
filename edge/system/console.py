"""What every command shares: where it prints, how it answers errors, and the option that names the configuration."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from edge.config.environment import supervisor
from edge.errors import EdgeError
from edge.system.journal import JournalFormatter

log = logging.getLogger(__name__)

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended (128 + SIGINT)."""

out = Console()
err = Console(stderr=True)

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Else SICKLESCOPE_CONFIG, ./sicklescope.toml or /etc."),
]


@contextmanager
def answering(program: str = "sicklescope", stopped: str = "stopped") -> Iterator[None]:
    """Turn an error into one clear message and its exit code, and Ctrl-C into 130.

    Whatever else is a bug shows all.

    stopped: what Ctrl-C is answered with.
    """
    in_journal = supervisor().journal
    _log_to(in_journal)
    try:
        yield
    except EdgeError as error:
        if in_journal:
            log.error("%s", error)
        else:
            err.print(f"{program}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        err.print(stopped, style="red")
        raise typer.Exit(INTERRUPTED) from error


def _log_to(in_journal: bool) -> None:
    """Send the log to the terminal, or in the journal's form to the journal."""
    handler: logging.Handler
    if in_journal:
        handler = logging.StreamHandler()
        handler.setFormatter(JournalFormatter())
    else:
        handler = RichHandler(console=err, show_time=False, show_path=False, markup=False, highlighter=None)
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if in_journal else logging.WARNING, handlers=[handler], force=True)
