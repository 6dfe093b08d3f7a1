"""The messages of a sample: running counts, its result, and the index of results."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, model_validator

from edge.publish.message_base import Count, Message, Networks
from edge.types import CLASSES, RED_CELLS, Exclusion, Reason, ScaleSource


class Counted(Message):
    """Cells of a sample, each once.

    cells_seen is the sum of the eight counts before it, checked in every message.
    """

    normal: Count
    """Normal red cells."""
    sickle: Count
    """Crescents, and elongated cells with a pointed end."""
    other: Count
    """Other abnormal red cells."""
    wbc: Count
    """White cells."""
    platelet: Count
    """Platelets."""
    artefact: Count
    """Dirt, stain and the like: no cells."""
    abstained: Count
    """Seen, but in no class: the classifier would not name it."""
    border: Count
    """Seen, but in no class: cut by the edge of the picture."""
    cells_seen: Count
    """Sum of the eight counts before it."""
    red_cells: Count
    """normal + sickle + other: what `fraction` is of."""
    fields_read: Count
    """Frames whose cells were counted."""
    fields_repeated: Count
    """Of fields_read, those that showed no cell for the first time."""
    fields_rejected: Count
    """Frames that were not read; a result says why in `rejected_…`."""
    islands: Count
    """Parts of the slide that were read with no known overlap between them."""
    area_mm2: Annotated[float, Field(ge=0)]
    """Area of slide that was read; what several frames show counts once."""
    fraction: float | None
    """sickle / red_cells, 0 to 1; null without red cells, and when insufficient after review or signing."""
    fraction_low: float | None
    """Lower end of the Wilson 95 % interval, of sampling only."""
    fraction_high: float | None
    """Upper end of the Wilson 95 % interval, of sampling only."""

    @model_validator(mode="after")
    def _adds_up(self) -> Counted:
        seen = sum(getattr(self, name) for name in (*CLASSES, *(reason.value for reason in Exclusion)))
        if self.cells_seen != seen:
            raise ValueError(f"cells_seen is {self.cells_seen}; the counts add up to {seen}")
        red = sum(getattr(self, name) for name in RED_CELLS)
        if self.red_cells != red:
            raise ValueError(f"red_cells is {self.red_cells}; {' + '.join(RED_CELLS)} is {red}")
        return self


class Rejections(Message):
    """Frames of the sample that were not read, by reason."""

    rejected_unreadable: Count
    """The picture could not be decoded."""
    rejected_too_small: Count
    """Too few pixels."""
    rejected_too_large: Count
    """More pixels than `quality.megapixels_max`."""
    rejected_under_exposed: Count
    """Too dark."""
    rejected_over_exposed: Count
    """Too bright: too much of it at full scale."""
    rejected_out_of_focus: Count
    """Not sharp enough."""
    rejected_motion: Count
    """Blurred in one direction: the slide moved."""
    rejected_scale_unknown: Count
    """The size of its pixels on the slide could not be told."""
    rejected_empty: Count
    """Too few cells for a smear."""
    rejected_crowded: Count
    """Too much of it under cells."""
    rejected_stacked: Count = 0  # a sample that version 0.3 began has none
    """Most red cells lie on others: rouleaux, clumps, or too thick a part of the smear."""
    rejected_magnification: Count = 0  # as above
    """The cells are too large or too small for the scale that is set: another objective."""
    rejected_unfamiliar: Count
    """Most cells are unlike any that the classifier was trained on: another stain, specimen or magnification."""
    rejected_not_placed: Count
    """It could not be told where on the slide the frame lies."""


class Progress(Counted):
    """Running counts of the sample that is being read."""

    kind: ClassVar[str] = "progress"
    qos: ClassVar[Literal[0, 1]] = 0
    retain: ClassVar[bool] = False

    schema_: Literal["sicklescope/progress/1"] = Field(default="sicklescope/progress/1", alias="schema")
    """Name and version of this message's format."""


class Reviewed(Message):
    """What a person said of single cells: each cell once, by its newest review."""

    reviewed_cells: Count = 0
    """Cells that a person looked at; 0 when nobody has, and the other keys are then null unless `reviewed_missed` is
    not 0."""
    reviewed_missed: Count = 0
    """Cells that the detector missed and a person marked; they are in the counts below, and not in `cells_seen`."""
    reviewed_normal: Count | None = None
    """Counts by class as the automatic ones, with the reviewed cells in the classes that the person gave them."""
    reviewed_sickle: Count | None = None
    """As reviewed_normal."""
    reviewed_other: Count | None = None
    """As reviewed_normal."""
    reviewed_wbc: Count | None = None
    """As reviewed_normal."""
    reviewed_platelet: Count | None = None
    """As reviewed_normal."""
    reviewed_artefact: Count | None = None
    """As reviewed_normal."""
    reviewed_abstained: Count | None = None
    """Cells that neither the classifier nor a person named."""
    reviewed_red_cells: Count | None = None
    """reviewed_normal + reviewed_sickle + reviewed_other."""
    reviewed_fraction: float | None = None
    """reviewed_sickle / reviewed_red_cells, 0 to 1; null when insufficient or withheld."""
    reviewed_fraction_low: float | None = None
    """Lower end of the Wilson 95 % interval, of sampling only."""
    reviewed_fraction_high: float | None = None
    """Upper end of the Wilson 95 % interval, of sampling only."""


