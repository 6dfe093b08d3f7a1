"""The public contract of `sicklescope scan`: the lines of fields.jsonl and the whole of summary.json.

These models are the source; `edge.cli.schemas` writes the JSON Schemas from them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from edge.camera.input_files import LeftOut, Leftover
from edge.camera.listing.file_list import natural_order
from edge.report.reasons import LEFT_OUT, REASONS
from edge.screening.tally import field_score
from edge.screening.verdict import FLAGS
from edge.system.spreadsheet import inert_text
from edge.types import ABSTAINED, CLASSES, RED_CELLS, Exclusion, FieldReading, Reason, Rejection, ScaleSource

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
Flag = Annotated[str, Field(json_schema_extra={"enum": list(FLAGS)})]


class Record(BaseModel):
    """A part of the contract: frozen, finite, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class RejectedRecord(Record):
    """Why a field was not read."""

    reason: Reason
    """Name of the reason."""
    value: float
    """What was measured."""
    limit: float
    """What it missed."""
    cause: str
    """Why, in words."""


class LeftOutRecord(Record):
    """A file that was found and not read."""

    file: str
    """Path as given or found."""
    reason: Leftover
    """Name of the reason."""
    cause: str
    """Why, in words."""
    instead: str | None
    """The file that was read in its place; null where there is none."""


class CellRecord(Record):
    """One cell."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels of the given image, turned upright by its EXIF orientation."""
    score: Fraction
    """The detector's."""
    class_: Annotated[ClassName | None, Field(alias="class")]
    """null when the classifier abstained."""
    prob: Annotated[dict[str, Fraction], Keyed(CLASSES)]
    """Chance of being a sickle cell, and what the other classes share of the rest."""


class FieldRecord(Record):
    """A line of fields.jsonl: one image, or one frame of a video."""

    image: str
    """Path as given or found; `path#frame`, from 0, for a frame of a video."""
    width: Count
    """Of the given image, upright; 0 when it could not be read."""
    height: Count
    """Likewise."""
    um_per_px: Annotated[float, Field(gt=0.0)] | None
    """Size on the slide of a pixel of the given image; null when it is not known."""
    scale_source: ScaleSource | None
    """Where `um_per_px` is known from."""
    rejected: RejectedRecord | None
    """null when the field was read."""
    cells: list[CellRecord]
    """Without those cut by the border, which are in `counts` only. Probabilities are the mean of all looks so far at a
    cell that several frames show."""
    counts: Annotated[dict[str, Count], Keyed(COUNTED)]
    """Cells by class, then those in no class by reason; the sum is every cell that was seen, in whatever other frames
    too.
    """
    rbc: Count
    """Red cells: normal + sickle + other."""
    sickle_fraction: Fraction | None
    """sickle / rbc; null without red cells."""
    field_score: Fraction
    """Evidence of sickling, comparable between fields; 0 for a rejected field, which gives none."""
    copy_of: str | None
    """Image that shows the same and whose cells count in place of this one's; null where there is none."""


class ModelRecord(Record):
    """A network that was used."""

    name: str
    """Of the model, as its file says."""
    version: str
    """Of the model, as its file says."""
    sha256: str
    """Digest of its file."""
    runtime: str
    """Backend, version and precision."""
    thresholds: dict[str, float]
    """Its limits by name, which decide what is called what."""
    temperature: float
    """By which its log odds are divided."""
    log_odds: tuple[float, float]
    """Factor and shift that make the log odds of its sickle probability, by which thresholds go, those of a chance."""
    training_data: list[str]
    """Sets that it learnt from."""


class ScaleRecord(Record):
    """Scales of the fields that were read, in µm per pixel of the given images."""

    sources: list[ScaleSource]
    """Where they are known from."""
    median: float
    """Median over the fields."""
    lowest: float
    """Of any field."""
    highest: float
    """Of any field."""
    spread: float
    """Median over the fields of how uncertain the scale is, relative: the interquartile range of the red-cell diameters
    behind an estimate, the standard uncertainty of a calibration, 0 when configured."""


class MaskedRecord(Record):
    """Dirt in the optics, or a pointer: what stays in the picture while the slide moves."""

    share: Fraction
    """Of the frame."""
    where: str
    """In words, such as `upper left, middle`."""


class VerdictRecord(Record):
    """What the counts allow to be said. Fractions are of red cells."""

    status: Literal["insufficient", "reported", "withheld"]
    """`withheld`: the counts are not to be used; `flags` and `text` say why, and every fraction is null."""
    red_cells: Count
    """normal + sickle + other."""
    sickle: Count
    """Red cells called sickle-like."""
    fraction: Fraction | None
    """sickle / red_cells; null without red cells, or when withheld."""
    low: Fraction | None
    """Lower end of the Wilson 95 % interval, of sampling only."""
    high: Fraction | None
    """Upper end of the Wilson 95 % interval, of sampling only."""
    fraction_if_none: Fraction | None
    """The fraction if no abstained cell were sickle, all of them counted as red cells."""
    fraction_if_all: Fraction | None
    """The fraction if all abstained cells were sickle."""
    limit_of_blank: float | None
    """Fraction that the model calls sickle on smears without any; null where it states none."""
    above_blank: bool | None
    """Whether `low` is above `limit_of_blank`; null when insufficient or not known."""
    flags: list[Flag]
    """Names of what a reader should know."""
    text: str
    """The words to show with the numbers, always."""


