"""The tables, as the steps that made them: a database that has taken n steps has version n (PRAGMA user_version).

A step that was released is never changed: what comes later is a new step at the end.
"""

from __future__ import annotations

_OUTBOX = """
CREATE TABLE outbox (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('result', 'event', 'telemetry')),
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    crc32 INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'refused')),
    refused_reason TEXT NOT NULL DEFAULT ''
)
"""

_OUTBOX_ORDER = "CREATE INDEX outbox_order ON outbox (state, kind <> 'result')"
_OUTBOX_KIND = "CREATE INDEX outbox_kind ON outbox (kind)"

MIGRATIONS: tuple[tuple[str, ...], ...] = ((_OUTBOX, _OUTBOX_ORDER, _OUTBOX_KIND),)
"""Each step is statements that run in one transaction with the new version."""
