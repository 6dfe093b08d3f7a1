"""Progress where nobody watches a bar: a line now and then, with the time that is left."""

from __future__ import annotations

import io

from rich.console import Console

from edge.system.progress_bars import LINE_EVERY_S, progress_bars, progress_lines


def test_a_log_has_a_line_every_half_minute_with_the_time_left() -> None:
    """Scans in the background: an hour without a word looks like a program that hangs."""
    now, said = [0.0], list[str]()
    report = progress_lines(said.append, lambda: now[0])
    for done in range(1000, 1600):  # A resumed run: 1,000 were done before, and say nothing about the time left.
        report(f"reading, [b]{done}.jpg", done, 3000)
        now[0] += 0.25
    assert LINE_EVERY_S == 30.0
    assert len(said) == 4
    assert said[0] == "reading, [b]1120.jpg: 1120 of 3000, about 8 min left"


def test_what_is_no_terminal_gets_lines_and_no_bars() -> None:
    """Scans in the background: a name that looks like markup is printed as it is."""
    log = io.StringIO()
    with progress_bars(Console(file=log)) as report:
        report("reading", 1, 2)
    assert log.getvalue() == ""
