"""The report of a gate, by which a device lets a model in: bound to one file, and checked figure by figure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.config.model import Sha256
from edge.errors import InputError, ModelError, first_fault

CLOCKS_DIFFER = timedelta(days=1)
"""A report may be so much younger than now."""

Count = Annotated[int, Field(ge=0)]
Points = Annotated[float, Field(ge=0, le=100)]


class GateReport(BaseModel):
    """What a device keeps of a gate's report, a JSON object.

    The figures beside these keys are kept as they are.
    """

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    passed: bool
    """Whether the model may be used."""
    model_sha256: Sha256
    """Digest of the very file that the figures are of."""
    created: AwareDatetime
    """ISO 8601, with its offset from UTC."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, strict=True)


class Measured(_Part):
    """What one network did on the labelled pictures."""

    found: Count
    boxes: Count
    false_calls: Count
    negative_cells: Count
    f1: Annotated[float, Field(ge=0, le=1)] | None

    @model_validator(mode="after")
    def _parts_of_wholes(self) -> Measured:
        if self.found > self.boxes or self.false_calls > self.negative_cells:
            raise ValueError("more sickle cells found than boxed, or more false calls than cells")
        return self


class Changed(_Part):
    """Cells that change class, of all."""

    cells: Count
    of: Annotated[int, Field(ge=1)]


class Figures(_Part):
    """Reference, model, and how many cells of the one have another class for the other."""

    fp32: Measured
    int8: Measured
    cells_that_change_class: Changed


class LimitsPoints(_Part):
    """What the model may lose against the reference, in points."""

    recall: Points
    f1: Points
    false_calls: Points
    changed: Points


class WholeReport(GateReport):
    """A gate's report with the figures that its verdict follows from."""

    limits_points: LimitsPoints
    gate: Figures

    @model_validator(mode="after")
    def _says_what_its_figures_say(self) -> WholeReport:
        before, after, changed = self.gate.fp32, self.gate.int8, self.gate.cells_that_change_class
        if (before.boxes, before.f1 is None) != (after.boxes, after.f1 is None):
            raise ValueError("its two networks were measured on different labels")
        lost = {
            "recall": _share(before.found, before.boxes) - _share(after.found, after.boxes),
            "f1": (before.f1 or 0.0) - (after.f1 or 0.0),
            "false_calls": _share(after.false_calls, after.negative_cells)
            - _share(before.false_calls, before.negative_cells),
            "changed": changed.cells / changed.of,
        }
        over = [name for name, share in lost.items() if 100 * share > getattr(self.limits_points, name) + 1e-6]
        if self.passed and over:
            raise ValueError(f"it says passed, but by its own figures it is over its limit of {', '.join(over)}")
        return self


def _share(part: int, whole: int) -> float:
    return part / max(1, whole)


def passed_report(path: Path, data: bytes, sha256: str) -> GateReport:
    """Return a gate's report after checking that it lets this very model in.

    Args:
        path: of the report, for the words of an error.
        data: its bytes.
        sha256: digest of the model's file.

    Raises:
        InputError: it is no report, or its figures contradict its verdict.
        ModelError: it is of another file, of the future, or says that the model did not pass.
    """
    try:
        report = WholeReport.model_validate_json(data)
    except ValidationError as error:
        raise InputError(
            f"{path} is no gate report: {first_fault(error, 'the file')}. Expected a JSON object with passed, "
            "model_sha256, created, limits_points and gate, as sicklescope-calibrate writes (docs/calibration.md)"
        ) from error
    if report.model_sha256 != sha256:
        raise ModelError(
            f"{path} is a report of another file: sha256 {report.model_sha256}; the model has {sha256}. Give the "
            "report that was made with this model"
        )
    if report.created > datetime.now(timezone.utc) + CLOCKS_DIFFER:
        raise ModelError(f"{path} is dated {report.created:%Y-%m-%d}, which is to come. Set the clock, or make it anew")
    if not report.passed:
        raise ModelError(f"{path} says that the model did not pass its gate: it is not installed. Its figures say why")
    return report
