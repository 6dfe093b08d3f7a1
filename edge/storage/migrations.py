"""The tables, as the steps that made them; after n steps the user_version is n.

A step that was released is never changed: what comes later is a new step at the end.
"""

from __future__ import annotations

from edge.storage import checksums

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
    sample_id TEXT NOT NULL UNIQUE,
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

_SAMPLES = (
    """
CREATE TABLE samples (
    id TEXT PRIMARY KEY NOT NULL,
    code TEXT NOT NULL,
    day TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('scanning', 'review', 'incomplete', 'final', 'discarded')),
    reason TEXT NOT NULL DEFAULT '',
    interruptions INTEGER NOT NULL DEFAULT 0,
    boot_id TEXT NOT NULL,
    uptime_s REAL NOT NULL,
    changed_ms INTEGER NOT NULL,
    setup TEXT NOT NULL,
    draft TEXT NOT NULL
)
""",
    # One sample is scanned at a time, and a code is used once a day: kept by the database, whoever writes to it.
    "CREATE UNIQUE INDEX one_is_scanned ON samples (state) WHERE state = 'scanning'",
    "CREATE UNIQUE INDEX once_a_day ON samples (code, day) WHERE state != 'discarded'",
    """
CREATE TABLE cells (
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    island INTEGER NOT NULL,
    x_um REAL NOT NULL,
    y_um REAL NOT NULL,
    field INTEGER NOT NULL,
    score REAL NOT NULL,
    class TEXT,
    prob TEXT NOT NULL,
    PRIMARY KEY (sample_id, number)
) WITHOUT ROWID
""",
    """
CREATE TABLE crops (
    sample_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    jpeg BLOB NOT NULL,
    PRIMARY KEY (sample_id, number),
    FOREIGN KEY (sample_id, number) REFERENCES cells (sample_id, number) ON DELETE CASCADE ON UPDATE CASCADE
)
""",
    """
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY,
    sample_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    class TEXT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL,
    FOREIGN KEY (sample_id, number) REFERENCES cells (sample_id, number) ON DELETE CASCADE ON UPDATE CASCADE
)
""",
    "CREATE INDEX reviews_of_a_cell ON reviews (sample_id, number)",
    """
CREATE TABLE results (
    id TEXT PRIMARY KEY NOT NULL,
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    revision INTEGER NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (sample_id, revision)
)
""",
    """
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    by TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL
)
""",
    """
CREATE TABLE tombstones (
    sample_id TEXT PRIMARY KEY NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    erased_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL
)
""",
)

_SESSIONS = ("ALTER TABLE samples ADD COLUMN session TEXT NOT NULL DEFAULT ''",)

_CHECKSUMS = (
    *(f"ALTER TABLE samples ADD COLUMN {table} INTEGER NOT NULL DEFAULT 0" for table in ("cells", "reviews")),
    "UPDATE samples SET cells = (SELECT COUNT(*) FROM cells WHERE sample_id = samples.id), "
    "reviews = (SELECT COUNT(*) FROM reviews WHERE sample_id = samples.id)",
    *(f"ALTER TABLE {table} ADD COLUMN crc32 INTEGER" for table in ("samples", "results", "cells", "reviews")),
    f"UPDATE samples SET crc32 = {checksums.SAMPLE}",  # noqa: S608
    f"UPDATE results SET crc32 = {checksums.RESULT}",  # noqa: S608
)

_UNHEARD = (
    # Whether the broker took the message when nobody subscribed: it waits to be sent again.
    "ALTER TABLE outbox ADD COLUMN unheard INTEGER NOT NULL DEFAULT 0",
)

