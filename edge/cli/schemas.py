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

from edge.api.authentication import Envelope
from edge.api.mqtt import REMOTE
from edge.batch.records import FieldRecord, Summary
from edge.bundle.offer import Offer
from edge.publish.message_base import Message
from edge.publish.messages import MESSAGES


class _Open(GenerateJsonSchema):
    """JSON Schema 2020-12 of objects that later versions may add keys to."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Leave out that the model itself takes no other keys."""
        made = super().model_schema(schema)
        made.pop("additionalProperties", None)
        return made


class _WithoutTitles(GenerateJsonSchema):
    """JSON Schema 2020-12 without the titles that only repeat each key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _OpenWithoutTitles(_WithoutTitles, _Open):
    """Both."""


MODELS: dict[str, tuple[type[BaseModel], type[_Open]]] = {
    **{f"mqtt-{model.kind}": (model, _OpenWithoutTitles) for model in MESSAGES},
    "field": (FieldRecord, _Open),
    "summary": (Summary, _Open),
}
"""What a device writes, and how its schemas are made, by name: `docs/schemas/NAME.schema.json`."""

RECEIVED: dict[str, type[BaseModel]] = {"mqtt-command": Envelope, "mqtt-offer": Offer}
"""What a device is sent. A key that it would refuse is in no schema: these are closed where the device is strict."""

NAMELESS = {"field": "scan-field/1", "summary": "scan-summary/1", "mqtt-command": "command/1"}
"""Formats of schemas that have no key `schema`."""


def json_schemas() -> dict[str, str]:
    """Return the JSON Schemas by file name, as text."""
    texts = {}
    for name, (model, generator) in MODELS.items():
        schema = model.model_json_schema(by_alias=True, mode="serialization", schema_generator=generator)
        schema = {"$schema": generator.schema_dialect, "$id": _identifier(name, schema), **schema}
        if issubclass(model, Message):
            schema["required"] = [key for key in schema["required"] if key not in model.added]
        texts[f"{name}.schema.json"] = _text(schema)
    for name, model in RECEIVED.items():
        schema = _received(model)
        if model is Envelope:
            orders = {"oneOf": [_received(one) for one in REMOTE]}
            schema["properties"]["order"] |= {"contentMediaType": "application/json", "contentSchema": orders}
        texts[f"{name}.schema.json"] = _text(
            {"$schema": _WithoutTitles.schema_dialect, "$id": _identifier(name, schema), **schema}
        )
    return texts


def _received(model: type[BaseModel]) -> JsonSchemaValue:
    return model.model_json_schema(by_alias=True, mode="validation", schema_generator=_WithoutTitles)


def _text(schema: JsonSchemaValue) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _identifier(name: str, schema: JsonSchemaValue) -> str:
    """Return a name for a schema that stays the same for as long as its format does.

    A URN, for the schemas lie at no address of their own.
    """
    stated = schema["properties"].get("schema", {}).get("const") or f"sicklescope/{NAMELESS[name]}"
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
