"""The digest by which a file is known."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal digits; raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
