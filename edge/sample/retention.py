"""How long samples and pictures are kept; results are never shortened."""

from __future__ import annotations

import logging
import time

from edge.config.model import RetentionConfig
from edge.sample.lifecycle import DEVICE, Lifecycle
from edge.sample.sample_row import Moment

log = logging.getLogger(__name__)

DAY_MS = 86_400_000

_DATED = """
state != 'scanning' AND changed_ms < ? AND
(SELECT clock_synchronised FROM history h WHERE h.sample_id = samples.id ORDER BY h.id DESC LIMIT 1)
"""
"""Samples that were last changed before a time, by a clock that could be believed."""


PICTURES = ("field_pictures", "crops")
"""Tables of pictures, those first that are missed least."""

SWEEP_S = 0.5
"""How long one sweep may erase samples; the rest waits for the next, so that reading is not held up."""


def sweep(lifecycle: Lifecycle, limits: RetentionConfig, moment: Moment) -> bool:
    """Remove what is kept longer than it may be.

    Return whether something is left for the next sweep.

    Ages count only where the clock is synchronised now and was then: a clock that leaps must not erase a clinic's
    work.
    """
    left = False
    if moment.clock_synchronised:
        if limits.images_days is not None:
            for table in PICTURES:
                lifecycle.store.database.write(
                    f"DELETE FROM {table} WHERE sample_id IN (SELECT id FROM samples WHERE {_DATED})",  # noqa: S608
                    moment.made_ms - limits.images_days * DAY_MS,
                )
        if limits.samples_days is not None:
            left = _erase_old(lifecycle, limits.samples_days, moment)
    _keep_budget(lifecycle, limits.images_mb * 1_000_000)
    return left


def _erase_old(lifecycle: Lifecycle, days: int, moment: Moment) -> bool:
    """Erase samples not changed for so long whose results have left; return whether some are left."""
    found = lifecycle.store.database.read(
        f"SELECT id FROM samples WHERE {_DATED} AND NOT EXISTS "  # noqa: S608
        "(SELECT 1 FROM results r JOIN outbox o ON o.id = r.id WHERE r.sample_id = samples.id)",
        moment.made_ms - days * DAY_MS,
    )
    deadline_s, erased = time.monotonic() + SWEEP_S, 0
    for (sample_id,) in found:
        log.info("sample %s is erased: it was kept for %d days", sample_id, days)
        lifecycle.erase_rows(lifecycle.store.find(sample_id), DEVICE, f"kept for {days} days")
        erased += 1
        if time.monotonic() >= deadline_s:
            break
    if erased:
        lifecycle.forget()
    return erased < len(found)


def _keep_budget(lifecycle: Lifecycle, budget_bytes: int) -> None:
    """Remove pictures, a sample's at a time, until the rest fits: fields first, then reviewed first, oldest first."""
    database = lifecycle.store.database
    found = [
        (table, sample_id, size)
        for table in PICTURES
        for sample_id, size in database.read(
            f"SELECT s.id, SUM(LENGTH(c.jpeg)) FROM samples s JOIN {table} c ON c.sample_id = s.id "  # noqa: S608
            "WHERE s.state != 'scanning' GROUP BY s.id ORDER BY s.state NOT IN ('final', 'discarded'), s.rowid"
        )
    ]
    left = sum(size for _, _, size in found)
    for table, sample_id, size in found:
        if left <= budget_bytes:
            return
        log.info("the %s of sample %s are removed: all take more than %d bytes", table, sample_id, budget_bytes)
        database.write(f"DELETE FROM {table} WHERE sample_id = ?", sample_id)  # noqa: S608
        left -= size
