"""Checksums of rows whose change on the disk must be noticed: as SQL, and as the same numbers made here.

A row that version 0.6 wrote has none where it is not small: NULL is taken for whole.
"""

from __future__ import annotations

import sqlite3
import zlib

NUMBER_WEIGHT = 1_000_003
"""What a cell's number adds to a checksum for each one: a number that changes needs no other column to follow it."""

SAMPLE = (
    "crc32(CAST(id || '|' || code || '|' || day || '|' || interruptions || '|' || session || '|' || cells || '|' || "
    "reviews || '|' || setup || '|' || draft AS BLOB))"
)
RESULT = "crc32(CAST(id || '|' || sample_id || '|' || revision || '|' || payload AS BLOB))"

CELL_CALL = "crc32(CAST(COALESCE(class, '') || '|' || prob AS BLOB))"
"""The part of a cell's checksum that its class and probabilities give."""

_PLACE = "|| '|' ||".join(
    ("island", "CAST(ROUND(x_um * 100) AS INTEGER)", "CAST(ROUND(y_um * 100) AS INTEGER)", "field",
     "CAST(ROUND(score * 10000) AS INTEGER)")
)  # fmt: skip
"""Fractions as whole numbers, for versions of SQLite write them in different ways."""

CELL = f"({CELL_CALL} + number * {NUMBER_WEIGHT} + crc32(CAST({_PLACE} AS BLOB)))"
REVIEW = (
    "(crc32(CAST(class || '|' || by || '|' || reason || '|' || made_ms || '|' || reading || '|' || old || '|' || drawn "
    "AS BLOB)) "
    f"+ number * {NUMBER_WEIGHT})"
)
MARK = (
    "crc32(CAST(mark || '|' || field || '|' || x || '|' || y || '|' || class || '|' || by || '|' || reason || '|' || "
    "made_ms AS BLOB))"
)


def install(connection: sqlite3.Connection) -> None:
    """Let SQL use `crc32`, and let text that is none be read.

    Who compares checksums sees that it is damaged.
    """
    connection.create_function("crc32", 1, _crc32, deterministic=True)
    connection.text_factory = _text


def checksum(*values: object) -> int:
    """Return the checksum of a row's columns, as SAMPLE and RESULT do."""
    return zlib.crc32("|".join(str(value) for value in values).encode())


def _crc32(value: bytes | None) -> int:
    return -1 if value is None else zlib.crc32(value)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
