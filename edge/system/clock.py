"""What time it is, and whether that can be believed: a device in the field may have no network and no battery clock."""

from __future__ import annotations

import ctypes
import time
import uuid
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

from edge.errors import CommandError

EARLIEST_MS = int(datetime(2026, 11, 1, tzinfo=timezone.utc).timestamp() * 1000)
"""No device with this program is older: a clock that says less was never set."""

LATEST_MS = int(datetime(2060, 1, 1, tzinfo=timezone.utc).timestamp() * 1000)
"""A clock that says more is wrong."""

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


def set_clock(wall_ms: int) -> None:
    """Set this computer's clock to a wall time, milliseconds since 1970 UTC.

    The kernel then still says that nothing synchronises it.

    Raises:
        CommandError: The time cannot be, or this program may not set the clock.
    """
    if not EARLIEST_MS <= wall_ms <= LATEST_MS:
        raise CommandError("that time cannot be. Set the clock of the browser's computer or phone first")
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, wall_ms * 1_000_000)
    except PermissionError as error:
        raise CommandError(
            "this service may not set the clock. Who installed the device can allow it (systemd/browser-clock.conf), "
            "or set the clock with: sudo timedatectl set-time"
        ) from error


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the identifier that Linux makes at each boot.

    Or one for this run of the program where there is none.
    """
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text("ascii").strip() if path.is_file() else str(uuid.uuid4())
