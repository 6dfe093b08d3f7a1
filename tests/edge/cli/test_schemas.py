"""The schemas in the documentation are those of the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.cli.schemas import json_schemas, main

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def test_written_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    main(["--write", str(tmp_path)])
    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in SCHEMAS.glob("*.schema.json")}
    assert kept == written == json_schemas(), "run: make schemas"


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Give a schema of an object, and those within it."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_every_key_is_described_and_every_schema_has_a_name_of_its_own() -> None:
    schemas = {name: json.loads(text) for name, text in json_schemas().items()}
    mute = [
        f"{name}: {key}"
        for name, schema in schemas.items()
        for found in objects(schema)
        for key, described in found["properties"].items()
        if not described.get("description")
    ]
    assert mute == []
    assert len({schema["$id"] for schema in schemas.values()}) == len(schemas)
    assert schemas["mqtt-result.schema.json"]["$id"] == "urn:sicklescope:result:2"
