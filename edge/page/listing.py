"""Samples as a list: found by code and state, a page at a time, each with the figures of its newest result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from edge.errors import DamagedSampleError
from edge.sample.lifecycle import Lifecycle
from edge.sample.sample_row import State, StoredSample
from edge.storage.database import Database
from edge.types import CLASSES, Exclusion

LISTED = 50
"""Samples on a page of the list."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a result says; after review the person's figures.

    Attributes:
        status: of the verdict.
        red_cells: denominator.
        sickle: sickle-like cells of them.
        fraction: of red cells, 0 to 1; None where none is given.
        low: lower end of its 95 % interval.
        high: upper end.
        above_blank: whether the lower end is above the limit of blank; None where that is not said.
        reviewed_cells: cells that a person looked at.
        automatic: cells by class, and `abstained` and `border`, as the classifier said.
        reviewed: cells by class and `abstained` after review; empty without one.
        text: the verdict in words, in the design's wording.
        flags: of the verdict.
    """

    status: Literal["insufficient", "reported", "withheld"]
    red_cells: int
    sickle: int
    fraction: float | None
    low: float | None
    high: float | None
    above_blank: bool | None
    reviewed_cells: int
    automatic: dict[str, int]
    reviewed: dict[str, int]
    text: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedSample:
    """A sample of the list.

    figures: None while it is scanned, or where what is stored is damaged.
    """

    id: str
    code: str
    day: str
    state: State
    reason: str
    changed_ms: int
    figures: Figures | None


def figures_of(result: Mapping[str, Any]) -> Figures:
    """Return what a stored result says.

    Raises:
        KeyError: It is no whole result.
    """
    reviewed = result.get("reviewed_red_cells") is not None
    before = "reviewed_" if reviewed else ""
    names = (*CLASSES, Exclusion.ABSTAINED.value)
    return Figures(
        status=result["verdict"],
        red_cells=result[f"{before}red_cells"],
        sickle=result[f"{before}sickle"],
        fraction=result[f"{before}fraction"],
        low=result[f"{before}fraction_low"],
        high=result[f"{before}fraction_high"],
        # The limit of blank is that of the classifier, not of a person.
        above_blank=None if reviewed else result["above_blank"],
        reviewed_cells=result.get("reviewed_cells") or 0,
        automatic={name: result[name] for name in (*names, Exclusion.BORDER.value)},
        reviewed={name: result[f"reviewed_{name}"] for name in names} if reviewed else {},
        text=result["text"],
        flags=tuple(result["flags"].split(",")) if result["flags"] else (),
    )


def figures_now(lifecycle: Lifecycle, sample: StoredSample) -> Figures | None:
    """Return what is said of a sample with all answers so far; None where nothing can be."""
    if sample.state == "scanning":
        return None
    try:
        record = lifecycle.record(sample)
    except DamagedSampleError:
        return None
    reviewed, verdict = lifecycle.concluded(sample, record, sample.state == "final")
    return Figures(
        status=verdict.status,
        red_cells=reviewed.red_cells if reviewed else verdict.red_cells,
        sickle=reviewed.counts["sickle"] if reviewed else verdict.sickle,
        fraction=reviewed.fraction if reviewed else verdict.fraction,
        low=reviewed.low if reviewed else verdict.low,
        high=reviewed.high if reviewed else verdict.high,
        above_blank=verdict.above_blank,
        reviewed_cells=reviewed.cells if reviewed else 0,
        automatic={**record.counts.by_class, **record.counts.excluded},
        reviewed=reviewed.counts if reviewed else {},
        text=verdict.text,
        flags=verdict.flags,
    )


def listing(
    database: Database, search: str, state: str, offset: int = 0, limit: int = LISTED
) -> tuple[int, list[ListedSample]]:
    """Return how many samples fit, and a page of them, the newest first.

    Args:
        database: of the device.
        search: part of the code.
        state: only samples in it; any when empty.
        offset: leave out so many.
        limit: return at most so many.
    """
    part = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    fits = "FROM samples s WHERE code LIKE ?1 ESCAPE '\\' AND (?2 = '' OR state = ?2)"
    ((total,),) = database.read(f"SELECT COUNT(*) {fits}", part, state)
    rows = database.read(
        f"SELECT id, code, day, state, reason, changed_ms, (SELECT payload FROM results r WHERE r.sample_id = s.id "  # noqa: S608
        f"ORDER BY revision DESC LIMIT 1) {fits} ORDER BY s.rowid DESC LIMIT ?4 OFFSET ?3",
        part, state, offset, limit,
    )  # fmt: skip
    return total, [
        ListedSample(id_, code, day, cast("State", state_), reason, changed_ms, _figures(payload, state_))
        for id_, code, day, state_, reason, changed_ms, payload in rows
    ]


def _figures(payload: str | None, state: str) -> Figures | None:
    if payload is None or state == "scanning":
        return None
    try:
        return figures_of(json.loads(payload))
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged: the sample's own page says so
        return None
