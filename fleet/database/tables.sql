-- All times are milliseconds since 1970 UTC. Columns of messages are in braces: fleet/database/schema.py.
-- One row a device, with what is newest of it. held: numbers of the results that it can send again.
CREATE TABLE IF NOT EXISTS devices (
    id {key},
    site text NOT NULL,
    device text NOT NULL,
    last_seen_ms bigint NOT NULL,
    state text,
    state_reason text,
    state_ms bigint,
    sicklescope_version text,
    runtime text,
    detector_version text,
    classifier_version text,
    classifier_sha256 text,
    camera text,
    birth_ms bigint,
    sample text,
    red_cells bigint,
    sickle bigint,
    progress_ms bigint,
    outbox_pending bigint,
    outbox_refused bigint,
    temperature_c double precision,
    disk_free_mb double precision,
    certificate_ends_ms bigint,
    models_serial bigint,
    models_state text,
    telemetry_ms bigint,
    held text,
    held_ms bigint,
    results_missing bigint NOT NULL DEFAULT 0,
    missing_ms bigint,
    newest_boot bigint,
    newest_boot_ms bigint,
    name_shared_ms bigint,
    UNIQUE (site, device)
);

-- clockless: messages are placed by booted_ms, the earliest wall time at which the device can have booted, by the messages that came.
CREATE TABLE IF NOT EXISTS boots (
    id {key},
    device_id bigint NOT NULL,
    boot_id text NOT NULL,
    booted_ms bigint NOT NULL,
    clockless boolean NOT NULL DEFAULT false,
    UNIQUE (device_id, boot_id)
);

-- The numbers of a program's messages between its start and its end: fleet/rows/sequence.py.
CREATE TABLE IF NOT EXISTS runs (
    id {key},
    boot bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    last_uptime_ms bigint NOT NULL,
    seen bigint NOT NULL,
    dropped bigint NOT NULL,
    connections bigint NOT NULL,
    UNIQUE (boot, first_seq)
);

-- Every result, as it came (payload) and in columns; read_ms: when the sample was read, at_ms: when the result was made.
CREATE TABLE IF NOT EXISTS results (
    id text PRIMARY KEY,
    sample_id text NOT NULL,
    revision bigint NOT NULL,
    device_id bigint NOT NULL,
    boot bigint NOT NULL,
    seq bigint NOT NULL,
    sample text NOT NULL,
    control boolean NOT NULL,
    at_ms bigint NOT NULL,
    read_ms bigint NOT NULL,
    read_day text NOT NULL,
    clock boolean NOT NULL,
    received_ms bigint NOT NULL,
    payload text NOT NULL,
    {results},
    UNIQUE (sample_id, revision)
);

CREATE INDEX IF NOT EXISTS results_by_day ON results (read_day);

CREATE INDEX IF NOT EXISTS results_by_number ON results (device_id, number);

CREATE INDEX IF NOT EXISTS results_by_boot ON results (boot);

-- Samples that were erased, so that no late result of theirs comes back.
CREATE TABLE IF NOT EXISTS tombstones (
    sample_id text PRIMARY KEY,
    erased_ms bigint NOT NULL,
    reason text NOT NULL
);

CREATE TABLE IF NOT EXISTS telemetry (
    boot bigint NOT NULL,
    seq bigint NOT NULL,
    at_ms bigint NOT NULL,
    device_id bigint NOT NULL,
    clock boolean NOT NULL,
    received_ms bigint NOT NULL,
    sample text NOT NULL,
    stages text,
    {telemetry},
    PRIMARY KEY (boot, seq, at_ms)
) {partition};

-- Events, states, births and replies; payload: the whole message.
CREATE TABLE IF NOT EXISTS events (
    boot bigint NOT NULL,
    seq bigint NOT NULL,
    at_ms bigint NOT NULL,
    device_id bigint NOT NULL,
    clock boolean NOT NULL,
    received_ms bigint NOT NULL,
    sample text NOT NULL,
    kind text NOT NULL,
    level text,
    code text,
    text text,
    payload text NOT NULL,
    PRIMARY KEY (boot, seq, at_ms)
) {partition};

CREATE INDEX IF NOT EXISTS telemetry_by_device ON telemetry (device_id, at_ms);

CREATE INDEX IF NOT EXISTS events_by_device ON events (device_id, at_ms);

-- How many messages were refused, and the results among them.
CREATE TABLE IF NOT EXISTS refusals (
    day text NOT NULL,
    site text NOT NULL,
    device text NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL,
    messages bigint NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (day, site, device, kind, reason)
);

CREATE TABLE IF NOT EXISTS set_aside (
    id {key},
    received_ms bigint NOT NULL,
    topic text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    payload {blob} NOT NULL
);
