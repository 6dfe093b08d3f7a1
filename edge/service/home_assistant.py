"""Home Assistant: one retained message tells it of the device and its entities (MQTT discovery of a device).

It shows whether the device is there and in order, and no result: a result needs its words, its revisions and control
slides apart, which Home Assistant's entities cannot keep.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge.config.model import DeviceConfig, MqttConfig
from edge.errors import BrokerError, ConfigError, StorageError
from edge.publish.broker_check import retain
from edge.publish.composer import Composer
from edge.publish.message_base import Message, topic
from edge.publish.messages import Event, Status, Telemetry
from edge.publish.publisher import Publisher
from edge.publish.result_messages import Progress
from edge.system.atomic_files import aside, move, storage_errors

log = logging.getLogger(__name__)

PREFIX = "homeassistant"
"""Where Home Assistant looks, unless somebody has changed it there."""

NAME = "home-assistant"
"""In the state folder: the topic of the message at the broker, from before it is sent until it is taken away."""

POLL_S = 1.0
"""How often is looked whether there is a new connection."""

_HERE = "{{ 'offline' if value_json.state in ('offline', 'stopped') else 'online' }}"
_DIAGNOSTIC = {"entity_category": "diagnostic"}
_COUNT = {"state_class": "measurement", **_DIAGNOSTIC}
_MEGABYTES = {"device_class": "data_size", "unit_of_measurement": "MB", **_COUNT}


def discovery(device: DeviceConfig, mqtt: MqttConfig) -> tuple[str, str]:
    """Return topic and payload that tell Home Assistant (2024.12 or newer) of this device."""
    identity = f"sicklescope/{device.site}/{device.device}"
    software = version("sicklescope")
    payload = {
        "device": {
            "identifiers": [identity], "name": f"{device.site} {device.device}", "model": "sicklescope",
            "sw_version": software,
        },
        "origin": {"name": "sicklescope", "sw_version": software},
        "components": {
            key: {"unique_id": f"{identity}/{key}", "qos": 1, **entity}
            for key, entity in _entities(device, mqtt).items()
        },
    }  # fmt: skip
    return f"{PREFIX}/device/{_escaped(device.site)}/{_escaped(device.device)}/config", json.dumps(payload)


def _escaped(name: str) -> str:
    """Return a name without the dot, which these topics may not have; no two names become one."""
    return name.replace("_", "__").replace(".", "_-")


def _entities(device: DeviceConfig, mqtt: MqttConfig) -> dict[str, dict[str, Any]]:
    """Return the entities by key, as in Home Assistant's documentation of each platform."""

    def of(model: type[Message]) -> str:
        return topic(model, device.site, device.device)

    status = {"state_topic": of(Status)}
    here = {"availability_topic": of(Status), "availability_template": _HERE}
    telemetry = {
        "platform": "sensor", "state_topic": of(Telemetry), **here,
        "expire_after": int(max(60, 6 * mqtt.telemetry_interval_s)),
    }  # fmt: skip

    def number(key: str, name: str, kind: dict[str, str]) -> dict[str, Any]:
        return {**telemetry, **kind, "name": name, "value_template": _now(f"value_json.{key}")}

    def truth(name: str, expression: str, **more: str) -> dict[str, Any]:
        return {**telemetry, "platform": "binary_sensor", "name": name, "value_template": _now(expression), **more}

    temperature = {"device_class": "temperature", "unit_of_measurement": "°C", **_COUNT}
    return {
        "state": {
            "platform": "sensor", "name": "State", **status, "device_class": "enum",
            "options": ["online", "offline", "stopped", "fault", "building"],
            "value_template": "{{ value_json.state }}", "json_attributes_topic": of(Status),
            "json_attributes_template": "{{ {'reason': value_json.reason} | tojson }}",
        },
        "problem": {
            "platform": "binary_sensor", "name": "Fault", **status, **here, "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.state == 'fault' else 'OFF' }}",
        },
        "scanning": truth("Scanning", "'ON' if value_json.sample else 'OFF'", device_class="running"),
        "red_cells": {
            "platform": "sensor", "name": "Red cells counted", "state_topic": of(Progress), **here,
            "state_class": "measurement", "expire_after": int(max(60, 6 * mqtt.interval_s)),
            "value_template": _now("value_json.red_cells"),
        },
        "outbox_pending": number("outbox_pending", "Results that wait for the broker", _COUNT),
        "outbox_refused": number("outbox_refused", "Results that the broker refused", _COUNT),
        "outbox_unheard": number("outbox_unheard", "Results that nobody receives", _COUNT),
        "temperature": number("temperature_c", "Temperature", temperature),
        "disk_free": number("disk_free_mb", "Disk free", _MEGABYTES),
        "memory_available": number("memory_available_mb", "Memory available", _MEGABYTES),
        "throttled": truth(
            "Slowed down", "None if value_json.throttling is none else 'ON' if value_json.throttling else 'OFF'",
            device_class="problem", **_DIAGNOSTIC,
        ),
        "event": {
            "platform": "event", "name": "Event", "state_topic": of(Event), **here,
            "event_types": ["info", "warning", "error"],
            "value_template": _now("{'event_type': value_json.level, 'code': value_json.code, "
                                   "'text': value_json.text} | tojson"),
        },
    }  # fmt: skip


