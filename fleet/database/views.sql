-- What a dashboard asks. Times end in _ms (milliseconds since 1970 UTC) or are timestamps without it; days are UTC.

-- The newest revision of each sample that was neither discarded nor erased; control slides have control = true.
CREATE VIEW samples AS
SELECT d.site, d.device, TIMESTAMP(r.read_ms) AS read_at, TIMESTAMP(r.at_ms) AS result_at, r.*
FROM results r
JOIN devices d ON d.id = r.device_id
WHERE r.stage <> 'discarded'
  AND NOT EXISTS (SELECT 1 FROM results later WHERE later.sample_id = r.sample_id AND later.revision > r.revision)
  AND NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.sample_id = r.sample_id);

-- unheard_ms: time since its last message, by the collector's clock at the last message of any device.
CREATE VIEW devices_now AS
SELECT d.site, d.device, coalesce(d.state, 'unknown') AS state, coalesce(d.state_reason, '') AS reason,
       TIMESTAMP(d.last_seen_ms) AS last_seen, d.last_seen_ms,
       (SELECT max(last_seen_ms) FROM devices) - d.last_seen_ms AS unheard_ms,
       d.sample, d.red_cells, d.sickle, d.outbox_pending, d.outbox_refused, d.temperature_c, d.disk_free_mb,
       d.sicklescope_version, d.classifier_version, d.runtime, d.models_serial, d.models_state,
       TIMESTAMP(d.name_shared_ms) AS name_shared_at
FROM devices d;

-- The devices that are known to the broker by a certificate, the first to end first; days_left by the collector's clock.
CREATE VIEW certificates AS
SELECT site, device, TIMESTAMP(certificate_ends_ms) AS ends, certificate_ends_ms,
       CAST((certificate_ends_ms - (SELECT max(last_seen_ms) FROM devices)) / 86400000.0 AS double precision) AS days_left
FROM devices
WHERE certificate_ends_ms IS NOT NULL
ORDER BY certificate_ends_ms;

CREATE VIEW samples_a_day AS
SELECT site, device, read_day, count(*) AS samples,
       count(*) FILTER (WHERE verdict = 'reported') AS reported,
       count(*) FILTER (WHERE verdict = 'insufficient') AS insufficient,
       count(*) FILTER (WHERE verdict = 'withheld') AS withheld,
       count(*) FILTER (WHERE above_blank) AS above_blank,
       count(*) FILTER (WHERE stage = 'incomplete') AS incomplete,
       count(*) FILTER (WHERE stage = 'final') AS final
FROM samples
WHERE NOT control
GROUP BY site, device, read_day;

-- Cells called sickle-like of all red cells at a site. The interval is that between samples (ratio estimator, each
-- sample one cluster), which a pooled Wilson interval would understate; null below 10 samples.
CREATE VIEW sickle_fraction_by_site AS
SELECT site, samples, red_cells, sickle, CAST(fraction AS double precision) AS fraction,
       CAST(CASE WHEN samples >= 10 THEN CASE WHEN fraction > 1.96 * error THEN fraction - 1.96 * error ELSE 0.0 END END
            AS double precision) AS fraction_low,
       CAST(CASE WHEN samples >= 10 THEN CASE WHEN fraction + 1.96 * error < 1 THEN fraction + 1.96 * error ELSE 1.0 END END
            AS double precision) AS fraction_high
FROM (
    SELECT site, samples, red_cells, sickle, fraction,
           sqrt(CASE WHEN squares > 0 AND samples > 1 THEN squares * samples / (samples - 1) ELSE 0.0 END) / red_cells AS error
    FROM (
        SELECT site, samples, red_cells, sickle, 1.0 * sickle / red_cells AS fraction,
               sickle_sickle - 2.0 * sickle_red * sickle / red_cells
               + red_red * (1.0 * sickle / red_cells) * (1.0 * sickle / red_cells) AS squares
        FROM (
            SELECT site, count(*) AS samples, CAST(sum(red_cells) AS bigint) AS red_cells,
                   CAST(sum(sickle) AS bigint) AS sickle, sum(1.0 * sickle * sickle) AS sickle_sickle,
                   sum(1.0 * sickle * red_cells) AS sickle_red, sum(1.0 * red_cells * red_cells) AS red_red
            FROM samples
            WHERE NOT control AND verdict = 'reported' AND red_cells > 0
            GROUP BY site
        ) AS sums
    ) AS ratios
) AS errors;

