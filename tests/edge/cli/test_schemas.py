"""The schemas in the documentation are those of the models."""

from __future__ import annotations

from pathlib import Path

from edge.cli.schemas import json_schemas, main

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def test_written_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    main(["--write", str(tmp_path)])
    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in SCHEMAS.glob("*.schema.json")}
    assert kept == written == json_schemas(), "run: make schemas"