class Summary(Record):
    """summary.json: the whole scan."""

    schema_version: Literal[1]
    """Of this file's format."""
    sicklescope: str
    """Version of the program."""
    research_use: str
    """What the program may be used for, in words."""
    complete: bool
    """false when the scan was stopped before the last input."""
    name: str
    """What was scanned: the names of the files and folders that were given."""
    site: str
    """As in the configuration."""
    device: str
    """As in the configuration."""
    started_at: str
    """ISO 8601, UTC, by this computer's clock."""
    seconds: Annotated[float, Field(ge=0.0)]
    """That the scan took."""
    inputs: Count
    """Files that were to be read."""
    inputs_done: Count
    """Files that were read to their end, or rejected."""
    fields_read: Count
    """Fields whose cells were counted."""
    fields_repeated: Count
    """Of fields_read, copies of others, and frames of a video or of one sample that showed no cell for the first time.
    """
    islands: Count
    """Parts of the slides that were read with no known overlap between them; 0 where each image is a sample."""
    rejected: Annotated[dict[str, Count], Keyed(tuple(reason.value for reason in Reason))]
    """Fields by the reason why they were not read."""
    left_out: Annotated[dict[str, Count], Keyed(tuple(reason.value for reason in Leftover))]
    """Files that were found and not read, by reason; they are not among `inputs`."""
    left_out_files: list[LeftOutRecord]
    """Each of them."""
    by_class: Annotated[dict[str, Count], Keyed(CLASSES)]
    """Cells by class."""
    excluded: Annotated[dict[str, Count], Keyed(tuple(reason.value for reason in Exclusion))]
    """Cells that were seen and are in no class, by reason."""
    cells_seen: Count
    """Σ by_class + Σ excluded. A cell in several frames of a video, or images of one sample, counts once."""
    red_cells: Count
    """normal + sickle + other."""
    area_mm2: Annotated[float, Field(ge=0.0)]
    """Area of slide that was read; what several frames of a video, or images of one sample, show counts once."""
    verdict: VerdictRecord
    """What the counts allow to be said."""
    scale: ScaleRecord | None
    """null when no field was read."""
    masked: MaskedRecord | None = None
    """What was left out of the frames of one sample because dirt or a pointer stays there; null where none was found.
    """
    models: Annotated[dict[str, ModelRecord], Keyed(("detector", "classifier"))]
    """The networks that were used."""
    settings: dict[str, Any]
    """What was asked, and the sections of the configuration that were in force."""


def left_out_records(left_out: Iterable[LeftOut]) -> list[LeftOutRecord]:
    """Return what is told of files that are not read, in the order of their names."""
    return [
        LeftOutRecord(
            file=printable(str(one.path)),
            reason=one.reason,
            cause=LEFT_OUT[one.reason],
            instead=None if one.instead is None else printable(str(one.instead)),
        )
        for one in sorted(left_out, key=lambda one: natural_order(one.path))
    ]


def printable(name: str) -> str:
    """Return a file name as text: one that is no UTF-8 could not be written into JSON."""
    return os.fsencode(name).decode("utf-8", "replace")


def field_record(reading: FieldReading, cause: str | None = None) -> FieldRecord:
    """Return the line of fields.jsonl for a reading.

    Args:
        reading: what was read.
        cause: why it was rejected, where more is known than its reason says.
    """
    rejected = reading.rejected
    counts = reading.counts()
    rbc = sum(counts[name] for name in RED_CELLS)
    sickle = reading.prob[:, CLASSES.index("sickle")]
    return FieldRecord(
        image=reading.name,
        width=reading.width,
        height=reading.height,
        um_per_px=round(reading.scale.um_per_px, MICROMETRE_DIGITS) if reading.scale else None,
        scale_source=reading.scale.source if reading.scale else None,
        rejected=_rejected_record(rejected, cause) if rejected else None,
        cells=_cell_records(reading),
        counts=counts,
        rbc=rbc,
        sickle_fraction=counts["sickle"] / rbc if rbc else None,
        field_score=round(field_score(sickle, rbc), PROBABILITY_DIGITS),
        copy_of=reading.copy_of,
    )


def _rejected_record(rejected: Rejection, cause: str | None) -> RejectedRecord:
    return RejectedRecord(**asdict(rejected), cause=cause or REASONS[rejected.reason.value])


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
    image = inert_text(record.image)
    return [
        [image, index, *cell.box, cell.score, cell.class_ or "", *(cell.prob[name] for name in CLASSES)]
        for index, cell in enumerate(record.cells)
    ]
