"""Telemetry and events into rows; events are also states, births and replies."""

from __future__ import annotations

import json
from collections.abc import Sequence

from edge.publish.messages import Birth, Event, Reply, Status, Telemetry
from edge.publish.result_messages import ResultIndex
from fleet.database.base import Database
from fleet.database.schema import TELEMETRY_COLUMNS
from fleet.rows.placed import COLUMNS, Key, Placed

_TELEMETRY = (*COLUMNS, "sample", "stages", *TELEMETRY_COLUMNS)
_EVENTS = (*COLUMNS, "sample", "kind", "level", "code", "text", "payload")


def write_telemetry(database: Database, placed: Sequence[Placed]) -> set[Key]:
    """Write telemetry that is new; return its keys."""
    rows = []
    for one in placed:
        if isinstance(one.message, Telemetry):
            stages = json.dumps(one.message.__pydantic_extra__, separators=(",", ":"))
            own = (getattr(one.message, name) for name in TELEMETRY_COLUMNS)
            rows.append((*one.stamp(), one.message.sample, stages, *own))
    return database.append("telemetry", _TELEMETRY, rows)


def write_events(database: Database, placed: Sequence[Placed]) -> set[Key]:
    """Write events, states, births and replies that are new; return their keys."""
    rows = []
    for one in placed:
        message = one.message
        if isinstance(message, Event):
            told = message.level, message.code, message.text
        elif isinstance(message, Status):
            told = "info", message.state, message.reason
        elif isinstance(message, Reply):
            told = "info", message.command, message.error
        elif isinstance(message, ResultIndex):
            told = "info", "results", message.held
        elif isinstance(message, Birth):
            told = "info", "birth", message.sicklescope_version
        else:
            continue
        rows.append((*one.stamp(), message.sample, message.kind, *told, one.received.text))
    return database.append("events", _EVENTS, rows)
