"""A sample in one line of a list."""

from __future__ import annotations

import json
from typing import Any

from edge.report.words import percent
from edge.sample.sample_row import StoredSample
from edge.sample.store import Store

COLUMNS = ("sample", "day", "state", "red cells", "sickle-like", "fraction", "verdict", "reason")
"""Of `overview`."""


def overview(store: Store, sample: StoredSample) -> tuple[str, ...]:
    """Return a sample as words, in the order of COLUMNS; after review with the person's figures."""
    results = store.results(sample.id)
    try:
        result: dict[str, Any] = json.loads((results[-1] if results else sample.draft) or "")
    except ValueError:
        return (sample.code, sample.day, sample.state, "", "", "", "damaged", sample.reason)
    scanned = sample.state == "scanning"
    before = "reviewed_" if results and result.get("reviewed_red_cells") is not None else ""
    quoted = not scanned and result.get("verdict") == "reported"
    return (
        sample.code,
        sample.day,
        sample.state,
        str(result.get(f"{before}red_cells", "")),
        str(result.get(f"{before}sickle", "")),
        percent(result.get(f"{before}fraction")) if quoted else "–",
        "–" if scanned else str(result.get("verdict", "")),
        sample.reason,
    )
