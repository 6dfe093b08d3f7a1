"""The public contract of `sicklescope scan`: the lines of fields.jsonl and the whole of summary.json.

These models are the source; `python -m edge.screening.records docs/schemas` writes the JSON Schemas from them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from edge.screening.tally import field_score
from edge.types import ABSTAINED, CLASSES, RED_CELLS, Counts, Exclusion, FieldReading, Reason, Verdict

COUNTED = (*CLASSES, *(reason.value for reason in Exclusion))
"""Names of the counts of a field: its classes, then why a cell is in none of them."""

PROBABILITY_DIGITS = 6
PIXEL_DIGITS = 2
MICROMETRE_DIGITS = 5


@dataclass(frozen=True)
class Keyed:
    """Annotation of a mapping that has exactly these keys, checked and written into the schema."""

    keys: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the keys after the mapping itself."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Name the keys in the schema."""
        return {**handler(schema), "required": list(self.keys), "propertyNames": {"enum": list(self.keys)}}

    def _checked(self, value: dict[str, Any]) -> dict[str, Any]:
        if set(value) != set(self.keys):
            raise ValueError(f"has keys {', '.join(value)}; expected {', '.join(self.keys)}")
        return value


Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
ClassName = Annotated[str, Field(json_schema_extra={"enum": list(CLASSES)})]


class Record(BaseModel):
    """A part of the contract: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RejectedRecord(Record):
    """Why a field was not read: what was measured, and the limit it missed."""

    reason: Reason
    value: float
    limit: float


class CellRecord(Record):
    """One cell. box: x0, y0, x1, y1 in pixels of the given image. class: null when the classifier abstained."""

    box: tuple[float, float, float, float]
    score: Fraction
    class_: Annotated[ClassName | None, Field(alias="class")]
    prob: Annotated[dict[str, Fraction], Keyed(CLASSES)]


class FieldRecord(Record):
    """A line of fields.jsonl: one image, or one frame of a video (named `file#index`).

    Width and height are of the upright image, 0 when it could not be read; um_per_px and scale_source are null when
    the scale is not known. Cells cut by the border are in counts only. rbc: normal + sickle + other.
    sickle_fraction: null without red cells. field_score: 0 for a rejected field, which shows no evidence either way.
    """

    image: str
    width: Count
    height: Count
    um_per_px: Annotated[float, Field(gt=0.0)] | None
    scale_source: Literal["configured", "estimated", "locked"] | None
    rejected: RejectedRecord | None
    cells: list[CellRecord]
    counts: Annotated[dict[str, Count], Keyed(COUNTED)]
    rbc: Count
    sickle_fraction: Fraction | None
    field_score: Fraction


class ModelRecord(Record):
    """A network that was used. runtime: backend, version and precision. sha256: digest of its file."""

    name: str
    version: str
    sha256: str
    runtime: str
    thresholds: dict[str, float]
    temperature: float
    training_data: list[str]


class ScaleRecord(Record):
    """Scales of the fields that were read, in µm/px. spread: median relative interquartile range behind an estimate."""

    sources: list[str]
    median: float
    lowest: float
    highest: float
    spread: float


class VerdictRecord(Record):
    """What the counts allow to be said; fractions are of red cells, the interval is Wilson's, of sampling only."""

    status: Literal["insufficient", "reported"]
    red_cells: Count
    sickle: Count
    fraction: Fraction | None
    low: Fraction | None
    high: Fraction | None
    fraction_if_none: Fraction | None
    fraction_if_all: Fraction | None
    limit_of_blank: float | None
    above_blank: bool | None
    flags: list[str]
    text: str


class Summary(Record):
    """summary.json: the whole scan.

    complete: false when it was stopped before the last input. inputs: files given; inputs_done: files dealt with.
    cells_seen = Σ by_class + Σ excluded. settings: sections of the configuration that were in force.
    """

    schema_version: Literal[1]
    sicklescope: str
    research_use: str
    complete: bool
    started_at: str
    seconds: float
    inputs: Count
    inputs_done: Count
    fields_read: Count
    rejected: Annotated[dict[str, Count], Keyed(tuple(reason.value for reason in Reason))]
    by_class: Annotated[dict[str, Count], Keyed(CLASSES)]
    excluded: Annotated[dict[str, Count], Keyed(tuple(reason.value for reason in Exclusion))]
    cells_seen: Count
    red_cells: Count
    area_mm2: float
    verdict: VerdictRecord
    scale: ScaleRecord | None
    models: Annotated[dict[str, ModelRecord], Keyed(("detector", "classifier"))]
    settings: dict[str, Any]


def field_record(reading: FieldReading) -> FieldRecord:
    """Return the line of fields.jsonl for a reading."""
    counts = reading.counts()
    rbc = sum(counts[name] for name in RED_CELLS)
    sickle = reading.prob[:, CLASSES.index("sickle")]
    rejected = reading.rejected
    return FieldRecord(
        image=reading.name,
        width=reading.width,
        height=reading.height,
        um_per_px=round(reading.scale.um_per_px, MICROMETRE_DIGITS) if reading.scale else None,
        scale_source=reading.scale.source if reading.scale else None,
        rejected=None if rejected is None else RejectedRecord(
            reason=rejected.reason, value=rejected.value, limit=rejected.limit
        ),
        cells=_cell_records(reading),
        counts=counts,
        rbc=rbc,
        sickle_fraction=counts["sickle"] / rbc if rbc else None,
        field_score=round(field_score(sickle, rbc), PROBABILITY_DIGITS),
    )


def _cell_records(reading: FieldReading) -> list[CellRecord]:
    boxes = np.round(reading.boxes.astype(np.float64), PIXEL_DIGITS).tolist()
    scores = np.round(reading.score.astype(np.float64), PROBABILITY_DIGITS).tolist()
    probs = np.round(reading.prob.astype(np.float64), PROBABILITY_DIGITS).tolist()
    return [
        CellRecord(
            box=tuple(box),
            score=score,
            class_=None if label == ABSTAINED else CLASSES[label],
            prob=dict(zip(CLASSES, prob, strict=True)),
        )
        for box, score, label, prob in zip(boxes, scores, reading.label.tolist(), probs, strict=True)
    ]


CSV_COLUMNS = ("image", "cell", "x0", "y0", "x1", "y1", "score", "class", *(f"p_{name}" for name in CLASSES))
"""Columns of cells.csv, one row for each cell of fields.jsonl."""


def csv_rows(record: FieldRecord) -> list[list[str | int | float]]:
    """Return a field's rows of cells.csv; `class` is empty when the classifier abstained."""
    return [
        [record.image, index, *cell.box, cell.score, cell.class_ or "", *(cell.prob[name] for name in CLASSES)]
        for index, cell in enumerate(record.cells)
    ]


def counts_record(counts: Counts) -> dict[str, Any]:
    """Return the keys of `Summary` that come from the counts."""
    return {**asdict(counts), "red_cells": counts.red_cells}


def verdict_record(verdict: Verdict) -> VerdictRecord:
    """Return the verdict as it is written."""
    return VerdictRecord(**asdict(verdict))


SCHEMAS: dict[str, type[Record]] = {"field": FieldRecord, "summary": Summary}
"""Public schemas by file name, `docs/schemas/NAME.schema.json`."""


def schema_text(name: str) -> str:
    """Return the JSON Schema of `field` or `summary`, as its file holds it."""
    schema = SCHEMAS[name].model_json_schema(by_alias=True, mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"


if __name__ == "__main__":
    for schema_name in SCHEMAS:
        Path(sys.argv[1], f"{schema_name}.schema.json").write_text(schema_text(schema_name))