_REVIEW = (
    "ALTER TABLE reviews ADD COLUMN reading TEXT NOT NULL DEFAULT 'first'",
    # The class in force before the answer; empty where an older version did not keep it.
    "ALTER TABLE reviews ADD COLUMN old TEXT NOT NULL DEFAULT ''",
    # Whether the cell was one of those called normal that were drawn at random.
    "ALTER TABLE reviews ADD COLUMN drawn INTEGER NOT NULL DEFAULT 0",
    # A row that is not what was written stays one: only right checksums are made anew.
    f"UPDATE reviews SET crc32 = {checksums.REVIEW} WHERE crc32 = "  # noqa: S608
    f"crc32(CAST(class || '|' || by || '|' || reason || '|' || made_ms AS BLOB)) + number * {checksums.NUMBER_WEIGHT}",
    # A cell that the detector missed, marked on the picture of its field; the newest row of a mark counts.
    """
CREATE TABLE marks (
    id INTEGER PRIMARY KEY,
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    mark INTEGER NOT NULL,
    field INTEGER NOT NULL,
    x INTEGER NOT NULL,
    y INTEGER NOT NULL,
    class TEXT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL,
    crc32 INTEGER NOT NULL
)
""",
    "CREATE INDEX marks_of_a_sample ON marks (sample_id, mark)",
    """
CREATE TABLE notes (
    id INTEGER PRIMARY KEY,
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    by TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL
)
""",
    "CREATE INDEX notes_of_a_sample ON notes (sample_id)",
    """
CREATE TABLE field_pictures (
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    field INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    um_per_px REAL NOT NULL,
    boxes TEXT NOT NULL,
    jpeg BLOB NOT NULL,
    PRIMARY KEY (sample_id, field)
)
""",
    # Files that were written of a sample: erasing it removes those that are still what was written.
    """
CREATE TABLE exports (
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (sample_id, path)
)
""",
    # Outlives the pictures: what a flash card has written is not unwritten when they are removed.
    "CREATE TABLE picture_writes (day TEXT PRIMARY KEY NOT NULL, bytes INTEGER NOT NULL)",
)

NEW_BLOCK = "UPDATE {table} SET last = (last / 1000000 + 1 + abs(random() % 999999)) * 1000000"
"""Lets the numbers of results go on at a million drawn by chance, in a new or a restored database: what another copy
of it numbered since is not numbered again."""

_RESULT_NUMBERS = (
    "ALTER TABLE results ADD COLUMN number INTEGER",
    # With the identifier, so that the payloads are not read for it. Not unique: a changed bit must not keep new
    # results from being stored.
    "CREATE INDEX results_by_number ON results (number, id)",
    "CREATE TABLE result_numbers (last INTEGER NOT NULL)",
    "INSERT INTO result_numbers (last) VALUES (0)",
    NEW_BLOCK.format(table="result_numbers"),
)

_USERS = (
    "CREATE TABLE users (name TEXT PRIMARY KEY NOT NULL, roles TEXT NOT NULL, password TEXT NOT NULL)",
    """
CREATE TABLE logins (
    token_sha256 TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    boot_id TEXT NOT NULL,
    began_s REAL NOT NULL,
    used_s REAL NOT NULL
)
""",
    "CREATE TABLE page_key (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL)",
    """
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    made_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
)
""",
    "CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is not changed'); END",
)

_BLANK_SLIDES = (
    """
CREATE TABLE blank_slides (
    sample_id TEXT PRIMARY KEY NOT NULL,
    code TEXT NOT NULL,
    sickle INTEGER NOT NULL,
    red_cells INTEGER NOT NULL CHECK (red_cells > 0 AND sickle BETWEEN 0 AND red_cells),
    person TEXT NOT NULL,
    stain TEXT NOT NULL,
    method TEXT NOT NULL CHECK (method IN ('hplc', 'electrophoresis')),
    anaemic INTEGER NOT NULL,
    day TEXT NOT NULL,
    read_ms INTEGER NOT NULL,
    detector_sha256 TEXT NOT NULL,
    classifier_sha256 TEXT NOT NULL,
    optics TEXT NOT NULL,
    added_ms INTEGER NOT NULL
)
""",
    # Of an erased sample the counts stay, and neither its code nor the person's.
    "CREATE TRIGGER blank_slide_of_an_erased_sample AFTER DELETE ON samples BEGIN "
    "UPDATE blank_slides SET code = '', person = 'erased' WHERE sample_id = OLD.id; END",
)

_KNOWN_CELLS = (
    # What a reader of one sample said of settled cells of others, which were mixed into its gallery.
    """
CREATE TABLE known_answers (
    id INTEGER PRIMARY KEY,
    sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    reading TEXT NOT NULL,
    known_sample_id TEXT NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    known_number INTEGER NOT NULL,
    truth TEXT NOT NULL,
    class TEXT NOT NULL,
    by TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    clock_synchronised INTEGER NOT NULL,
    after_review INTEGER NOT NULL
)
""",
    "CREATE INDEX known_answers_of_a_sample ON known_answers (sample_id, reading)",
    "CREATE INDEX known_answers_by_their_cells ON known_answers (known_sample_id)",
    "CREATE INDEX second_readings ON reviews (sample_id) WHERE reading = 'second'",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (_OUTBOX, _OUTBOX_ORDER, _OUTBOX_KIND),
    _CONTROLS,
    _SAMPLES,
    _SESSIONS,
    _CHECKSUMS,
    _UNHEARD,
    _REVIEW,
    _RESULT_NUMBERS,
    _USERS,
    _BLANK_SLIDES,
    _KNOWN_CELLS,
)
"""Each step is statements that run in one transaction with the new version."""
