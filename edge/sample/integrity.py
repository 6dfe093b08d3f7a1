"""Whether what is stored of a sample is what was written: its checksums hold, and it agrees with itself."""

from __future__ import annotations

from pydantic import ValidationError

from edge.errors import DamagedSampleError
from edge.publish.result_messages import Result
from edge.publish.sample_fields import record_of
from edge.sample.cell_rows import damaged_rows, unfound_cells
from edge.sample.sample_row import StoredSample
from edge.sample.store import Store
from edge.screening.consistency import contradiction
from edge.screening.sample_record import SampleRecord


def record_of_row(sample: StoredSample) -> SampleRecord:
    """Return what a row says of a sample.

    Raises:
        DamagedSampleError: The row is not what was written.
    """
    try:
        found = record_of(Result.model_validate_json(sample.draft))
    except ValidationError as error:
        raise damaged(sample, "its draft cannot be read") from error
    if not sample.whole or (str(found.sample_id), found.code) != (sample.id, sample.code):
        raise damaged(sample, "its row is not what was written")
    wrong = contradiction(found)
    if wrong:
        raise damaged(sample, wrong)
    return found


def row_damage(sample: StoredSample) -> str:
    """Return in words how a row is not what was written; empty when it is."""
    try:
        record_of_row(sample)
    except DamagedSampleError as error:
        return str(error)
    return ""


def check_cells(store: Store, sample: StoredSample) -> None:
    """Check the cells and reviews of a sample.

    A review that is lost, or whose cell is, shows by their number.

    Raises:
        DamagedSampleError: Some are not what was written.
    """
    rows = damaged_rows(store.database, sample.id)
    if rows:
        raise damaged(sample, f"{rows} of its cells and reviews are not what was written")
    unfound = unfound_cells(store.database, sample.id)
    if unfound:
        raise damaged(sample, f"{unfound} of its cells are not found by their number, for a row beside them is damaged")
    lost = store.lost_rows(sample.id)
    if lost:
        raise damaged(sample, lost)


def damaged(sample: StoredSample, what: str) -> DamagedSampleError:
    """Return the error that says what of a sample is damaged."""
    return DamagedSampleError(
        f"what is stored of sample {sample.code} is damaged: {what}. No result is made of it; export it, then discard "
        "or erase it, and look to the disk"
    )
