"""Sample codes: which text may be one, and the code of a sample that was given none."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from pydantic import TypeAdapter, ValidationError

from edge.config.loader import shown
from edge.config.model import Name
from edge.errors import SampleError
from edge.system.clock import boot_id

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
    except ValidationError as error:
        raise SampleError(
            f"sample code {shown(text)} cannot be used; expected 1 to 63 letters, digits, dots, dashes or "
            "underscores, beginning with a letter or digit. Use the clinic's own code, never a patient's name"
        ) from error
    if not code.startswith(f"{CONTROL}-") and not re.fullmatch(pattern, code):
        raise SampleError(
            f"sample code {code!r} is not of this clinic; screening.sample_pattern expects {pattern}. "
            "Use the clinic's own code, never a patient's name"
        )
    return code


def moment() -> str:
    """Return the time for a code, to the millisecond: two programs may begin in one second."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}"[:-3]


def new_sample_code() -> str:
    """Return a code for a sample that was given none: time and boot, as the clock may be wrong."""
    return f"{moment()}-{boot_id()[:8]}"
