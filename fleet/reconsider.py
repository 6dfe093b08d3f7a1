"""Results that were set aside, read once more."""

from __future__ import annotations

from collections.abc import Mapping

from fleet.database.base import Database
from fleet.rows.received import Arrival
from fleet.rows.writer import Writer, Written


def reconsider(database: Database, kept_days: Mapping[str, int]) -> Written:
    """Write the results that are set aside; those that are refused again stay aside."""
    writer, written = Writer(database, kept_days), Written()
    for row, topic, payload, received_ms in database.rows(
        "SELECT id, topic, payload, received_ms FROM set_aside ORDER BY id"
    ):
        written.add(writer.write([Arrival(topic, bytes(payload), received_ms)]))
        database.execute("DELETE FROM set_aside WHERE id = ?", (row,))  # one refused again has a row anew
    return written
