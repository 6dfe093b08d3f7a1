"""What Home Assistant is told of a device: sent, changed and taken away at a real broker.

Kind: a device that stays in Home Assistant after it was switched off there, or a broker's denial that stops results.
What Home Assistant itself makes of the message: `make test-ha`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge.config.model import DeviceConfig, MqttConfig
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.service import home_assistant
from edge.service.home_assistant import announced, discovery
from edge.storage.database import Database
from edge.storage.outbox import Outbox
from tests.edge.publish.publish_parts import birth, composer, result
from tests.mosquitto import Listener, Mosquitto, wait_for, with_users

TOPIC = "homeassistant/device/mbarara/scope-1/config"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        yield Outbox(database)


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_assistant, "POLL_S", 0.02)


@contextmanager
def running(
    broker: Mosquitto, folder: Path, outbox: Outbox, device: str = "scope-1", **more: object
) -> Iterator[Publisher]:
    named = DeviceConfig(site="mbarara", device=device, state_dir=folder)
    mqtt = MqttConfig.model_validate({"host": broker.host, "port": broker.port, **more})
    compose = Composer(named)
    with (
        Publisher(mqtt, compose, outbox, lambda: birth(compose)) as publisher,
        announced(named, mqtt, compose, publisher),
    ):
        yield publisher


def lies(broker: Mosquitto) -> list[str]:
    """Return the topics of what the broker keeps below `homeassistant/`."""
    found: list[str] = []
    ended = threading.Event()

    def on_message(client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.topic == "homeassistant/end":
            ended.set()
        else:
            found.append(message.topic)

    def on_connect(client: Client, *_: object) -> None:
        client.subscribe("homeassistant/#")

    def on_subscribe(client: Client, *_: object) -> None:
        client.publish("homeassistant/end", "x")  # what is retained comes before it

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message, client.on_connect, client.on_subscribe = on_message, on_connect, on_subscribe
    client.connect(broker.host, broker.port)
    client.loop_start()
    assert ended.wait(30)
    client.disconnect()
    client.loop_stop()
    return found


def test_the_message_is_retained_and_taken_away_where_it_is_switched_off(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, outbox: Outbox
) -> None:
    broker = start_mosquitto()
    with running(broker, tmp_path, outbox):
        pass
    assert not (tmp_path / home_assistant.NAME).exists(), "off unless it is asked for"
    with running(broker, tmp_path, outbox, home_assistant=True):
        wait_for(lambda: lies(broker) == [TOPIC], 30)
    assert lies(broker) == [TOPIC], "a device that is off for the night stays"
    with running(broker, tmp_path, outbox, "scope-2", home_assistant=True):
        wait_for(lambda: lies(broker) == [TOPIC.replace("scope-1", "scope-2")], 30)
    with running(broker, tmp_path, outbox, "scope-2"):
        wait_for(lambda: not (tmp_path / home_assistant.NAME).exists(), 30)
    assert lies(broker) == []


def test_it_is_sent_again_to_a_broker_that_forgot_it(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, outbox: Outbox
) -> None:
    broker = start_mosquitto()
    with running(broker, tmp_path, outbox, home_assistant=True):
        wait_for(lambda: lies(broker) == [TOPIC], 30)
        broker.stop()
        broker.start()
        wait_for(lambda: lies(broker) == [TOPIC], 30)


def test_a_broker_that_denies_it_is_told_and_results_flow(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, outbox: Outbox
) -> None:
    acl = ("user scope", "topic write sicklescope/#", "user dashboard", "topic read #")
    broker = start_mosquitto(*with_users(tmp_path, *acl))
    who = {"username": "scope", "password": "right"}
    with (
        Listener(broker.host, broker.port, user=("dashboard", "reader")) as dashboard,
        running(broker, tmp_path, outbox, home_assistant=True, **who) as publisher,
    ):
        publisher.result(result(composer()))
        wait_for(lambda: [one for one in dashboard.of("event") if one["code"] == "home_assistant"], 30)
        assert publisher.drain(10)
        (event,) = [one for one in dashboard.of("event") if one["code"] == "home_assistant"]
        assert "Not authorized" in event["text"]
        assert TOPIC in event["text"]
        assert dashboard.states() == ["online"], "one connection"


def test_no_two_devices_share_a_topic_and_none_has_a_dot() -> None:
    names = ("a.b", "a_b", "a_-b", "a-b", "a__b")
    topics = {discovery(DeviceConfig(site=one, device=other), MqttConfig())[0] for one in names for other in names}
    assert len(topics) == 25
    assert not any("." in topic for topic in topics)


def test_it_names_no_sample_and_shows_no_result() -> None:
    entities = json.loads(discovery(DeviceConfig(), MqttConfig())[1])["components"]
    assert {entity["state_topic"].rpartition("/")[2] for entity in entities.values()} == {
        "status", "telemetry", "progress", "event",
    }  # fmt: skip
    templates = " ".join(json.dumps(entity) for entity in entities.values())
    assert "fraction" not in templates
    assert 'sickle"' not in templates
    assert templates.count("value_json.sample") == 1, "whether a sample is read, and not which"
