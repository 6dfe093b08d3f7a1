"""What time it is, and whether that can be believed: a device in the field may have no network and no battery clock."""

from __future__ import annotations

import ctypes
import uuid
from functools import lru_cache
from pathlib import Path

_TIMEX_BYTES = 512
"""More than the C library's `struct timex` takes on any machine; all zeros asks only to read."""

_TIME_ERROR = 5
"""Answer of adjtimex(2) while nothing has set the clock (timex.h)."""


def clock_synchronised() -> bool:
    """Say whether the kernel believes that wall time is set by NTP or the like (adjtimex(2)).

    False where unknown.
    """
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return False
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the identifier that Linux makes at each boot.

    Or one for this run of the program where there is none.
    """
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text("ascii").strip() if path.is_file() else str(uuid.uuid4())
