"""What systemd is told: that the service is ready, what it does, and that it lives, while its parts show signs of life.

There is no thread for it. The loop that reads frames calls `turn` each time round, so a reading that hangs falls silent
by itself; for what others do (capture, sending) the loop looks how long ago each was heard of.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from edge.config.environment import Supervisor, supervisor

log = logging.getLogger(__name__)

START_S = 60.0
"""How much more time for its start the service asks for, each time that it shows progress."""


class Heartbeat:
    """Speaks sd_notify(3). Where systemd does not listen, it costs nothing and says nothing.

    Any thread may call `came`; the others are for the one that reads frames. The clock is given by a test, seconds.
    """

    def __init__(self, asked: Supervisor | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        asked = supervisor() if asked is None else asked
        self._address = asked.notify_socket
        # Systemd recommends half of what it waits for; a third leaves room for a long reading.
        self._every_s = (asked.watchdog_s or 3 * START_S) / 3
        self._monotonic = monotonic
        self._limit_s: dict[str, float] = {}
        self._heard_s: dict[str, float] = {}
        self._told_s = float("-inf")
        self._status = ""

    def starting(self, text: str) -> None:
        """Say what the start is at, and ask for more time for it.

        Also while a start that failed is to be repeated.
        """
        self._say(f"EXTEND_TIMEOUT_USEC={int(START_S * 1e6)}", "WATCHDOG=1", f"STATUS={text}")

    def ready(self, text: str) -> None:
        """Say that samples can be read."""
        self._status, self._told_s = text, self._monotonic()
        self._say("READY=1", "WATCHDOG=1", f"STATUS={text}")

    def status(self, text: str) -> None:
        """Say what the service does, for `systemctl status`."""
        if text != self._status:
            self._status = text
            self._say(f"STATUS={text}")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._say("STOPPING=1")

    def register(self, part: str, within_s: float) -> None:
        """From now on, `turn` is silent when `part` was not heard of for so long."""
        self._heard_s[part] = self._monotonic()
        self._limit_s[part] = within_s

    def unregister(self, part: str) -> None:
        """Expect nothing more of `part`: it has ended, or has honestly nothing to do."""
        self._limit_s.pop(part, None)

    def beat(self, part: str) -> None:
        """Take note that `part` showed a sign of life."""
        self._heard_s[part] = self._monotonic()

    def tick(self) -> None:
        """Tell systemd that the loop went round once more, unless a part has fallen silent."""
        now = self._monotonic()
        if now - self._told_s < self._every_s:
            return
        self._told_s = now
        late = {part: now - self._heard_s[part] for part, limit_s in self._limit_s.items()}
        late = {part: silent_s for part, silent_s in late.items() if silent_s > self._limit_s[part]}
        if not late:
            self._say("WATCHDOG=1")
            return
        text = ", ".join(f"{part} silent for {silent_s:.0f} s" for part, silent_s in late.items())
        log.error("%s: systemd is not told that the service lives", text)
        self._say(f"STATUS={text}")

    def _say(self, *lines: str) -> None:
        if self._address is None:
            return
        # A leading @ stands for the NUL byte of Linux's abstract names (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            try:
                notify.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), address)
            except OSError as error:
                log.warning("systemd cannot be told (%s): %s", lines[0], error)
