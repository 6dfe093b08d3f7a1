"""Messages that are not in the tables: counted by reason, and kept aside where they are results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone

from edge.publish.result_messages import Result
from fleet.database.base import Database
from fleet.rows.received import Reason, Refused

ASIDE_A_DAY = 1_000
"""Results of one device and reason that are kept aside; more are counted only."""

ASIDE_BYTES = 1_000_000
"""Of a result that is kept aside, at most; then its beginning."""


def write_refusals(database: Database, refused: Sequence[Refused]) -> None:
    """Count messages that were refused, and keep results among them aside."""
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    details: dict[tuple[str, str, str, str, str], Refused] = {}
    for one in refused:
        day = datetime.fromtimestamp(one.arrival.received_ms / 1000, timezone.utc).date().isoformat()
        key = (day, one.site, one.device, one.kind, one.reason.value)
        counts[key] += 1
        details[key] = one
    for key, messages in sorted(counts.items()):
        database.execute(
            "INSERT INTO refusals (day, site, device, kind, reason, messages, detail) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (day, site, device, kind, reason) "
            "DO UPDATE SET messages = refusals.messages + excluded.messages, detail = excluded.detail",
            (*key, messages, _clean(details[key].detail)),
        )
    for one in refused:
        if one.kind == Result.kind and one.reason is not Reason.ERASED:
            _set_aside(database, one)


def _set_aside(database: Database, one: Refused) -> None:
    database.execute(
        "INSERT INTO set_aside (received_ms, topic, reason, detail, payload) SELECT ?, ?, ?, ?, ? "
        "WHERE (SELECT count(*) FROM set_aside WHERE topic = ? AND reason = ? AND received_ms > ?) < ?",
        (one.arrival.received_ms, one.arrival.topic, one.reason.value, _clean(one.detail),
         one.arrival.payload[:ASIDE_BYTES], one.arrival.topic, one.reason.value,
         one.arrival.received_ms - 86_400_000, ASIDE_A_DAY),
    )  # fmt: skip


def _clean(text: str) -> str:
    """Return a text that every database takes: of a foreign message it may hold anything."""
    return text.encode(errors="replace").decode().replace("\0", "�")
