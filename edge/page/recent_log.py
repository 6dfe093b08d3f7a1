"""The log's last lines, for the page: what `journalctl` shows needs a right that a browser has not."""

from __future__ import annotations

import logging
from collections import deque

KEPT = 200
"""Lines."""


class RecentLog(logging.Handler):
    """Keeps the last lines of the program's log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[tuple[int, str, str]] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append((int(record.created * 1000), record.levelname, record.getMessage()))

    def lines(self) -> list[tuple[int, str, str]]:
        """Return wall time (ms since 1970 UTC), level and text of each line, the newest first."""
        return list(self._lines)[::-1]
