"""What a device of version 0.6.0 kept opens and goes on: samples, results that wait, an installed model, settings."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copy, copytree
from typing import Any

import pytest
from typer.testing import CliRunner

from edge.cli.main import app
from edge.cli.schemas import json_schemas
from edge.config.loader import fields, load
from edge.config.model import CameraConfig, Config, ScreeningConfig, StopConfig
from edge.publish.messages import MESSAGES
from edge.runtime.model_store import ModelStore
from edge.service.service import Service, resend
from edge.storage.database import database_path
from edge.system.clock import boot_id
from tests.edge.service.service_parts import configured, outbox_of
from tests.mosquitto import Listener, Mosquitto, free_port, wait_for

OLD = Path(__file__).parents[1] / "fixtures" / "v0_6_0"
"""What make.py, beside it, wrote with version 0.6.0."""

DAY = "2026-11-30"

Start = Callable[..., Mosquitto]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a state folder with the database of the older version."""
    folder = tmp_path / "state"
    folder.mkdir()
    copy(OLD / "sicklescope.sqlite3", folder)
    return folder


def device(state: Path, port: int) -> Config:
    camera = CameraConfig(kind="virtual", width=320, height=240, frames=3, seed=2)
    screening = ScreeningConfig(start="at_once", stop=StopConfig(at_target=False, fields=4))
    return configured(state, port, camera).model_copy(update={"screening": screening})


def sample(state: Path, *arguments: str) -> str:
    config = state.parent / "sicklescope.toml"
    config.write_text('[device]\nsite = "lab"\ndevice = "one"\nstate_dir = "state"\n')
    result = CliRunner().invoke(app, ["sample", *arguments, "--config", str(config)])
    assert result.exit_code == 0, result.output
    return result.output


def scanned_now(config: Config, code: str) -> int:
    """Leave a sample as a program of this boot that failed would have; return how many cells it has."""
    with closing(sqlite3.connect(database_path(config))) as database, database:
        database.execute("UPDATE samples SET state = 'incomplete' WHERE state = 'scanning'")
        database.execute(
            "UPDATE samples SET state = 'scanning', boot_id = ?, uptime_s = ? WHERE code = ?",
            (boot_id(), time.monotonic(), code),
        )
        ((cells,),) = database.execute(
            "SELECT COUNT(*) FROM cells JOIN samples ON id = sample_id WHERE code = ?", (code,)
        )
    return int(cells)


def test_samples_are_listed_shown_and_reviewed(state: Path) -> None:
    listed = sample(state, "list")
    for code, said in (("S-1", "final"), ("S-2", "review .* 2 fields were read"), ("S-3", "incomplete"), ("S-4", "sc")):
        assert re.search(rf"(?m)^{code} +{DAY}  {said}", listed)
    shown = sample(state, "show", "S-1")
    assert "After review of 1 cells" in shown
    assert "final by reviewer" in shown
    assert "S-2 is final" in sample(state, "review", "S-2", "--cell", "1=other", "--done")
    sample(state, "export", "S-2", str(state.parent / "out"))
    assert (state.parent / "out" / "sample.json").is_file()


@pytest.mark.parametrize("code", ["S-4", "S-3"])
def test_a_sample_of_other_networks_is_kept_and_not_mixed(state: Path, code: str) -> None:
    """S-4 was being scanned when the program was killed; S-3 ended early, and was reopened.

    The networks of today are others. What was counted stays as it was, and the next sample begins.
    """
    config = device(state, free_port())
    before = scanned_now(config, code)
    assert before > 10
    outcome = Service(config, "S-9").run()
    assert outcome is not None
    assert (outcome.sample, outcome.frames) == ("S-9", 3)
    assert re.search(rf"(?m)^{code} +{DAY}  incomplete", sample(state, "list"))
    with closing(sqlite3.connect(database_path(config))) as database:
        query = "SELECT COUNT(*) FROM cells JOIN samples ON id = sample_id WHERE code = ?"
        assert database.execute(query, (code,)).fetchone() == (before,)


def test_results_that_wait_leave_and_refused_ones_on_request(state: Path, start_mosquitto: Start) -> None:
    broker = start_mosquitto()
    config = device(state, broker.port)
    with outbox_of(config) as outbox:
        waiting = [(row.id, row.payload) for row in outbox.pending() if row.kind == "result"]
        assert (len(waiting), len(outbox.refused())) == (3, 1)
    with Listener(broker.host, broker.port) as dashboard:
        resend(config)
        wait_for(lambda: len(dashboard.of("result")) == 4)
    seen = [result["id"] for result in dashboard.of("result")]
    assert set(seen) >= {row_id for row_id, _ in waiting}
    assert {result["sample"] for result in dashboard.of("result")} == {"S-1", "S-2", "S-3"}
    with outbox_of(config) as outbox:
        assert (outbox.counts().pending, outbox.counts().refused) == (0, 0)


def test_an_installed_model_is_still_chosen(tmp_path: Path) -> None:
    copytree(OLD / "models", tmp_path / "models")
    chosen = ModelStore(tmp_path).chosen("classifier")
    assert chosen is not None
    assert chosen.path is not None
    assert chosen.sha256 == chosen.path.stem


def test_every_setting_of_the_example_keeps_its_name_and_default() -> None:
    old = OLD / "sicklescope.example.toml"
    assert load(old, {}).config == Config()
    names = {name for name, _ in fields()}
    table = ""
    for line in old.read_text("utf-8").splitlines():
        if header := re.match(r"\[([\w.]+)\]", line):
            table = header[1]
        elif key := re.match(r"(?:# )?(\w+) =", line):  # one without a default is written as a comment
            assert f"{table}.{key[1]}" in names


def without_descriptions(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: without_descriptions(value) for key, value in schema.items() if key != "description"}
    return [without_descriptions(one) for one in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("kind", ["birth", "event", "progress", "reply", "result", "status", "telemetry"])
def test_a_message_has_the_schema_that_it_had(kind: str) -> None:
    name = f"mqtt-{kind}.schema.json"
    old = json.loads((OLD / "schemas.json").read_text("utf-8"))[name]
    del old["additionalProperties"]  # it forbade what docs/mqtt.md allows: a version may gain keys
    new = without_descriptions(json.loads(json_schemas()[name]))
    del new["$id"]
    for key in next(model for model in MESSAGES if model.kind == kind).added:
        del new["properties"][key]
    if kind == "result":  # a source of the scale was added: the file itself
        assert new["properties"]["scale_source"]["anyOf"][0]["enum"].pop() == "file"
    assert new == old
