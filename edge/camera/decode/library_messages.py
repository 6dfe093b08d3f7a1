"""What a library of C writes on the process's stderr while it is called, and says nowhere else."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_OF_LIBRARY = re.compile(r"^(\[[\w,.:]+ @ 0x|\[ ?(ERROR|WARN|INFO)[:@]| \(|Picture )")
"""Lines of FFmpeg and OpenCV; all others are of other threads and are passed on."""


@dataclass
class Messages:
    """The lines that the library wrote."""

    lines: tuple[str, ...] = ()

    def last(self) -> str:
        """Return the last line without its source, as a cause after a colon, or nothing."""
        return f": {self.lines[-1].partition('] ')[2] or self.lines[-1].strip()}" if self.lines else ""


@contextmanager
def library_messages() -> Iterator[Messages]:
    """Gather what the libraries write on stderr within the block."""
    messages = Messages()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as gathered:
        before = os.dup(2)
        os.dup2(gathered.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(before, 2)
            gathered.seek(0)
            lines = gathered.read().decode("utf-8", "replace").splitlines(keepends=True)
            messages.lines = tuple(line.rstrip() for line in lines if _OF_LIBRARY.match(line))
            others = "".join(line for line in lines if not _OF_LIBRARY.match(line))
            if others:
                os.write(before, others.encode())
            os.close(before)
