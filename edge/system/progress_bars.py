"""Progress: on a terminal one bar for each thing that a command does, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

ReportProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

LINE_EVERY_S = 30.0
"""Time between two lines where nobody watches a bar, as in a log."""


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


@contextmanager
def progress_bars(console: Console) -> Iterator[ReportProgress]:
    """Show a bar for each thing that is being done; what follows a comma in its name may change."""
    if not console.is_terminal:
        yield progress_lines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
        return
    described = TextColumn("{task.description}", markup=False)  # A file's name may look like markup.
    columns = (described, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as display:

        def report(what: str, done: int, total: int) -> None:
            name = what.partition(",")[0]
            if name not in shown:
                shown[name] = display.add_task(what, total=total)
            display.update(shown[name], description=what, completed=done, total=total)

        yield report


def progress_lines(say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> ReportProgress:
    """Return what says a line every half minute.

    Args:
        say: takes the line.
        clock: gives the time, s.
    """
    said_s = clock()
    begun: dict[str, tuple[float, int]] = {}

    def report(what: str, done: int, total: int) -> None:
        nonlocal said_s
        now = clock()
        begun_s, begun_at = begun.setdefault(what.partition(",")[0], (now, done))
        if now - said_s < LINE_EVERY_S:
            return
        said_s = now
        since = done - begun_at  # What a resumed run did not have to do says nothing about the time left.
        left = f", about {(now - begun_s) / since * (total - done) / 60:.0f} min left" if since else ""
        say(f"{what}: {done} of {total}{left}")

    return report
