"""`sicklescope status` and `sicklescope watch`: what the service is doing, once or until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.config.loader import load
from edge.errors import EdgeError
from edge.system.console import ConfigPath, answering, out

_PROBLEMS = {"camera_problem": "camera", "storage_problem": "storage"}


def status(
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when it cannot read samples: a health check.")] = False,
    config: ConfigPath = None,
) -> None:
    """Show what the service is doing."""
    with answering():
        from edge.api.client import state

        now = state(load(config).config.device.state_dir)
        for label, words in facts(now):
            typer.echo(f"{label:<12}{words}")
        if check and (now["state"] == "fault" or any(now.get(problem) for problem in _PROBLEMS)):
            raise typer.Exit(1)


def watch(
    interval_s: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.2, help="Between two looks.")] = 1.0,
    config: ConfigPath = None,
) -> None:
    """Show what the service is doing, anew whenever it changes, until Ctrl-C."""
    with answering():
        from rich.live import Live
        from rich.text import Text

        folder = load(config).config.device.state_dir
        if not out.is_terminal:
            _print_changes(folder, interval_s)
        with Live(console=out, refresh_per_second=4, transient=False) as shown:
            while True:
                shown.update(Text("\n".join(f"{label:<12}{words}" for label, words in _now(folder))))
                time.sleep(interval_s)


def _print_changes(folder: Path, interval_s: float) -> None:
    """Print a line for each change, for a log or another program; does not return."""
    before = ""
    while True:
        line = "; ".join(f"{label} {words}" for label, words in _now(folder))
        if line != before:
            out.print(line, highlight=False, markup=False, soft_wrap=True)
        before = line
        time.sleep(interval_s)


def _now(folder: Path) -> list[tuple[str, str]]:
    """Return what is going on, or why that cannot be told: a service may be started again."""
    from edge.api.client import state

    try:
        return facts(state(folder))
    except EdgeError as error:
        return [("service", str(error))]


def facts(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return labels and words for a state of the API.

    No fraction stands there while a sample is scanned.
    """
    found = [("state", str(state["state"]))]
    if state["sample"] is not None:
        found.append(("sample", str(state["sample"])))
    counts = state["counts"]
    if counts is not None:
        rejected = sum(counts["rejected"].values())
        red = sum(counts["by_class"][name] for name in ("normal", "sickle", "other"))
        found += [
            ("red cells", str(red)),
            ("sickle-like", f"{counts['by_class']['sickle']} (the fraction is shown when scanning has ended)"),
            ("not named", str(counts["excluded"]["abstained"])),
            ("fields", f"{counts['fields_read']} read, {rejected} not"),
        ]
    found.append(("broker", "connected" if state["connected"] else f"not connected: {state['connection']}"))
    found.append(("results", f"{state['results_waiting']} wait, {state['results_refused']} refused"))
    found += [(label, str(state[key])) for key, label in _PROBLEMS.items() if state.get(key)]
    return found
