"""What came from the broker: a message of the wire contract, or a named reason why it is none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import ValidationError, create_model

from edge.publish.message_base import ROOT, Message
from edge.publish.messages import MESSAGES, Telemetry

MAX_PAYLOAD_BYTES = 65536
"""The largest message that a device makes is a tenth of this."""

MAX_NUMBER = 2**53
"""Beyond it a number is not whole in JSON, nor in most databases."""

DETAIL_CHARACTERS = 300

_TOPIC = re.compile(rf"{ROOT}/([A-Za-z0-9][A-Za-z0-9_.-]{{0,62}})/([A-Za-z0-9][A-Za-z0-9_.-]{{0,62}})/([a-z]+)")

_STAGE_KEY = re.compile(r"stage_[a-z0-9_]{1,40}_ms")


def _lenient(model: type[Message]) -> type[Message]:
    """Return the model with None for keys that came later and that an older device does not send."""
    later: dict[str, Any] = {
        key: (model.model_fields[key].rebuild_annotation() | None, None)
        for key in model.added
        if model.model_fields[key].is_required()
    }
    return create_model(model.__name__, __base__=model, **later) if later else model


MODELS: dict[str, type[Message]] = {model.kind: _lenient(model) for model in MESSAGES}

_KEYS = {model.kind: frozenset(field.alias or name for name, field in model.model_fields.items()) for model in MESSAGES}


class Reason(str, Enum):
    """Why a message is not in the tables; results among them are kept aside."""

    TOO_LARGE = "too_large"
    FOREIGN = "foreign"
    """No JSON object, or one of another program."""
    SCHEMA_UNKNOWN = "schema_unknown"
    """A format that this collector does not know: of a newer or a very old device."""
    INVALID = "invalid"
    """It breaks the contract, such as counts that do not add up."""
    NAME_MISMATCH = "name_mismatch"
    """It names another site or device than its topic does."""
    ID_ALTERED = "id_altered"
    """A result with this `id` is here, and says something else."""
    REVISION_TAKEN = "revision_taken"
    """Another result is this revision of the sample."""
    DATABASE_REFUSED = "database_refused"
    """The database cannot hold one of its values."""
    TOO_OLD = "too_old"
    """Telemetry or an event from before what is kept."""
    ERASED = "erased"
    """A result of a sample that was erased; it is not kept anywhere."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as the broker gave it; received_ms: wall time, milliseconds since 1970 UTC."""

    topic: str
    payload: bytes
    received_ms: int
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A message that keeps the contract; text: its payload, byte for byte."""

    arrival: Arrival
    message: Message
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that does not go into the tables; site and device as in the topic, or empty."""

    arrival: Arrival
    reason: Reason
    detail: str
    site: str = ""
    device: str = ""
    kind: str = ""


def examine(arrival: Arrival) -> Received | Refused:
    """Return the message, or why it is none."""
    topic = _TOPIC.fullmatch(arrival.topic)
    site, device, kind = topic.groups() if topic else ("", "", "")

    def refused(reason: Reason, detail: str) -> Refused:
        return Refused(arrival, reason, detail[:DETAIL_CHARACTERS], site, device, kind)

    if kind not in MODELS:
        return refused(Reason.FOREIGN, f"topic {arrival.topic}: no message of a device has it")
    if len(arrival.payload) > MAX_PAYLOAD_BYTES:
        return refused(Reason.TOO_LARGE, f"{len(arrival.payload)} bytes; at most {MAX_PAYLOAD_BYTES} are read")
    try:
        text = arrival.payload.decode()
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        return refused(Reason.FOREIGN, f"no JSON: {error}")
    model = MODELS[kind]
    found = values.get("schema") if isinstance(values, dict) else None
    known = model.model_fields["schema_"].default
    if not isinstance(found, str) or not found.startswith("sicklescope/"):
        return refused(Reason.FOREIGN, "no JSON object with a schema of sicklescope")
    if found != known:
        return refused(Reason.SCHEMA_UNKNOWN, f"{found}; this collector knows {known}")
    if wide := [key for key, value in values.items() if _is_wide(value)]:
        return refused(Reason.INVALID, f"{wide[0]} is beyond {MAX_NUMBER}")
    try:
        message = model.model_validate(_known(values, model))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return refused(Reason.INVALID, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    if (message.site, message.device) != (site, device):
        return refused(Reason.NAME_MISMATCH, f"it says {message.site}/{message.device}")
    return Received(arrival, message, text)


def _is_wide(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) > MAX_NUMBER


def _known(values: dict[str, Any], model: type[Message]) -> dict[str, Any]:
    """Leave out the keys that a newer device has added."""
    keys = _KEYS[model.kind]
    stages = issubclass(model, Telemetry)
    return {key: value for key, value in values.items() if key in keys or (stages and _STAGE_KEY.fullmatch(key))}
