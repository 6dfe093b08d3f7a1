"""What dashboards are given works: against the messages, the real database and the real Prometheus."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest

from benchmarks.fleet_devices import PublishingDevice, VirtualDevice
from edge.publish.message_base import Message
from edge.storage.result_numbers import HeldResults
from fleet.database.postgresql import PostgreSQL
from fleet.rows.writer import Writer
from tests.fleet.fleet_parts import Collector, is_there, kept, made, mqtt, wait_until_listening
from tests.fleet.test_writer import KEPT, arrival
from tests.mosquitto import Mosquitto, free_port, wait_for

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parents[2] / "integrations"
WRITTEN: dict[str, Any] = runpy.run_path(str(FOLDER / "generate.py"))

PROMETHEUS = shutil.which("prometheus")


def messages() -> list[Message]:
    """Return one of each kind that a device makes."""
    device = VirtualDevice("mbarara", "scope-1")
    return [
        device.compose.status("online"), device.birth(), device.result(), device.telemetry(),
        device.compose.event("error", "control", "outside 3 sd"), device.compose.reply("start", {}, ""),
        device.compose.result_index(HeldResults(7, ((5, 7),))),
    ]  # fmt: skip


@pytest.mark.parametrize("file", WRITTEN["FILES"])
def test_a_file_is_what_the_messages_make_of_it(file: str) -> None:
    assert (FOLDER / file).read_text("utf-8") == WRITTEN["FILES"][file](), "run: python integrations/generate.py"


def test_telegraf_keeps_every_text_and_truth_value() -> None:
    """Kind: a text field that Telegraf drops; without `stage` revisions and discarded samples are summed."""
    for block in tomllib.loads((FOLDER / "telegraf.conf").read_text("utf-8"))["inputs"]["mqtt_consumer"]:
        named = {*block["json_string_fields"], *block["tag_keys"], "site", "device", "schema", "command_challenge"}
        for message in messages():
            texts = {key for key, value in json.loads(message.to_json()).items() if isinstance(value, str | bool)}
            assert texts <= named, message.kind


def test_the_asyncapi_document_describes_what_is_sent() -> None:
    document = json.loads((FOLDER / "asyncapi.json").read_text("utf-8"))
    for message in messages():
        described = document["components"]["messages"][message.kind]
        jsonschema.validate(json.loads(message.to_json()), described["payload"])
        binding = document["operations"][f"send_{message.kind}"]["bindings"]["mqtt"]
        assert binding == {"qos": message.qos, "retain": message.retain}


def test_every_query_of_the_grafana_dashboard_shows_rows(postgresql: PostgreSQL, url: str) -> None:
    """Grafana itself is not started here: no package of it can be had."""
    device = VirtualDevice("mbarara", "scope-1")
    sent = [
        *messages(), *(device.result() for _ in range(12)),
        device.result(code="control-known", flags=("control",)), device.result(stage="final"),
    ]  # fmt: skip
    Writer(postgresql, KEPT).write(
        [*(arrival(one) for one in sent), arrival({**json.loads(sent[2].to_json()), "normal": 1})]
    )
    postgresql.execute("UPDATE devices SET results_missing = 3")
    board = json.loads((FOLDER / "grafana/dashboards/sicklescope.json").read_text("utf-8"))
    queries = {panel["title"]: target["rawSql"] for panel in board["panels"] for target in panel.get("targets", ())}
    assert len(queries) == len(WRITTEN["PANELS"]) - 1
    with psycopg.connect(url) as reader:
        for title, query in queries.items():
            filled = query.replace("$site", "'mbarara'").replace("$__from", "0").replace("$__to", str(2**50))
            filled = filled.replace("${__from:date:YYYY-MM-DD}", "2020-01-01")
            filled = filled.replace("${__to:date:YYYY-MM-DD}", "2100-01-01")
            assert "$" not in filled
            assert reader.execute(filled.encode()).fetchall(), title


def test_the_data_source_has_the_identifier_that_the_dashboard_asks_for() -> None:
    source = (FOLDER / "grafana/provisioning/datasources/sicklescope.yaml").read_text("utf-8")
    board = (FOLDER / "grafana/dashboards/sicklescope.json").read_text("utf-8")
    assert set(re.findall(r'"uid": "(\w+)"', board)) == set(re.findall(r"uid: (\w+)", source))


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus not installed (apt-get install prometheus)")
def test_prometheus_reads_a_collector(
    broker: Mosquitto,
    url: str,
    start_collector: Any,
    tmp_path: Path,
) -> None:
    port, own = free_port(), free_port()
    collector: Collector = start_collector(url, broker, metrics_port=port)
    wait_until_listening(broker, "one")
    with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
        device.finish()
        wait_for(lambda: is_there(url, "results") and kept(url) == made([device]), 60)
    text = (FOLDER / "prometheus.yml").read_text("utf-8").replace("9464", str(port)).replace("15s", "1s")
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(FOLDER / "prometheus.rules.yml", tmp_path)
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)
    with (tmp_path / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(
            [str(PROMETHEUS), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
             f"--web.listen-address=127.0.0.1:{own}"], stdout=log, stderr=log,
        )  # fmt: skip
    try:
        query = 'sicklescope_fleet_messages_total{kind="result",outcome="new"}'
        wait_for(lambda: ask(own, query) == ["1"], 60)
        assert ask(own, "sicklescope_fleet_database_up") == ["1"]
        assert ask(own, "sum(sicklescope_fleet_broker_up)") == ["2"]
    finally:
        server.terminate()
        server.wait(30)
    assert collector.stop() == 0


def ask(port: int, query: str) -> list[str]:
    """Return the values of a query of Prometheus; none while it does not answer."""
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.request.quote(query)}"  # type: ignore[attr-defined]
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310
            return [one["value"][1] for one in json.load(answer)["data"]["result"]]
    except OSError:
        return []
