"""The `sicklescope` command. What takes long to import is imported by the command that needs it."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Annotated

import typer

from edge.cli.backup import backup, restore
from edge.cli.known_slides.control import app as control_app
from edge.cli.known_slides.verify import verify
from edge.cli.model import app as model_app
from edge.cli.report import report
from edge.cli.sample import app as sample_app
from edge.cli.scan import scan
from edge.cli.status import status, watch
from edge.cli.support import support
from edge.cli.user import app as user_app
from edge.config.loader import load, rendered
from edge.errors import BrokerError, ConfigError
from edge.system.console import ConfigPath, answering, err, out

app = typer.Typer(
    help="Finds, classifies and counts sickle-like red cells in blood smears. Research use only; not a diagnosis.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(control_app, name="control")
app.add_typer(model_app, name="model")
app.add_typer(sample_app, name="sample")
app.add_typer(user_app, name="user")
app.command()(backup)
app.command()(report)
app.command()(restore)
app.command()(status)
app.command()(support)
app.command()(verify)
app.command()(watch)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sicklescope {version('sicklescope')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command.

    What a command writes is not for everybody on the machine, whatever the umask; a scan's files are its caller's.
    """
    if context.invoked_subcommand != "scan":
        before = os.umask(0o077)
        os.umask(before | 0o007)
        context.call_on_close(lambda: os.umask(before))


@app.command()
def run(
    config: ConfigPath = None,
    sample: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Read this one and end. The clinic's own code, never a patient's name."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Read one sample of so many frames and end.")] = None,
    keep_trying: Annotated[
        bool, typer.Option("--keep-trying", help="After a fault tell the broker and try again: for a device alone.")
    ] = False,
) -> None:
    """Wait for samples and read them from the camera, or read one; publish its counts.

    Ctrl-C ends; twice: at once.
    """
    with answering():
        if keep_trying:
            from edge.cli.live_view import stopped_by_signals
            from edge.service.safe_mode import SafeMode
            from edge.system.systemd import Heartbeat

            unattended = SafeMode(config, sample, frames, Heartbeat())
            with stopped_by_signals(unattended.stop):
                unattended.run()
            return
        loaded = load(config)
        from edge.cli.live_view import RunView, show_outcome, stopped_by_signals
        from edge.service.service import Service

        view = RunView(out)
        service = Service(loaded.config, sample, frames, view)
        if service.sample is None:
            err.print("waiting for samples: `sicklescope sample start CODE` begins one", highlight=False)
        with stopped_by_signals(service.stop), view:
            outcome = service.run()
        if outcome is None:
            return
        show_outcome(outcome, out)
        if outcome.fault is not None:
            raise outcome.fault


@app.command()
def demo(
    frames: Annotated[int | None, typer.Option(min=1, help="End after so many frames; else on Ctrl-C.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the broker; else a free one.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which slide is rendered.")] = 0,
) -> None:
    """Run the service on a rendered slide, with the shipped models and its own broker."""
    with answering():
        from edge.cli.demo import run_demo

        run_demo(out, frames=frames, port=port, seed=seed)


@app.command()
def doctor(config: ConfigPath = None) -> None:
    """Show what this machine has; exit 1 when a thing that the configuration needs is missing."""
    with answering():
        loaded = load(config)
        from edge.cli.doctor import table
        from edge.diagnosis.doctor import examine

        findings = examine(loaded.config)
        out.print(table(findings))
        if any(finding.missing for finding in findings):
            raise typer.Exit(1)


@app.command()
def benchmark(
    fields: Annotated[int, typer.Option(min=5, max=10_000, help="So many of each kind are timed.")] = 60,
    config: ConfigPath = None,
) -> None:
    """Time this device on a rendered slide, and print a table to pass on; nothing is sent."""
    with answering():
        models = load(config).config.models
        from edge.cli.benchmark import busy, lines, measured

        if text := busy():
            err.print(text, style="yellow", highlight=False)
        for line in lines(measured(models, fields)):
            typer.echo(line)


@app.command()
def config(
    config: ConfigPath = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it can be used.")] = False,
) -> None:
    """Print the effective configuration, and where each value came from."""
    with answering():
        loaded = load(config)
        if not check:
            typer.echo(rendered(loaded))
            return
        from edge.config.checks import doubts

        if found := list(doubts(loaded.config)):
            raise ConfigError("\n".join(["the configuration can hardly be meant so:", *(f"  {one}" for one in found)]))
        typer.echo(f"the configuration can be used ({loaded.path or 'no file'})")


app.command()(scan)


@app.command()
def resend(config: ConfigPath = None) -> None:
    """Send the results that the broker refused, or has not taken yet."""
    with answering():
        loaded = load(config)
        from edge.service.service import resend as send_again

        left = send_again(loaded.config)
        typer.echo(f"{left.sent} results were taken by the broker")
        if left.pending or left.refused or left.unheard:
            raise BrokerError(
                f"{left.pending} results wait, {left.refused} were refused and to {left.unheard} nobody subscribes; "
                "all are kept"
            )
