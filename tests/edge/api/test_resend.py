"""A dashboard sees which results it misses, and gets them, long after the broker took them.

Kind: results that nobody will ever get. With every step of docs/mqtt.md followed, 0.6.0 lost 500 of 1,500 behind a
stock Mosquitto.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import SecretStr

from edge.api import mqtt
from edge.api.authentication import sign
from edge.config.model import CameraConfig, Config, ScreeningConfig
from edge.publish.composer import Composer
from edge.sample.lifecycle import Lifecycle
from edge.storage.database import Database, database_path
from tests.edge.publish.publish_parts import record
from tests.edge.service.service_parts import configured, do, outbox_of, running
from tests.mosquitto import Mosquitto, wait_for
from tests.schemas import DOCS

SECRET = "a secret of the clinic"  # noqa: S105
BRANCH = "sicklescope/v1/lab/one"

Start = Callable[..., Mosquitto]
Missing = Callable[[str, set[int]], list[tuple[int, int]]]


def documented() -> Missing:
    """Return the function that docs/mqtt.md gives to dashboards."""
    (text,) = re.findall(r"```python\n(def missing.*?)```", (DOCS / "mqtt.md").read_text("utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(text, found)  # noqa: S102
    missing: Missing = found["missing"]
    return missing


class Dashboard:
    """Keeps what it ever got; comes and goes, with a kept session on `…/result` alone."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.results: dict[str, dict[str, Any]] = {}
        self.received = 0
        self.latest: dict[str, dict[str, Any]] = {}
        self.replies: list[tuple[dict[str, Any], bytes | None]] = []
        self.used: set[str] = set()

    @property
    def numbers(self) -> set[int]:
        # A copy, made in one step: the client's thread goes on filling.
        return {one["number"] for one in list(self.results.values())}

    @contextmanager
    def connected(self) -> Iterator[Client]:
        kept = Client(CallbackAPIVersion.VERSION2, "dashboard-1", protocol=MQTTProtocolVersion.MQTTv5)
        live = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        expiry.SessionExpiryInterval = 0xFFFFFFFF
        subscribed: list[int] = []
        for client in (kept, live):
            client.on_message = self._on_message
            client.on_subscribe = lambda *_: subscribed.append(1)
        kept.connect("127.0.0.1", self.port, clean_start=False, properties=expiry)
        kept.on_connect = lambda client, *_: client.subscribe("sicklescope/v1/+/+/result", 1)
        live.connect("127.0.0.1", self.port)
        live.on_connect = lambda client, *_: client.subscribe(
            [(f"{BRANCH}/{kind}", 1) for kind in ("birth", "results", "reply")]
        )
        for client in (kept, live):
            client.loop_start()
        wait_for(lambda: len(subscribed) == 2)
        yield live
        for client in (kept, live):
            client.disconnect()
            client.loop_stop()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        kind, payload = message.topic.rpartition("/")[2], json.loads(message.payload)
        if kind == "result":
            self.received += 1
            self.results[payload["id"]] = payload
        elif kind == "reply":
            self.replies.append((payload, getattr(message.properties, "CorrelationData", None)))
        else:
            self.latest[kind] = payload

    def ask(self, client: Client, order: dict[str, Any] | str, correlation: bytes = b"") -> dict[str, Any]:
        """Send a command, and return its reply."""
        challenge = wait_for(lambda: {self.latest["birth"]["command_challenge"]} - self.used).pop()
        self.used.add(challenge)
        text = order if isinstance(order, str) else json.dumps(order)
        topic, before = f"{BRANCH}/command", len(self.replies)
        mac = sign(SECRET, topic, challenge, text)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if correlation:
            properties.CorrelationData = correlation
        envelope = {"challenge": challenge, "order": text, "mac": mac}
        client.publish(topic, json.dumps(envelope), 1, properties=properties)
        wait_for(lambda: len(self.replies) > before)
        return self.replies[-1][0]


def device(state: Path, port: int) -> Config:
    camera = CameraConfig(kind="virtual", width=320, height=240, frames=100_000, fps=50)
    config = configured(state, port, camera)
    settings = {"commands": True, "command_secret": SecretStr(SECRET), "replay_per_s": 0.0}
    return config.model_copy(update={"mqtt": config.mqtt.model_copy(update=settings), "screening": ScreeningConfig()})


def make_results(config: Config, count: int) -> list[int]:
    """Let the device have a sample with so many results, which wait for the broker; return their numbers."""
    compose = Composer(config.device)
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, compose)
        made = record()
        sample = lifecycle.start(made, "{}", "ward")
        numbers = []
        with database.transaction():
            for revision in range(1, count + 1):
                one = compose.result(made, revision, lifecycle.numbers.take(), "incomplete", "")
                lifecycle.store.add_result(str(one.id), sample.id, revision, one.number, one.to_json())
                lifecycle._outbox.put(one.id, f"{BRANCH}/result", one.to_json())
                numbers.append(one.number or 0)
            database.write("UPDATE samples SET state = 'incomplete'")
    return numbers


