"""What the API answers, as types: the OpenAPI description is written from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from edge.sample.cell_rows import StoredCell
from edge.sample.sample_row import State


class _Answer(BaseModel):
    # Later versions may tell more.
    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class CommandAnswer(_Answer):
    """What came of a command."""

    id: str | None = None
    """Identifier of the sample; null for `resend`, which is of none."""
    state: str | None = None
    """What the sample is in now; `erased` when it is gone."""
    results: int | None = None
    """How many results `resend` sends again."""


class DeviceState(_Answer):
    """What is going on."""

    state: Literal["idle", "scanning", "fault"]
    sample: str | None
    """Code of the sample that is being scanned."""
    id: str | None
    """Its identifier."""
    connected: bool
    """Whether the broker is connected."""
    connection: str
    """Why it is not, in words."""
    results_waiting: int
    results_refused: int
    results_unheard: int
    camera_problem: str
    storage_problem: str
    counts: dict[str, Any] | None
    verdict: dict[str, Any] | None


class SampleBrief(_Answer):
    """A sample in a list."""

    id: str
    sample: str
    day: str
    state: State
    reason: str
    changed_ms: int


class SampleList(_Answer):
    """The newest samples, the newest first."""

    samples: list[SampleBrief]


class SampleDescription(_Answer):
    """All that is kept of a sample but its cells; damaged JSON is given as text."""

    id: str
    sample: str
    day: str
    state: State
    reason: str
    interruptions: int
    damaged: str
    setup: Any
    draft: Any
    results: list[dict[str, Any] | None]
    history: list[dict[str, Any]]


class CellList(_Answer):
    """Cells of a sample, lowest number first."""

    cells: list[StoredCell]


class Refusal(_Answer):
    """Why something was not done: what was found, what was expected and what to do."""

    error: str
    kind: str
    """Kind of the error, as the command line knows it."""
