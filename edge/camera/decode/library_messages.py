"""What a library of C writes on the process's stderr while it is called, and says nowhere else."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_OF_LIBRARY = re.compile(
    r"^(\[[\w,.:]+ @ 0x|\[ ?(ERROR|WARN|INFO)[:@]| \(|Picture |lib(png|jpeg|tiff|webp) |TIFF|Corrupt JPEG|Premature|$)"
)
"""Lines of FFmpeg, OpenCV and the libraries beneath; all others are of other threads and are passed on."""

_WHERE = re.compile(r"^(\[[^\]]*\] ?)?(global \S+ \w+ )?(.*error: \([^)]*\) )?|( in function '[^']*')?$")
"""Where in a library's source a line comes from: of no use to a person who wants to know about a file."""


@dataclass
class Messages:
    """The lines that the library wrote."""

    lines: tuple[str, ...] = ()

    def last(self) -> str:
        """Return the last line without its source, as a cause after a colon, or nothing."""
        said = [line for line in self.lines if line]
        return f": {_WHERE.sub('', said[-1]).strip()}" if said else ""


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
