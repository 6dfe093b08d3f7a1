"""The JSON Schemas of the MQTT messages: `python -m edge.publish.schemas --write docs/schemas`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from edge.publish.messages import MESSAGES


class _Schema(GenerateJsonSchema):
    """JSON Schema 2020-12 without the titles that only repeat each key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schemas() -> dict[str, str]:
    """Return each message's JSON Schema by file name, as text."""
    texts = {}
    for model in MESSAGES:
        schema = model.model_json_schema(by_alias=True, mode="serialization", schema_generator=_Schema)
        schema = {"$schema": _Schema.schema_dialect, **schema}
        texts[f"mqtt-{model.kind}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the schemas of the MQTT messages."""
    parser = argparse.ArgumentParser(prog="python -m edge.publish.schemas", description=main.__doc__)
    parser.add_argument("--write", type=Path, required=True, metavar="FOLDER", help="where the schemas go")
    folder: Path = parser.parse_args(arguments).write
    for name, text in json_schemas().items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
