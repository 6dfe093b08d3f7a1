"""No message lost or changed a key since any released version: who wrote a dashboard for one reads all later ones.

`released_messages.json` holds every format that a release sent, with the JSON Schema of each key; a format that is no
longer sent is only kept there. `released_commands.json` holds what a release could be sent. A release adds its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.cli.schemas import RECEIVED, json_schemas

FIXTURES = Path(__file__).parents[2] / "fixtures"
RELEASED: dict[str, dict[str, Any]] = json.loads((FIXTURES / "released_messages.json").read_text("utf-8"))
COMMANDS: dict[str, dict[str, Any]] = json.loads((FIXTURES / "released_commands.json").read_text("utf-8"))

REPLACED = {"sicklescope/result/1": "sicklescope/result/2"}
"""Formats that a later one replaced, by the change of a key's meaning (0.3.0: revisions)."""

NEW_VALUES = {"scale_source": "file"}
"""Values that a key may have since 0.7 beside those that it had."""


def plain(schema: Any) -> Any:
    """Return a schema without words and defaults."""
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key not in ("description", "title", "default")}
    return [plain(one) for one in schema] if isinstance(schema, list) else schema


def present() -> dict[str, dict[str, Any]]:
    found = {name.removesuffix(".schema.json"): json.loads(text) for name, text in json_schemas().items()}
    sent = [schema for name, schema in found.items() if name.startswith("mqtt-") and name not in RECEIVED]
    return {schema["properties"]["schema"]["const"]: schema for schema in sent}


@pytest.mark.parametrize("name", [name for name in RELEASED if name not in REPLACED])
def test_every_key_of_a_released_format_is_there_and_means_the_same(name: str) -> None:
    now = present()[name]
    for key, before in RELEASED[name]["keys"].items():
        assert key in now["properties"], key
        found = plain(now["properties"][key])
        if key in NEW_VALUES:
            found["anyOf"][0]["enum"].remove(NEW_VALUES[key])
        assert found == before, key


def test_a_format_that_is_gone_was_replaced_by_another_name() -> None:
    assert set(RELEASED) - set(present()) == set(REPLACED)
    assert set(REPLACED.values()) <= set(present())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_of_a_released_version_is_still_one(name: str) -> None:
    """Kind: a key that is asked for since, or whose bound became tighter: programs written before are refused."""
    envelope = json.loads(json_schemas()["mqtt-command.schema.json"])
    orders = envelope["properties"]["order"]["contentSchema"]["oneOf"]
    now = next((one for one in orders if one["properties"]["command"]["const"] == name), envelope)
    assert set(now["required"]) <= set(COMMANDS[name]["required"])
    for key, before in COMMANDS[name]["keys"].items():
        assert before.items() <= plain(now["properties"][key]).items(), key
