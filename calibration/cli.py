"""The `sicklescope-calibrate` command: each module registers its own commands."""

from __future__ import annotations

import typer

from calibration.int8.cli import int8
from calibration.optics.cli import register

app = typer.Typer(
    help="Find out what a device has to know before it reads: INT8 ranges of its networks, and its optics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
register(app)
app.command("int8")(int8)


def main() -> None:
    """Run the command."""
    app()
