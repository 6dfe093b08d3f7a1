"""Takes out of a text what may name a patient, a sample or a person, so that it can be sent to whoever helps.

Kept are words that the program itself uses, and short numbers; all else is replaced. So what nobody thought of is left
out, and not left in.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from pathlib import Path

GONE = "…"
"""Stands where something was taken out."""

_NAMED = re.compile(
    r"(\b(?:sample code|samples?|such as|result of) )[^\s\"',;:]+"
    r"|(\b(?:start|stop|discard|reopen|review|sign|erase) of )[^:\"]*(?=:)"
)
"""What the program's own messages say of a sample or a person."""

_RUN = re.compile(r"[^\s\"'(){}\[\]<>=,;|]+")
_KNOWN_FORMS = re.compile(
    r"\d{1,2}|\d+\.\d+|\d+(?:\.\d+)?(?:s|ms|MB|GB|kB|%|px|x\d+|µm)|0x[0-9a-fA-F]{1,2}|\d{2}:\d{2}(?::\d{2})?(?:\.\d+)?"
    r"|\d{4}-\d{2}-\d{2}|1883|8883"
)
"""Numbers that are no sample's: short ones, with a unit, of a protocol, dates and times."""


@cache
def vocabulary() -> frozenset[str]:
    """Return the words of the program's own sources, in lower case."""
    sources = Path(__file__).parents[1].rglob("*.py")
    return frozenset(word.lower() for path in sources for word in re.findall(r"[^\W\d_]+", path.read_text("utf-8")))


def redacted(text: str, names: Collection[str] = ()) -> str:
    """Return a text of the program without what may name a sample or a person.

    Args:
        text: such as a line of the log.
        names: codes of samples and names of people that are known; the rest is found by what it is not.
    """
    for name in sorted(names, key=len, reverse=True):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", GONE, text, flags=re.IGNORECASE)
    text = _NAMED.sub(lambda found: f"{found[1] or found[2]}{GONE}", text)
    return _RUN.sub(lambda found: _kept(found[0]), text)


def _kept(run: str) -> str:
    """Return a run of characters without spaces if it is harmless, else the sign for what was taken out."""
    bare = run.strip(".:!?*`")
    if _KNOWN_FORMS.fullmatch(bare):
        return run
    words = re.findall(r"[^\W\d_]+", bare)
    digits = any(sign.isdigit() for sign in bare)
    return run if not digits and all(word.lower() in vocabulary() for word in words) else GONE