def _now(expression: str) -> str:
    """Return a template of what a message says of the present; what is past changes nothing."""
    return f"{{{{ '' if value_json.historical else {expression} }}}}"


@contextmanager
def announced(device: DeviceConfig, mqtt: MqttConfig, compose: Composer, publisher: Publisher) -> Iterator[None]:
    """Keep Home Assistant told of the device, or take back what it was told.

    By a connection of its own: what a broker denies here hinders no result. Why it failed is the event
    `home_assistant`, once for each reason.
    """
    announcer = _Announcer(device, mqtt, compose, publisher)
    if not announcer.needed():
        yield
        return
    thread = threading.Thread(target=announcer.run, name="home-assistant", daemon=True)
    thread.start()
    try:
        yield
    finally:
        announcer.stopping.set()
        thread.join()


class _Announcer:
    def __init__(self, device: DeviceConfig, mqtt: MqttConfig, compose: Composer, publisher: Publisher) -> None:
        self.stopping = threading.Event()
        self._wanted = discovery(device, mqtt) if mqtt.home_assistant else None
        self._note = device.state_dir / NAME
        self._mqtt, self._compose, self._publisher = mqtt, compose, publisher
        self._said = ""

    def needed(self) -> bool:
        return self._mqtt.enabled and (self._wanted is not None or bool(_noted(self._note)))

    def run(self) -> None:
        done_on = 0
        while not self.stopping.wait(POLL_S):
            connection = self._publisher.connection
            if connection and connection != done_on:
                done_on = connection
                self._tell()

    def _tell(self) -> None:
        """Send what is wanted, after taking away what is not; the next connection tries again."""
        try:
            before = _noted(self._note)
            if before and (self._wanted is None or before != self._wanted[0]):
                retain(self._mqtt, before, "")
            if self._wanted is None:
                with storage_errors(self._note):
                    self._note.unlink(missing_ok=True)
            else:
                _write_note(self._note, self._wanted[0])
                retain(self._mqtt, *self._wanted)
        except (BrokerError, ConfigError, StorageError) as error:
            self._say(f"Home Assistant was not told of this device: {error}")

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            log.warning("%s", text)
            self._publisher.event(self._compose.event("warning", "home_assistant", text))


def _noted(note: Path) -> str:
    """Return the topic of what lies at the broker, or an empty text."""
    try:
        return note.read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _write_note(note: Path, text: str) -> None:
    with aside(note.parent) as unfinished:
        with storage_errors(note):
            (unfinished / NAME).write_text(text, "utf-8")
        move(unfinished / NAME, note)
