"""The doctor's table in a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from edge.diagnosis.doctor import Finding


def table(findings: list[Finding]) -> Table:
    """Return the findings to be printed."""
    styles = {"ok": "green", "missing": "bold red", "absent": "dim", "unknown": "yellow", "warning": "yellow"}
    drawn = Table("", "state", "", show_header=False, box=None, pad_edge=False)
    for finding in findings:
        # Text, for a file name may hold what rich would take for a style.
        drawn.add_row(finding.what, Text(finding.state, styles[finding.state]), Text(finding.text, overflow="fold"))
    return drawn
