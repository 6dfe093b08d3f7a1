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

from edge.errors import EdgeError

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
    """Turn an error into one clear message and its exit code, and Ctrl-C into 130; whatever else is a bug shows all.

    stopped: what Ctrl-C is answered with.
    """
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_time=False, show_path=False, markup=False, highlighter=None)],
        force=True,
    )
    try:
        yield
    except EdgeError as error:
        err.print(f"{program}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        err.print(stopped, style="red")
        raise typer.Exit(INTERRUPTED) from error
