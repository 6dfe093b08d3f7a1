"""A laboratory's manual counts, from a CSV file: each thing that is wrong is named with its line."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InputError

COLUMNS = ("slide", "red_cells", "sickle")
"""That the file must have; it may have others."""

_NAMED = 20
"""So many mistakes are named; of more, how many there are."""


@dataclass(frozen=True, slots=True)
class ManualCount:
    """A slide counted by hand; line: in the file, from 1."""

    line: int
    slide: str
    red_cells: int
    sickle: int


class Mistakes:
    """What is wrong in a file, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, text: str) -> None:
        """Note what is wrong in a line."""
        self._found.append((line, text))

    def raise_any(self) -> None:
        """Name what was noted.

        Raises:
            InputError: Anything was noted.
        """
        if not self._found:
            return
        lines = [f"  line {line}: {text}" for line, text in sorted(self._found)[:_NAMED]]
        if len(self._found) > _NAMED:
            lines.append(f"  and {len(self._found) - _NAMED} more")
        raise InputError("\n".join([f"{self._path} cannot be used as it is; nothing was compared:", *lines]))


def read_manual_counts(path: Path, mistakes: Mistakes) -> list[ManualCount]:
    """Return the counts of a file, separated by commas or semicolons.

    What is wrong in a line goes to `mistakes`.

    Raises:
        InputError: It cannot be read as a table with these columns at all.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8. In a table program save it as CSV UTF-8") from error
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",")
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    if absent := [name for name in COLUMNS if name not in names]:
        raise InputError(
            f"{path} line 1: no column {', '.join(absent)}; found {', '.join(filter(None, names)) or 'nothing'}. "
            f"Expected a first line {','.join(COLUMNS)}: code of the sample, red cells counted, sickle-like among them"
        )
    reader.fieldnames = names
    counts: list[ManualCount] = []
    first: dict[str, int] = {}
    try:
        for row in reader:
            if any(value for key, value in row.items() if key is not None):
                _take(row, reader.line_num, counts, first, mistakes)
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num}: {error}") from error
    if not counts:
        mistakes.add(2, "no slide")
    return counts


def _take(
    row: dict[str, str | None], line: int, counts: list[ManualCount], first: dict[str, int], mistakes: Mistakes
) -> None:
    """Add a line to the counts, or what is wrong in it to the mistakes."""
    if None in row:
        mistakes.add(line, "more fields than the first line has. Is a number written with a decimal comma?")
        return
    slide = (row["slide"] or "").strip()
    red_cells, sickle = (_count(row[name], name, line, mistakes) for name in ("red_cells", "sickle"))
    if not slide:
        mistakes.add(line, "slide is empty; expected the code of the sample as the device has it")
    elif slide in first:
        mistakes.add(line, f"the slide of line {first[slide]} again. Give one line for each slide, with the sums")
    if red_cells is None or sickle is None or not slide or slide in first:
        return
    first[slide] = line
    if red_cells == 0:
        mistakes.add(line, "red_cells is 0: there is nothing to compare")
    elif sickle > red_cells:
        mistakes.add(line, f"{sickle} sickle-like cells of {red_cells} red cells; they are to be among them")
    else:
        counts.append(ManualCount(line, slide, red_cells, sickle))


def _count(text: str | None, name: str, line: int, mistakes: Mistakes) -> int | None:
    """Return a count, or None and a mistake."""
    found = (text or "").strip()
    if found.isascii() and found.isdigit() and len(found) <= 7:
        return int(found)
    why = ""
    if re.fullmatch(r"\d+,\d+", found):
        why = ", which has a decimal comma"
    elif re.fullmatch(r"\d+[.]\d+\s*%?|\d+\s*%", found):
        why = ", which looks like a share"
    mistakes.add(line, f"{name} is {found[:20]!r}{why}; expected a count, a whole number of cells")
    return None
