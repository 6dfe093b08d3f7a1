"""The end of a run: what was counted, and what became of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from edge.config.model import Config
from edge.errors import EdgeError
from edge.publish.publisher import PublisherState
from edge.sample.lifecycle import StoredResult
from edge.storage.outbox import Outbox
from edge.types import Counts, Verdict

Fate: TypeAlias = Literal["taken", "unheard", "waiting", "refused", "unsent"]
"""What became of a result: see Outcome."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run, with its last sample.

    Attributes:
        sample: its code.
        counts: what was counted.
        verdict: what the counts allow to be said.
        frames: how many were read or rejected.
        dropped: frames that came while another was read.
        fate: what became of the result: `taken` by the broker, `unheard` because nobody subscribes to it there,
            `waiting` in the outbox for the next run, `refused` by the broker, or `unsent` because MQTT is switched off.
        link: the connection at the end.
        fault: the error that ended the run, to be raised when all is shown.
    """

    sample: str
    counts: Counts
    verdict: Verdict
    frames: int
    dropped: int
    fate: Fate
    link: PublisherState
    fault: EdgeError | None


def fate_of(result: StoredResult, config: Config, outbox: Outbox) -> Fate:
    """Return what became of a result, as the outbox tells."""
    if not config.mqtt.enabled:
        return "unsent"
    if str(result.id) in {row.id for row in outbox.refused()}:
        return "refused"
    if str(result.id) in {row.id for row in outbox.unheard()}:
        return "unheard"
    return "waiting" if str(result.id) in {row.id for row in outbox.pending()} else "taken"