def drained(config: Config) -> None:
    with outbox_of(config) as outbox:
        wait_for(lambda: not outbox.counts().pending, 30)


@pytest.mark.parametrize(
    ("lines", "at_most"), [((), 500), (("max_queued_messages 100000",), 0)], ids=["stock", "shipped"]
)
def test_all_of_1500_results_come_to_a_dashboard_that_was_away(
    start_mosquitto: Start, tmp_path: Path, lines: tuple[str, ...], at_most: int
) -> None:
    """The stock broker keeps 1,000 for it, and acknowledges the others with success; with our limits it keeps all."""
    broker = start_mosquitto(*lines)
    config = device(tmp_path / "state", broker.port)
    numbers = make_results(config, 1500)
    dashboard = Dashboard(broker.port)
    with dashboard.connected():
        pass
    with running(config):
        drained(config)
        with dashboard.connected() as client:
            wait_for(lambda: dashboard.received >= 1500 - at_most)
            wait_for(lambda: dashboard.latest.get("results", {}).get("held_results") == 1500)
            index = dashboard.latest["results"]
            assert (index["held"], index["listed_from"]) == (f"{numbers[0]}-{numbers[-1]}", 0)
            lost = documented()(index["held"], dashboard.numbers)
            count = sum(last - first + 1 for first, last in lost)
            assert bool(at_most) == bool(count), "what the stock broker loses is what this test is about"
            assert count <= at_most
            for first, last in lost:
                reply = dashboard.ask(client, {"command": "resend", "first": first, "last": last, "by": "dashboard"})
                assert (reply["command"], reply["error"], reply["results"]) == ("resend", "", last - first + 1)
            wait_for(lambda: dashboard.numbers == set(numbers), 30)
            wait_for(lambda: documented()(dashboard.latest["results"]["held"], dashboard.numbers) == [])
    assert sorted(one["revision"] for one in dashboard.results.values()) == list(range(1, 1501))


def test_a_reply_says_whose_it_is_and_what_was_not_done(
    start_mosquitto: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: an answer that nobody can tell whose it is; results that are damaged, erased or too many."""
    monkeypatch.setattr(mqtt, "RESENT_PER_HOUR", 30)
    broker = start_mosquitto()
    config = device(tmp_path / "state", broker.port)
    numbers = make_results(config, 12)
    dashboard = Dashboard(broker.port)
    with dashboard.connected() as client, running(config):
        drained(config)
        wait_for(lambda: dashboard.numbers == set(numbers))
        wait_for(lambda: dashboard.latest.get("results", {}).get("held_results") == 12)
        with sqlite3.connect(database_path(config)) as other:
            other.execute("DELETE FROM results WHERE number = ?", (numbers[3],))
            other.execute("UPDATE results SET payload = replace(payload, '37', '38') WHERE number = ?", (numbers[5],))
        other.close()
        order = {"command": "resend", "first": numbers[0], "last": numbers[-1], "by": "dashboard", "request": "q-1"}
        reply = dashboard.ask(client, order, b"\x00seven")
        assert reply["results"] == 10
        assert reply["error"] == "1 more are damaged on the disk and are not sent"
        assert (reply["request"], dashboard.replies[-1][1]) == ("q-1", b"\x00seven")
        wait_for(lambda: dashboard.received == 22)
        assert len(dashboard.results) == 12, "the same results under the same id"
        assert all(one["historical"] in (True, False) and one["sickle"] == 37 for one in dashboard.results.values())

        asked = do(tmp_path / "state", command="resend", first=numbers[0], last=numbers[1], by="operator")
        assert asked["results"] == 2, "at the device too, and without its limit"

        assert "no range of 1 to 1000" in dashboard.ask(client, {**order, "last": numbers[0] + 1000})["error"]
        dashboard.ask(client, order)
        limited = dashboard.ask(client, order, b"third")
        assert limited["error"].startswith("at most 30 results an hour are sent again. Ask in ")
        assert (limited["request"], limited["command"], dashboard.replies[-1][1]) == ("q-1", "resend", b"third")

        for refused in (
            {"command": "fly", "by": "ward", "request": "r-1"},
            {"command": "erase", "sample": "K-1", "by": "ward", "request": "r-1"},
            {"command": "stop", "by": "ward", "request": "r-1"},
        ):
            answer = dashboard.ask(client, refused, b"c")
            assert answer["error"]
            assert (answer["request"], dashboard.replies[-1][1]) == ("r-1", b"c")
        assert dashboard.ask(client, '{"command": "stop", "request": ', b"torn")["request"] == ""
        assert dashboard.replies[-1][1] == b"torn"