class Result(Counted, Rejections, Networks, Reviewed):
    """What was counted in a sample, and what may be said of it.

    It stays on the device until the broker has taken it; a repeat carries the same `id`.
    A sample has a result when its scanning ends, and another `revision` each time that something about it changes.
    """

    kind: ClassVar[str] = "result"
    qos: ClassVar[Literal[0, 1]] = 1
    retain: ClassVar[bool] = False
    added: ClassVar[tuple[str, ...]] = ("number", "reviewed_missed", "masked_share", "masked_where")

    schema_: Literal["sicklescope/result/2"] = Field(default="sicklescope/result/2", alias="schema")
    """Name and version of this message's format."""
    id: UUID
    """Identifier of the result: two messages with the same one are the same result."""
    number: Annotated[int, Field(ge=1)] | None = None  # a version before 0.7 gave none
    """Counts up by one over all results of the device, revisions too; null: made by a version before 0.7. After a
    new or restored database it goes on in another million, so that no number comes twice.
    """
    sample_id: UUID
    """Identifier of the sample, the same in all its revisions: a code may be used again on another day."""
    revision: Annotated[int, Field(ge=1)]
    """1, 2, ...: of a sample the highest counts, and replaces those before."""
    stage: Literal["review", "incomplete", "final", "discarded"]
    """`review`: a person may still review it. `final`: reviewed, or taken as it is. `incomplete`: it ended early, for
    `reason`. `discarded`: not to be used.
    """
    reason: str
    """Why, in words; empty when there is nothing to explain."""
    interruptions: Count
    """How often scanning was broken off and went on: cells seen before and after may then be counted twice."""
    verdict: Literal["insufficient", "reported", "withheld"]
    """`insufficient`: too few red cells to say anything. `withheld`: the counts are not to be used; `flags` and `text`
    say why, and every fraction is null."""
    text: str
    """The words to show with the numbers, always."""
    flags: str
    """Names of what a reader should know, joined with commas; empty when there is nothing."""
    fraction_if_none: float | None
    """The fraction if no abstained cell were sickle."""
    fraction_if_all: float | None
    """The fraction if all abstained cells were sickle."""
    limit_of_blank: float | None
    """Fraction that the classifier calls sickle on smears without any (95th percentile); null when unknown."""
    above_blank: bool | None
    """Whether `fraction_low` is above `limit_of_blank`; null when unknown, insufficient, or reviewed: the limit is that
    of the automatic count."""
    um_per_px: Annotated[float, Field(gt=0)] | None
    """Size of a camera pixel on the slide, µm; null when no field was read."""
    scale_source: ScaleSource | None
    """Where `um_per_px` is known from."""
    scale_spread: Annotated[float, Field(ge=0)] | None
    """Relative interquartile range of the cell diameters behind an estimate, the relative standard uncertainty of a
    calibration, 0 when configured."""
    masked_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest part of a frame that was left out because dirt or a pointer stays there; 0 where none was found."""
    masked_where: str = ""
    """Where in the frame that is, in words, such as `upper left, middle`; empty where none was found."""
    threshold_score: float
    """Detector: a cell is one from here."""
    threshold_sickle: float
    """Classifier: a cell is called sickle from this probability."""
    threshold_abstain: float
    """Classifier: sickle probability from which a cell that is not called sickle is not named either."""
    started_ms: Count
    """Wall time of the first frame, milliseconds since 1970 UTC."""
    ended_ms: Count
    """Wall time of the last frame, milliseconds since 1970 UTC."""
    duration_s: Annotated[float, Field(ge=0)]
    """From first to last frame by the monotonic clock."""

    @model_validator(mode="after")
    def _rejections_add_up(self) -> Result:
        rejected = sum(getattr(self, f"rejected_{reason.value}") for reason in Reason)
        if self.fields_rejected != rejected:
            raise ValueError(f"fields_rejected is {self.fields_rejected}; the reasons add up to {rejected}")
        return self


class ResultIndex(Message):
    """Which results the device holds and can send again, by their numbers.

    Retained, at most 8 KB. Results on their way to the broker are not listed, nor are those of an erased sample.
    """

    kind: ClassVar[str] = "results"
    qos: ClassVar[Literal[0, 1]] = 1
    retain: ClassVar[bool] = True

    schema_: Literal["sicklescope/results/1"] = Field(default="sicklescope/results/1", alias="schema")
    """Name and version of this message's format."""
    highest: Count
    """Number of the newest result; the next one has one more."""
    held: str
    """Numbers as ranges, the lowest first, joined with commas: `7-12,15`."""
    held_results: Count
    """How many results are held, listed or not."""
    listed_from: Count
    """0: all are listed. Else `held` says nothing of lower numbers, for there are too many ranges."""
