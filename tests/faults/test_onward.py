"""The power goes in mid-sample: the sample is where it was at its last commit, and goes on with each cell once."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.sample.cell_rows import StoredCell
from edge.sample.commands import Reopen, Start, Stop
from edge.sample.sample_row import StoredSample
from edge.sample.store import Store
from edge.storage.database import Database
from edge.types import CLASSES
from tests.faults.disk import Disk
from tests.faults.drawn import STEP_PX, cells_of
from tests.faults.parts import scaled, told
from tests.faults.reading import Reading
from tests.mosquitto import Listener, Mosquitto, wait_for

pytestmark = pytest.mark.faults

WIDTH, HEIGHT, MARGIN_PX = 320, 240, 15
"""Of the drawn frames; and so far from the edge the middle of a cell is, of which all shows."""

GAP = 3
"""Frames of 130 px: no cell of a frame shows in the one so far on."""


def on_the_disk(state: Path) -> tuple[StoredSample, list[StoredCell], dict[str, Any]]:
    """Return the one sample that is kept, its cells, and how far it is."""
    with Database(state / "sicklescope.sqlite3") as database:
        store = Store(database)
        (sample,) = store.newest()
        return sample, store.cells(sample.id), json.loads(sample.draft)


def shown(spans: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return where the slide's cells are, in pixels, that show whole in a frame or more of spans (first, last + 1)."""
    found: set[tuple[int, int]] = set()
    for frame in (frame for span in spans for frame in range(*span)):
        at = cells_of(frame * STEP_PX, 0, WIDTH, HEIGHT)
        within = ((at > MARGIN_PX) & (at < (WIDTH - MARGIN_PX, HEIGHT - MARGIN_PX))).all(1)
        found |= {(int(x) + frame * STEP_PX, int(y)) for x, y in at[within]}
    return found


@pytest.mark.timeout(3600)
def test_a_sample_goes_on_after_power_cuts_with_each_cell_once(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """One sample through all cuts; each other time it is another boot, after which a person has to reopen it.

    When the power is back the slide lies beyond the cells that were kept, and shows again those that were lost with it.
    """
    broker = start_mosquitto()
    chance = random.Random(9)
    cuts = scaled(3, 10)
    revisions = 1 + (cuts + 1) // 2
    spans: list[tuple[int, int]] = []
    frames = 0
    with Disk(tmp_path) as disk, Listener(broker.host, broker.port) as dashboard:
        state = disk.root / "state"
        for number in range(cuts + 1):
            first = spans[-1][1] + GAP if spans else 0
            with Reading(tmp_path, state, broker.port, first, f"boot {(number + 1) // 2}") as reading:
                if not number:
                    began = reading.ask(Start(command="start", by="nurse", sample="K-1"))
                elif number % 2:
                    reading.ask(Reopen(command="reopen", by="nurse", sample="K-1", reason="it is still there"))
                reading.keeps(4)
                if number == cuts:
                    reading.ask(Stop(command="stop", by="nurse"))
                    wait_for(lambda: len({one["id"] for one in dashboard.of("result")}) == revisions)
                else:
                    time.sleep(chance.uniform(0, 0.1))
                    disk.cut(reading.pid)
            if number < cuts:
                disk.restore()
            sample, cells, draft = on_the_disk(state)
            before, frames = frames, draft["fields_read"] + draft["fields_rejected"]
            assert (sample.id, sample.code) == (began["id"], "K-1")
            assert (sample.state == "scanning") == (number < cuts)
            assert frames >= reading.kept, "what was told to be kept is there"
            assert sum(draft[name] for name in (*CLASSES, "abstained")) == len(cells), "both are of one commit"
            spans.append((first, first + frames - before))
    result = max(dashboard.of("result"), key=lambda one: one["revision"])
    # An island each life: its measure begins in the middle of the life's first frame.
    found = [
        (spans[cell.island][0] * STEP_PX + WIDTH / 2 + cell.x_um / 0.25, HEIGHT / 2 + cell.y_um / 0.25)
        for cell in cells
    ]
    apart = np.abs(np.array(found)[:, None] - np.array(sorted(shown(spans)))[None]).max(2)
    assert apart.shape[0] == apart.shape[1]
    near = apart < 2  # pixels; the slide's cells lie much farther from each other
    assert (near.sum(0) == 1).all(), "all that were kept, each once"
    assert (near.sum(1) == 1).all(), "nothing else"
    result = max(dashboard.of("result"), key=lambda one: one["revision"])
    assert (result["sample_id"], result["revision"]) == (sample.id, revisions)
    assert (result["interruptions"], result["islands"], "interrupted" in result["flags"]) == (cuts, cuts + 1, True)
    assert result["cells_seen"] == len(cells) + result["border"]
    told("power cuts in mid-sample", cuts=cuts, frames=frames, cells=len(cells), revisions=revisions)
