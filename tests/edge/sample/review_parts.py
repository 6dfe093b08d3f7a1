"""A sample that a person may review: its cells, its counts, and what is done with it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from edge.publish.result_messages import Result
from edge.sample.cell_records import CellChanges, LocatedCell
from edge.sample.commands import parse
from edge.sample.handlers import NoScanner, perform
from edge.sample.lifecycle import Lifecycle
from edge.sample.review.field_pictures import field_picture
from edge.sample.sample_row import StoredSample
from edge.screening.sample_record import SampleRecord
from edge.screening.verdict import VerdictRules, assess
from edge.types import CLASSES, Counts, Exclusion, Reason
from tests.edge.publish.publish_parts import record

PIXELS = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
BOXES = np.array([[8, 6, 16, 12]], np.float32)


def cells_of(normal: int, sickle: int, abstained: int) -> CellChanges:
    """Return cells, the normal ones first, each with a picture, on one field that is kept."""
    names = ["normal"] * normal + ["sickle"] * sickle + [None] * abstained
    cells = tuple(
        LocatedCell(number, 0, 1.5 * number, 0.0, 0, 0.8, name, tuple(0.9 if name == one else 0.02 for one in CLASSES))
        for number, name in enumerate(names)
    )
    picture = field_picture(PIXELS, 0, 0.25, [normal], BOXES)
    return CellChanges((), cells, (), {cell.number: b"jpeg" for cell in cells}, picture=picture)


def counted(code: str, normal: int, sickle: int, abstained: int) -> SampleRecord:
    counts = Counts(
        by_class={**dict.fromkeys(CLASSES, 0), "normal": normal, "sickle": sickle},
        excluded={Exclusion.ABSTAINED.value: abstained, Exclusion.BORDER.value: 0},
        rejected={reason.value: 0 for reason in Reason},
        cells_seen=normal + sickle + abstained,
        fields_read=1,
        area_mm2=0.1,
    )
    return replace(record(code), counts=counts, verdict=assess(counts, VerdictRules(500, 1000, 0.003)))


def ended(
    lifecycle: Lifecycle, code: str = "K-1", normal: int = 620, sickle: int = 20, abstained: int = 5, **end: Any
) -> StoredSample:
    found = counted(code, normal, sickle, abstained)
    # Which cells are drawn at random follows from the identifier.
    ((before,),) = lifecycle.database.read("SELECT count(*) FROM samples")
    found = replace(found, sample_id=uuid5(NAMESPACE_OID, f"{code} {before}"))
    sample = lifecycle.start(found, "{}", "nurse")
    changes = cells_of(normal, sickle, abstained)
    return lifecycle.end(sample, found, [changes], end.get("stage", "review"), end.get("reason", "")).sample


def do(lifecycle: Lifecycle, sample: StoredSample, by: str = "Dr A", **said: Any) -> dict[str, Any]:
    asked = {"command": "review", "sample": sample.id, "by": by, **said}
    return perform(parse(json.dumps(asked).encode()), lifecycle, NoScanner(lifecycle))


def result(lifecycle: Lifecycle, sample: StoredSample) -> Result:
    return Result.model_validate_json(lifecycle.store.results(sample.id)[-1] or "")
