"""The JSON Schemas of messages and of the files of a scan."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from edge.batch.records import FieldRecord, Summary
from edge.publish.message_base import Message
from edge.publish.messages import MESSAGES


class _Open(GenerateJsonSchema):
    """JSON Schema 2020-12 of objects that later versions may add keys to."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Leave out that the model itself takes no other keys."""
        made = super().model_schema(schema)
        made.pop("additionalProperties", None)
        return made


class _WithoutTitles(_Open):
    """JSON Schema 2020-12 without the titles that only repeat each key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


MODELS: dict[str, tuple[type[BaseModel], type[_Open]]] = {
    **{f"mqtt-{model.kind}": (model, _WithoutTitles) for model in MESSAGES},
    "field": (FieldRecord, _Open),
    "summary": (Summary, _Open),
}
"""The public models, and how their schemas are made, by name: `docs/schemas/NAME.schema.json`."""


def json_schemas() -> dict[str, str]:
    """Return the JSON Schemas by file name, as text."""
    texts = {}
    for name, (model, generator) in MODELS.items():
        schema = model.model_json_schema(by_alias=True, mode="serialization", schema_generator=generator)
        schema = {"$schema": generator.schema_dialect, "$id": _identifier(name, schema), **schema}
        if issubclass(model, Message):
            schema["required"] = [key for key in schema["required"] if key not in model.added]
        texts[f"{name}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


def _identifier(name: str, schema: JsonSchemaValue) -> str:
    """Return a name for a schema that stays the same for as long as its format does.

    A URN, for the schemas lie at no address of their own.
    """
    stated = schema["properties"].get("schema", {}).get("const") or f"sicklescope/scan-{name}/1"
    return f"urn:{stated.replace('/', ':')}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the schemas."""
    parser = argparse.ArgumentParser(prog="python -m edge.cli.schemas", description=__doc__)
    parser.add_argument("--write", type=Path, required=True, metavar="FOLDER", help="where the schemas go")
    folder: Path = parser.parse_args(arguments).write
    for name, text in json_schemas().items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
