"""What the fault tests share: how often, what has to be true afterwards, and a line of the measured table."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.faults.device import Stored, digest


def scaled(short: int, full: int) -> int:
    """Return how often: `short` in `make test`, `full` in `make soak`, a part of it with SOAK=0.1."""
    return max(short, round(full * float(os.environ.get("SOAK", "0"))))


def told(what: str, **figures: Any) -> None:
    """Print a line for docs/faults.md; pytest shows it with -s."""
    print(f"\n[{what}] " + ", ".join(f"{name} {value}" for name, value in figures.items()))


def arrived_as_stored(stored: Mapping[str, Stored], results: list[dict[str, Any]]) -> bool:
    """Say that every stored result is there, none under a second UUID, none altered; fails the test by what is not."""
    came: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for result in results:
        came[result["sample"]].add((result["id"], digest(result)))
    twice = {sample: ids for sample, ids in came.items() if len(ids) > 1}
    assert not twice, f"came under two identifiers, or altered: {twice}"
    lost = {sample: one for sample, one in stored.items() if came[sample] != {(one.id, one.digest)}}
    assert not lost, f"stored, and did not arrive so: {lost}"
    return True
