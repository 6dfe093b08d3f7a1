"""Write what dashboards read from the messages: `python integrations/generate.py`.

`telegraf.conf`, `asyncapi.json` and `grafana/dashboards/sicklescope.json`; a test compares them with the code.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge.cli.schemas import RECEIVED, json_schemas
from edge.publish.message_base import ROOT
from edge.publish.messages import MESSAGES
from edge.publish.result_messages import Result

FOLDER = Path(__file__).parent

TAGS = ("boot_id", "sample")

UNCHARTED = ("schema", "site", "device", "command_challenge")
"""Site and device come from the topic; the others are no measurements."""


RETAINED = {"command": False, "offer": True}
"""Whether a broker keeps what a device is sent."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each kind of message that a device sends."""
    texts = json_schemas()
    return {model.kind: json.loads(texts[f"mqtt-{model.kind}.schema.json"]) for model in MESSAGES}


def received() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each kind of message that a device is sent."""
    texts = json_schemas()
    return {name.removeprefix("mqtt-"): json.loads(texts[f"{name}.schema.json"]) for name in RECEIVED}


def telegraf() -> str:
    """Return Telegraf's blocks: texts and truth values have to be named, or it drops them."""
    texts = sorted({
        key for schema in schemas().values() for key, value in schema["properties"].items()
        if _types(value) & {"string", "boolean"} and key not in (*TAGS, *UNCHARTED)
    })  # fmt: skip
    others = [model.kind for model in MESSAGES if model is not Result]
    head = (
        "# Written by integrations/generate.py. Set servers. Results and the rest have clients of their own:\n"
        "# a kept session on telemetry would fill its queue at the broker, and results would be dropped.\n"
    )
    return head + "\n".join([
        _consumer("results", [f"{ROOT}/+/+/{Result.kind}"], "true", texts),
        _consumer("news", [f"{ROOT}/+/+/{kind}" for kind in others], "false", texts),
    ])  # fmt: skip


def _consumer(name: str, topics: list[str], kept: str, texts: list[str]) -> str:
    listed = ",\n    ".join(json.dumps(text) for text in texts)
    return f"""[[inputs.mqtt_consumer]]
  servers = ["tcp://localhost:1883"]
  topics = {json.dumps(topics)}
  qos = 1
  persistent_session = {kept}
  client_id = "telegraf-sicklescope-{name}"
  data_format = "json"
  tag_keys = {json.dumps(list(TAGS))}
  json_string_fields = [
    {listed},
  ]
  # Leave these two out where devices have no clock: the time of arrival is used.
  json_time_key = "ts_ms"
  json_time_format = "unix_ms"
  [[inputs.mqtt_consumer.topic_parsing]]
    topic = "{ROOT}/+/+/+"
    measurement = "measurement/_/_/_/_"
    tags = "_/_/site/device/kind"
"""


def _types(value: dict[str, Any]) -> set[str]:
    parts = [value, *value.get("anyOf", ())]
    named = {part["type"] for part in parts if "type" in part}
    return named | {"string" for part in parts if isinstance(part.get("const"), str) or "enum" in part}


