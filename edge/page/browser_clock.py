"""The device's clock, set from the browser of a person who asks for it, where nothing else sets it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from edge.api.device import Device
from edge.errors import CommandError
from edge.storage.users import Users
from edge.system.clock import EARLIEST_MS, clock_synchronised, set_clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClockState:
    """How far the clock can be believed.

    Attributes:
        now_ms: what it says.
        synchronised: whether the kernel believes it.
        unset: whether it was never set: it says a time before this program was made.
        taken_from: of whose browser it was taken since the service began; empty if of none.
    """

    now_ms: int
    synchronised: bool
    unset: bool
    taken_from: str


class BrowserClock:
    """Sets the clock when asked. Any thread may call it."""

    def __init__(self, device: Device, users: Users) -> None:
        self._device, self._users = device, users
        self._taken_from = ""

    def state(self) -> ClockState:
        """Return how the clock is."""
        synchronised, now_ms = clock_synchronised(), time.time_ns() // 1_000_000
        return ClockState(now_ms, synchronised, not synchronised and now_ms < EARLIEST_MS, self._taken_from)

    def take(self, who: str, browser_ms: str) -> None:
        """Set the clock to what a browser said, milliseconds since 1970 UTC.

        Raises:
            CommandError: The clock is synchronised, a sample is being scanned, or the time cannot be used.
        """
        if not browser_ms.isascii() or not browser_ms.isdigit() or len(browser_ms) > 15:
            raise CommandError(
                "the browser told no time. Allow scripts for this page, or set the clock: sudo timedatectl set-time"
            )
        state = self.state()
        if state.synchronised:
            raise CommandError("the clock is synchronised already, and is left as it is")
        running = self._device.state()
        if running["state"] == "scanning":
            raise CommandError(f"sample {running['sample']} is being scanned. Stop it first; then set the clock")
        set_clock(int(browser_ms))
        self._taken_from = who
        words = f"from {_utc(state.now_ms)} to {_utc(int(browser_ms))}"
        told = f"the clock was set from a browser, {words}; nothing has confirmed it"
        log.warning("%s", told)
        self._device.tell("warning", "clock_set", told)
        self._users.note(who, "set the clock from the browser", words)


def _utc(wall_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_ms // 1000))
