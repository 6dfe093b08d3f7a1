"""Home Assistant takes the discovery message and understands what the device sends: `make test-ha`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet_devices import VirtualDevice
from edge.config.model import DeviceConfig, MqttConfig
from edge.publish.message_base import Message, topic
from edge.service.home_assistant import discovery

PYTHON = os.environ.get("HOME_ASSISTANT_PYTHON")

pytestmark = pytest.mark.skipif(PYTHON is None, reason="Home Assistant not installed (make test-ha)")


def read(payload: str, messages: list[Message]) -> Any:
    by_topic: dict[str, list[str]] = {}
    for message in messages:
        by_topic.setdefault(topic(message, message.site, message.device), []).append(message.to_json())
    done = subprocess.run(
        [str(PYTHON), Path(__file__).with_name("home_assistant_reads.py")],
        input=json.dumps({"payload": payload, "messages": by_topic}), capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_home_assistant_takes_every_key_and_shows_the_present_alone() -> None:
    """An unknown key is dropped by Home Assistant without a word; a message of the past must change nothing."""
    device = VirtualDevice("mbarara.1", "scope_1")
    compose = device.compose
    past = device.telemetry().model_copy(update={"historical": True, "outbox_pending": 7})
    slow = device.telemetry().model_copy(update={"throttling": "heat", "sample": "K-1"})
    mute = device.telemetry().model_copy(update={"throttling": None, "temperature_c": None})
    messages = [
        compose.status("online"), compose.status("fault", "no camera"), device.telemetry(), past, slow, mute,
        compose.event("error", "control", 'it said "no", and\nmore'),
        compose.event("info", "doctor", "tried").model_copy(update={"historical": True}),
    ]  # fmt: skip
    found = read(discovery(DeviceConfig(site="mbarara.1", device="scope_1"), MqttConfig())[1], list(messages))
    print("Home Assistant", found["version"])
    assert {key: names for key, names in found["dropped"].items() if names} == {}
    values = found["values"]
    assert values["state"] == ["online", "fault"]
    assert values["problem"] == ["OFF", "ON"]
    assert values["outbox_pending"] == ["0", "", "0", "0"], "empty: nothing changes"
    assert values["scanning"] == ["OFF", "", "ON", "OFF"]
    assert values["throttled"] == ["OFF", "", "ON", "None"], "None: unknown"
    assert values["temperature"] == ["54.9", "", "54.9", "None"]
    event, old = values["event"]
    assert json.loads(event) == {"event_type": "error", "code": "control", "text": 'it said "no", and\nmore'}
    assert old == ""
