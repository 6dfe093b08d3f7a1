"""The `sicklescope-calibrate` command."""

from __future__ import annotations

import typer

from calibration.int8_cli import int8

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Calibrate networks and optics. Research use only.")


@app.callback()
def _commands() -> None:
    """Keep each command one of its own."""


app.command("int8")(int8)


def main() -> None:
    """Run the command."""
    app()