-- Samples above the limit of blank of those that say, with Wilson's 95 % interval.
CREATE VIEW above_blank_by_site AS
SELECT site, samples, above_blank, CAST(share AS double precision) AS share,
       CAST((middle - reach) / (1 + 3.8416 / samples) AS double precision) AS share_low,
       CAST((middle + reach) / (1 + 3.8416 / samples) AS double precision) AS share_high
FROM (
    SELECT site, samples, above_blank, share, share + 1.9208 / samples AS middle,
           1.96 * sqrt((share * (1 - share) + 0.9604 / samples) / samples) AS reach
    FROM (
        SELECT site, count(*) AS samples, count(*) FILTER (WHERE above_blank) AS above_blank,
               1.0 * count(*) FILTER (WHERE above_blank) / count(*) AS share
        FROM samples
        WHERE NOT control AND above_blank IS NOT NULL
        GROUP BY site
    ) AS counted
) AS parts;

-- Hours from reading a sample to its review, and how many still wait.
CREATE VIEW review_lag AS
SELECT site, device, waiting, TIMESTAMP(waiting_since_ms) AS waiting_since, reviewed, mean_hours, longest_hours
FROM (
    SELECT site, device, count(*) FILTER (WHERE stage = 'review') AS waiting,
           min(CASE WHEN stage = 'review' THEN read_ms END) AS waiting_since_ms,
           count(*) FILTER (WHERE stage = 'final') AS reviewed,
           CAST(avg(CASE WHEN stage = 'final' THEN (at_ms - read_ms) / 3600000.0 END) AS double precision) AS mean_hours,
           CAST(max(CASE WHEN stage = 'final' THEN (at_ms - read_ms) / 3600000.0 END) AS double precision) AS longest_hours
    FROM samples
    WHERE NOT control
    GROUP BY site, device
) AS lags;

-- The newest reading of each control slide; failed: since when the device said so.
CREATE VIEW control_state AS
SELECT s.site, s.device, s.sample AS control_slide, s.read_at, s.read_ms, s.sickle, s.red_cells, s.fraction, s.verdict,
       (SELECT text FROM events e WHERE e.device_id = s.device_id AND e.kind = 'event' AND e.code = 'control'
        AND e.at_ms >= s.read_ms ORDER BY e.at_ms DESC LIMIT 1) AS failed
FROM samples s
WHERE s.control AND NOT EXISTS (
    SELECT 1 FROM samples later
    WHERE later.control AND later.device_id = s.device_id AND later.sample = s.sample AND later.read_ms > s.read_ms
);

-- Messages that are not in the tables, and why; results among them are in set_aside.
CREATE VIEW refusals_by_reason AS
SELECT day, site, device, kind, reason, messages, detail FROM refusals;

-- Frames that devices could not use, by reason and day.
CREATE VIEW fields_rejected_a_day AS
SELECT site, device, read_day, {rejections}
FROM samples
WHERE NOT control
GROUP BY site, device, read_day;

CREATE VIEW versions_in_the_field AS
SELECT site, coalesce(sicklescope_version, 'unknown') AS sicklescope_version,
       coalesce(classifier_version, 'unknown') AS classifier_version, count(*) AS devices
FROM devices
GROUP BY site, sicklescope_version, classifier_version;

-- results_missing: results that a device holds and that are not here; it sends them again when asked (docs/fleet.md).
-- messages_missing: numbers that its program gave to messages and that did not come, less what it says it never sent and
-- one last will for each connection; so a loss of one message may go unnoticed.
CREATE VIEW missing AS
SELECT site, device, results_missing, CAST(sum(missing) AS bigint) AS messages_missing
FROM (
    SELECT d.site, d.device, d.results_missing,
           CASE WHEN r.last_seq - r.first_seq + 1 > r.seen + r.dropped + r.connections
                THEN r.last_seq - r.first_seq + 1 - r.seen - r.dropped - r.connections ELSE 0 END AS missing
    FROM devices d JOIN boots b ON b.device_id = d.id JOIN runs r ON r.boot = b.id
) AS gaps
GROUP BY site, device, results_missing;
