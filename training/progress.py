"""What the commands of training share: how they show progress, and how they answer errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from edge.system import console
from edge.system.console import out

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


answering = partial(
    console.answering,
    "sicklescope-train",
    "stopped; what is finished is kept, and the same command goes on from there",
)


@contextmanager
def bars() -> Iterator[Progress]:
    """Show a bar for each thing that is being done.

    What comes after a comma in its name may change.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown: dict[str, TaskID] = {}
    with Bars(*columns, console=out) as display:

        def progress(what: str, done: int, total: int) -> None:
            name = what.partition(",")[0]
            if name not in shown:
                shown[name] = display.add_task(what, total=total)
            display.update(shown[name], description=what, completed=done, total=total)

        yield progress
