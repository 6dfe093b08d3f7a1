"""Sample codes: which text may be one, and the code of a sample that was given none."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from pydantic import TypeAdapter, ValidationError

from edge.config.model import Name
from edge.errors import SampleError
from edge.system.clock import boot_id

LONGEST = 63
"""Characters of a code; see edge.config.model.Name."""

CONTROL = "control"
"""How the code of a sample begins that is a reading of a control slide, control-NAME-…, and the flag it carries."""


def sample_code(text: str, pattern: str = ".*") -> str:
    """Return a sample's code after checking that it can stand in a topic or file name.

    Args:
        text: what was given as a code.
        pattern: the clinic's own regular expression, `screening.sample_pattern`; a control slide's code need not
            match it.

    Raises:
        SampleError: The text cannot be a code.
    """
    try:
        code = TypeAdapter(Name).validate_python(text)
    except ValidationError:
        raise SampleError(
            f"the sample code cannot be used: it {_fault(text)}. Expected 1 to {LONGEST} letters, digits, dots, dashes "
            "or underscores, beginning with a letter or digit. Use the clinic's own code, never a patient's name"
        ) from None  # the cause holds what was typed
    if not code.startswith(f"{CONTROL}-") and not re.fullmatch(pattern, code):
        raise SampleError(
            f"the sample code is not of this clinic; screening.sample_pattern expects {pattern}. "
            "Use the clinic's own code, never a patient's name"
        )
    return code


def _fault(text: str) -> str:
    """Say what is wrong with a code without repeating it: it may be a person's name, and errors are logged."""
    if not text:
        return "is empty"
    if len(text) > LONGEST:
        return f"has {len(text)} characters"
    at, sign = next((i, c) for i, c in enumerate(text) if not re.fullmatch("[A-Za-z0-9_.-]" if i else "[A-Za-z0-9]", c))
    what = "a space" if sign.isspace() else "a letter outside A to Z" if sign.isalpha() else "another sign"
    return f"has {what} as character {at + 1} of {len(text)}"


def moment() -> str:
    """Return the time for a code, to the millisecond: two programs may begin in one second."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}"[:-3]


def new_sample_code() -> str:
    """Return a code for a sample that was given none: time and boot, as the clock may be wrong."""
    return f"{moment()}-{boot_id()[:8]}"