def asyncapi() -> str:
    """Return the messages as AsyncAPI 3: a device sends, or is sent, each on its own channel."""
    operations = {
        f"send_{model.kind}": _operation("send", model.kind, model.qos, model.retain) for model in MESSAGES
    } | {f"receive_{kind}": _operation("receive", kind, 1, retained) for kind, retained in RETAINED.items()}
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for kind, full in (schemas() | received()).items():
        schema = {key: value for key, value in full.items() if key not in ("$schema", "$id")}
        messages[kind] = {
            "name": kind,
            "contentType": "application/json",
            "summary": schema.get("description", "").partition("\n")[0],
            "payload": schema,
        }
        channels[kind] = {
            "address": f"{ROOT}/{{site}}/{{device}}/{kind}",
            "parameters": {"site": {"description": "device.site"}, "device": {"description": "device.device"}},
            "messages": {kind: {"$ref": f"#/components/messages/{kind}"}},
        }
    document = {
        "asyncapi": "3.1.0",
        "info": {
            "title": "sicklescope",
            "version": version("sicklescope"),
            "description": "What a device publishes over MQTT and is sent. For research use only; not a diagnosis.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": {"host": "localhost:1883", "protocol": "mqtt"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _operation(action: str, kind: str, qos: int, retain: bool) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{kind}"},
        "bindings": {"mqtt": {"qos": qos, "retain": retain}},
    }


PANELS: tuple[tuple[str, str, str, str], ...] = (
    ("Research use only", "text", "", "Not a diagnosis. Show the text of a result wherever you show its numbers."),
    ("Devices", "table", "",
     "SELECT site, device, state, reason, last_seen, sample, red_cells, sickle, outbox_pending, sicklescope_version "
     "FROM devices_now WHERE site IN ($site) ORDER BY site, device"),
    ("Samples a day", "timeseries", "short",
     "SELECT CAST(read_day AS timestamp) AS time, site AS metric, sum(samples) AS value FROM samples_a_day "
     "WHERE site IN ($site) AND read_day BETWEEN '${__from:date:YYYY-MM-DD}' AND '${__to:date:YYYY-MM-DD}' "
     "GROUP BY 1, 2 ORDER BY 1"),
    ("Sickle-like of red cells, by site (95 % interval between samples)", "table", "percentunit",
     "SELECT site, samples, sickle, red_cells, fraction, fraction_low, fraction_high FROM sickle_fraction_by_site "
     "WHERE site IN ($site)"),
    ("Samples above the limit of blank (95 % interval)", "table", "percentunit",
     "SELECT site, samples, above_blank, share, share_low, share_high FROM above_blank_by_site WHERE site IN ($site)"),
    ("Waiting for review", "table", "",
     "SELECT site, device, waiting, waiting_since, mean_hours, longest_hours FROM review_lag WHERE site IN ($site)"),
    ("Control slides", "table", "",
     "SELECT site, device, control_slide, read_at, sickle, red_cells, failed FROM control_state WHERE site IN ($site)"),
    ("Something is missing", "table", "",
     "SELECT site, device, results_missing, messages_missing FROM missing "
     "WHERE site IN ($site) AND results_missing + messages_missing > 0"),
    ("Messages refused, by reason", "table", "",
     "SELECT day, site, device, kind, reason, messages, detail FROM refusals_by_reason ORDER BY day DESC LIMIT 100"),
    ("Fields rejected, by reason", "table", "",
     "SELECT * FROM fields_rejected_a_day WHERE site IN ($site) ORDER BY read_day DESC LIMIT 100"),
    ("Versions in the field", "table", "",
     "SELECT site, sicklescope_version, classifier_version, devices FROM versions_in_the_field WHERE site IN ($site)"),
    ("Temperature", "timeseries", "celsius",
     "SELECT to_timestamp(at_ms / 1000.0) AS time, d.device AS metric, t.temperature_c AS value FROM telemetry t "
     "JOIN devices d ON d.id = t.device_id WHERE d.site IN ($site) AND at_ms BETWEEN $__from AND $__to ORDER BY 1"),
)  # fmt: skip
"""Title, type, unit and query of each panel; `$site` is chosen on the page."""


def grafana() -> str:
    """Return the dashboard over the views of docs/fleet.md."""
    source = {"type": "grafana-postgresql-datasource", "uid": "sicklescope"}
    panels = []
    for number, (title, kind, unit, query) in enumerate(PANELS):
        panel: dict[str, Any] = {
            "id": number + 1,
            "title": title,
            "type": kind,
            "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        }
        if kind == "text":
            panel["options"] = {"mode": "markdown", "content": query}
        else:
            shape = "time_series" if kind == "timeseries" else "table"
            panel |= {
                "datasource": source,
                "fieldConfig": {"defaults": {"unit": unit} if unit else {}, "overrides": []},
                "targets": [{"refId": "A", "datasource": source, "rawQuery": True, "format": shape, "rawSql": query}],
            }
        panels.append(panel)
    chosen = {
        "name": "site", "label": "Site", "type": "query", "datasource": source, "multi": True, "includeAll": True,
        "query": "SELECT DISTINCT site FROM devices ORDER BY site", "refresh": 2,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
    document = {
        "uid": "sicklescope", "title": "sicklescope", "schemaVersion": 39, "refresh": "30s", "timezone": "utc",
        "time": {"from": "now-30d", "to": "now"}, "templating": {"list": [chosen]}, "panels": panels,
    }  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


FILES = {"telegraf.conf": telegraf, "asyncapi.json": asyncapi, "grafana/dashboards/sicklescope.json": grafana}

if __name__ == "__main__":
    for file, text in FILES.items():
        (FOLDER / file).write_text(text(), "utf-8")
