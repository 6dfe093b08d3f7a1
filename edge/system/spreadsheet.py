"""Text in CSV files that no table program takes for a formula (CWE-1236)."""

from __future__ import annotations

FORMULA_STARTS = "=+-@\t\r\n|%\uff1d\uff0b\uff0d\uff20"
"""First characters, also in full width, with which some table program begins a formula or a command."""


def inert_text(text: str | None) -> str:
    """Return text that a table program does not take for a formula.

    An apostrophe before it where it would.
    """
    return f"'{text}" if text and text.lstrip(" ")[:1] in tuple(FORMULA_STARTS) else text or ""
