"""How the log looks in systemd's journal: one line for each entry, with its level and fields to search for.

No picture's file name gets there, for files are sometimes called after patients.
"""

from __future__ import annotations

import json
import logging
import re

_LEVELS = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Python's levels and the journal's (sd-daemon(3)); below the last it is 7."""

_PICTURE = re.compile(
    r"(?:~|\.{0,2})/[^\n]*?\.(?:jpe?g|png|bmp|tiff?|webp|mp4|m4v|mov|avi|mkv|webm|mjpeg|mpe?g)\b", re.IGNORECASE
)
"""A path to a picture or video, whatever is in its names."""


class JournalFormatter(logging.Formatter):
    """Writes `<4>logger=edge.pipeline message="..."`.

    A traceback is one more field, so that an entry is one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry's line."""
        level = next((number for floor, number in _LEVELS if record.levelno >= floor), 7)
        fields = {"logger": record.name, "thread": record.threadName, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        shown = " ".join(f"{name}={_value(text or '')}" for name, text in fields.items())
        return f"<{level}>{shown}"


def _value(text: str) -> str:
    """Return the text as it stands if it is one word, else in quotes, as JSON writes it, so that it stays one line."""
    text = _PICTURE.sub("<picture>", text)
    return text if re.fullmatch(r"[\w.:-]+", text) else json.dumps(text, ensure_ascii=False)
