"""The published JSON Schemas, as they stand and closed: what the device writes has no key that they do not name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

DOCS = Path(__file__).parents[1] / "docs"


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "schemas" / f"{name}.schema.json").read_text("utf-8"))
    return found


def closed(part: Any) -> Any:
    """Return a schema whose objects take no key that is not named, and lack none that is."""
    if isinstance(part, list):
        return [closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    made = {key: closed(value) for key, value in part.items()}
    if isinstance(part.get("properties"), dict) and part.get("type") == "object":
        made |= {"additionalProperties": False, "required": list(part["properties"])}
    return made


def check_written(message: Any, name: str) -> None:
    """Check what the device itself wrote: by the schema, and that it has exactly its keys."""
    jsonschema.validate(message, schema(name), cls=jsonschema.Draft202012Validator)
    jsonschema.validate(message, closed(schema(name)), cls=jsonschema.Draft202012Validator)
