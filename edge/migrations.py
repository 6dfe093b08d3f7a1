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

_CONTROLS = (
    """
CREATE TABLE control_slides (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    fraction REAL NOT NULL,
    between_run_sd REAL NOT NULL,
    added_ms INTEGER NOT NULL,
    retired_ms INTEGER
)
""",
    "CREATE UNIQUE INDEX one_in_use ON control_slides (name) WHERE retired_ms IS NULL",
    """
CREATE TABLE control_readings (
    id INTEGER PRIMARY KEY,
    slide_id INTEGER NOT NULL REFERENCES control_slides (id),
    read_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    sickle INTEGER NOT NULL,
    red_cells INTEGER NOT NULL CHECK (red_cells > 0 AND sickle BETWEEN 0 AND red_cells),
    detector_sha256 TEXT NOT NULL,
    classifier_sha256 TEXT NOT NULL
)
""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (_OUTBOX, _OUTBOX_ORDER, _OUTBOX_KIND),
    _CONTROLS,
)
"""Each step is statements that run in one transaction with the new version."""
