"""Tables and views; the columns of messages follow from the models of the wire contract."""

from __future__ import annotations

import hashlib
import re
import types
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, Union, get_args, get_origin

from edge.errors import ConfigError
from edge.publish.message_base import Message
from edge.publish.messages import Telemetry
from edge.publish.result_messages import Result

VERSION = 1
"""Of the tables. A column more is no new version: older collectors leave it empty."""

SCHEMA_TABLE = "CREATE TABLE IF NOT EXISTS fleet_schema (version integer NOT NULL, digest text NOT NULL)"

PARTITIONED = ("telemetry", "events")
"""One partition a day each."""

_STAMP = frozenset(Message.model_fields)


def message_columns(model: type[Message]) -> dict[str, str]:
    """Return the columns of a message's own keys with their types; all may be null."""
    return {name: _sql_type(field.annotation) for name, field in model.model_fields.items() if name not in _STAMP}


def _sql_type(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    if get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):  # Annotated
        annotation = get_args(annotation)[0]
    return {bool: "boolean", int: "bigint", float: "double precision"}.get(annotation, "text")


RESULT_KEYS = ("id", "sample_id", "revision")
"""Of a result, those that its table names itself."""

RESULT_COLUMNS = {name: kind for name, kind in message_columns(Result).items() if name not in RESULT_KEYS}
TELEMETRY_COLUMNS = message_columns(Telemetry)

GROWING = {"results": RESULT_COLUMNS, "telemetry": TELEMETRY_COLUMNS}
"""Tables whose columns follow the models: a newer collector adds those that are missing."""


def tables(key: str, blob: str, partition: str) -> Iterator[str]:
    """Give the statements that make the tables.

    Args:
        key: type of a row's number that the database chooses.
        blob: type of bytes.
        partition: what stands behind a partitioned table.
    """
    own = {
        name: ",\n    ".join(f'"{one}" {kind}' for one, kind in columns.items()) for name, columns in GROWING.items()
    }
    text = _read("tables.sql").format(key=key, blob=blob, partition=partition, **own)
    yield from filter(None, (statement.strip() for statement in text.split(";")))


def views(timestamp: str) -> Iterator[tuple[str, str]]:
    """Give name and statement of each view; timestamp: a time in ms (`{}`) as SQL."""
    rejected = [name for name in RESULT_COLUMNS if name.startswith("rejected_")]
    sums = ",\n       ".join(f"CAST(sum({name}) AS bigint) AS {name.removeprefix('rejected_')}" for name in rejected)
    text = _read("views.sql").replace("{rejections}", sums)
    text = re.sub(r"TIMESTAMP\(([\w.]+)\)", lambda found: timestamp.format(found[1]), text)
    for part in filter(None, (statement.strip() for statement in text.split(";"))):
        name = re.search(r"CREATE VIEW (\w+)", part)
        if name is not None:
            yield name[1], part


def definition(statements: Iterable[str]) -> str:
    """Return a digest of statements: tables of the same one need no work."""
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


def check_version(found: int, known: int, name: str) -> None:
    """Raise ConfigError for tables that a newer collector made."""
    if found > known:
        raise ConfigError(
            f"{name} has tables of version {found}; this collector knows {known}. Upgrade sicklescope-fleet here too"
        )


def _read(name: str) -> str:
    return re.sub(r"--.*", "", files("fleet.database").joinpath(name).read_text("utf-8"))
