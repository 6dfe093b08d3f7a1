"""Progress on a terminal: one bar for each thing that a command does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

ReportProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


@contextmanager
def progress_bars(console: Console) -> Iterator[ReportProgress]:
    """Show a bar for each thing that is being done; what follows a comma in its name may change."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as display:

        def report(what: str, done: int, total: int) -> None:
            name = what.partition(",")[0]
            if name not in shown:
                shown[name] = display.add_task(what, total=total)
            display.update(shown[name], description=what, completed=done, total=total)

        yield report
