"""A run as a person sees it on the terminal: running counts, its end in words, and what Ctrl-C does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.screening.verdict import FLAGS, RESEARCH_USE
from edge.service.outcome import Outcome
from edge.service.reporter import Snapshot
from edge.types import CLASSES, Verdict

PLAIN_INTERVAL_S = 2.0
"""Between two lines where there is no terminal to redraw."""

FATES = {
    "taken": "the broker has taken the result",
    "unheard": "nobody subscribes to the result at the broker; it is kept, and sent again",
    "waiting": "the result waits in the outbox, and is sent by the next run: {reason}",
    "refused": "the broker refused the result, which is kept: set the broker's rights, then `sicklescope resend`",
    "unsent": "the result was not sent, for mqtt.enabled is false",
}


class RunView:
    """The observer of a service.

    A table that is redrawn, or a line every few seconds where there is no terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: Snapshot | None = None
        self._began_s = self._printed_s = 0.0
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> RunView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, snapshot: Snapshot) -> None:
        """Take the newest counts; they are drawn when it is time."""
        now = time.monotonic()
        if self._last is None:
            self._began_s = self._printed_s = now
        self._last = snapshot
        if not self._console.is_terminal and now - self._printed_s >= PLAIN_INTERVAL_S:
            self._printed_s = now
            self._console.print(self._line(snapshot), highlight=False, soft_wrap=True)

    def _line(self, snapshot: Snapshot) -> str:
        counts = snapshot.counts
        return (
            f"{counts.fields_read} fields read ({counts.fields_repeated} showed nothing new), "
            f"{sum(counts.rejected.values())} rejected, {snapshot.dropped} dropped; "
            f"sickle-like {_sickle(snapshot.verdict)}; {self._rate(snapshot):.1f} frames/s; "
            f"{_link(snapshot)}"
        )

    def _rate(self, snapshot: Snapshot) -> float:
        return (snapshot.frames - 1) / max(1e-3, time.monotonic() - self._began_s)

    def _table(self) -> Table:
        snapshot = self._last
        table = Table(show_header=False, box=None, pad_edge=False)
        if snapshot is None:
            table.add_row("waiting for the first frame of a sample")
            return table
        counts = snapshot.counts
        table.add_row("sample", snapshot.sample)
        rejected = ", ".join(f"{count} {name}" for name, count in counts.rejected.items() if count)
        table.add_row("fields read", f"{counts.fields_read}  ({self._rate(snapshot):.1f} frames/s)")
        table.add_row("with nothing new", str(counts.fields_repeated))
        table.add_row("frames rejected", rejected or "0")
        table.add_row("frames dropped", str(snapshot.dropped))
        table.add_row("red cells", str(counts.red_cells))
        table.add_row("sickle-like", Text(_sickle(snapshot.verdict), style="bold"))
        table.add_row("all cells", ", ".join(f"{counts.by_class[name]} {name}" for name in CLASSES))
        table.add_row("in no class", ", ".join(f"{count} {name}" for name, count in counts.excluded.items()))
        table.add_row("broker", Text(_link(snapshot), style="green" if snapshot.link.connected else "yellow"))
        return table


def _sickle(verdict: Verdict) -> str:
    """Return the counts alone: a fraction that somebody likes is no reason to stop."""
    return f"{verdict.sickle} of {verdict.red_cells}"


def _link(snapshot: Snapshot) -> str:
    link = snapshot.link
    waiting = f", {link.pending} results wait" if link.pending else ""
    refused = f", {link.refused} results refused" if link.refused else ""
    return ("connected" if link.connected else f"no broker: {link.reason}") + waiting + refused


def show_outcome(outcome: Outcome, console: Console) -> None:
    """Print the result in words, what became of it, and that it is no diagnosis."""
    counts, verdict = outcome.counts, outcome.verdict
    console.print(f"\nSample {outcome.sample}", style="bold", highlight=False)
    for line in (
        verdict.text,
        *(f"- {FLAGS[flag]}" for flag in verdict.flags),
        f"{outcome.frames} frames: {counts.fields_read} read, {counts.fields_repeated} of them with nothing new; "
        f"{sum(counts.rejected.values())} rejected; {outcome.dropped} dropped. {counts.cells_seen} cells seen, each "
        f"counted once, on {counts.area_mm2:.3f} mm².",
        f"MQTT: {FATES[outcome.fate].format(reason=outcome.link.reason or 'it did not answer in time')}.",
        RESEARCH_USE,
    ):
        console.print(line, highlight=False, markup=False)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Make the first Ctrl-C or SIGTERM call `stop`.

    The next raises KeyboardInterrupt where the program is.
    """
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        stop()
        # Not print: the signal may have come in the midst of one.
        os.write(2, b"\nending the sample; once more to stop at once\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
