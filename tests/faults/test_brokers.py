"""Brokers that are away for a day, freeze, never acknowledge, or are shared with a second device of the same name."""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.config.model import MqttConfig
from edge.publish import sender
from edge.publish.composer import HISTORICAL_MS, Composer
from edge.publish.pending import NEWS
from edge.publish.publisher import Publisher
from edge.publish.sender import WINDOW
from edge.storage.database import Database
from edge.storage.outbox import KEPT, Outbox
from tests.edge.publish.publish_parts import COUNTS, DEVICE, HEALTH, birth, composer, result
from tests.faults.parts import scaled, told
from tests.mosquitto import Listener, Mosquitto, free_port, wait_for

pytestmark = pytest.mark.faults

Start = Callable[..., Mosquitto]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        yield Outbox(database)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.1)


def publisher(port: int, compose: Composer, outbox: Outbox) -> Publisher:
    config = MqttConfig(host="127.0.0.1", port=port, replay_per_s=1000)
    return Publisher(config, compose, outbox, lambda: birth(compose))


def put(publishing: Publisher, compose: Composer, number: int) -> list[str]:
    results = [result(compose) for _ in range(number)]
    for one in results:
        publishing.result(one)
    return [str(one.id) for one in results]


@pytest.mark.timeout(1200)
def test_a_day_without_a_broker_costs_no_result_and_the_oldest_telemetry_only(
    start_mosquitto: Start, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KEPT, "telemetry", scaled(150, KEPT["telemetry"]))
    hours = 25
    telemetry = KEPT["telemetry"] * hours // 24
    uptime_s = 1000.0
    compose = Composer(DEVICE, monotonic=lambda: uptime_s, synchronised=lambda: True)
    ids: list[str] = []
    numbers: list[int] = []
    with publisher(free_port(), compose, outbox) as publishing:
        wait_for(lambda: "cannot be reached" in publishing.state().reason)
        for number in range(telemetry):
            uptime_s += hours * 3600 / telemetry
            message = compose.telemetry("", COUNTS, HEALTH, pending=0, refused=0, unheard=0, dropped=0)
            numbers.append(message.seq)
            publishing.live(message)
            if number % (telemetry // 60) == 0:
                ids += put(publishing, compose, 1)
            if number % (NEWS // 2) == 0:
                wait_for(lambda: not publishing._pending._news)
        wait_for(lambda: not publishing._pending._news)
        assert publishing.state().dropped == telemetry - KEPT["telemetry"]
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, publisher(broker.port, compose, outbox) as publishing:
        wait_for(lambda: not outbox.pending(1), 600)
        wait_for(lambda: len(dashboard.of("telemetry")) == KEPT["telemetry"])
    assert [message["id"] for message in dashboard.of("result")] == ids
    assert [message["seq"] for message in dashboard.of("telemetry")] == numbers[-KEPT["telemetry"] :]
    late = [message["historical"] for kind in ("result", "telemetry") for message in dashboard.of(kind)]
    assert all(late[: len(ids)])
    fresh = 1 + HISTORICAL_MS * telemetry // (hours * 3_600_000)
    assert late.count(False) <= fresh, "all but what was made in the last seconds"
    order = [topic.rpartition("/")[2] for topic, _, _ in dashboard.seen]
    assert "telemetry" not in order[: order.index("result") + len(ids)]
    told("a day without a broker", results=len(ids), telemetry_made=telemetry, telemetry_arrived=KEPT["telemetry"])


def test_a_frozen_broker_costs_nothing(start_mosquitto: Start, outbox: Outbox) -> None:
    broker, compose = start_mosquitto(), composer()
    with Listener(broker.host, broker.port) as dashboard, publisher(broker.port, compose, outbox) as publishing:
        wait_for(lambda: publishing.state().connected)
        assert broker._process is not None
        broker._process.send_signal(signal.SIGSTOP)
        ids = put(publishing, compose, 2 * WINDOW)
        assert not publishing.drain(0.5)
        assert outbox.counts().pending == len(ids)
        broker._process.send_signal(signal.SIGCONT)
        assert publishing.drain(10)
        wait_for(lambda: len(dashboard.of("result")) == len(ids))
    assert [message["id"] for message in dashboard.of("result")] == ids


class Mute:
    """A broker that lets everyone in, answers every ping, and acknowledges no message. seen: ids, by connection.

    farewell: sent at the first result; then it ends the connection.
    """

    def __init__(self, farewell: bytes = b"") -> None:
        self._farewell = farewell
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.seen: list[list[str]] = []
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Mute:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for peer in self._open:
            peer.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self._open.append(peer)
            self.seen.append([])
            with peer, peer.makefile("rb") as stream:
                self._talk(peer, stream.read, self.seen[-1])

    def _talk(self, peer: socket.socket, read: Callable[[int], bytes], seen: list[str]) -> None:
        try:
            while first := read(1):
                length, shift = 0, 0
                while True:  # the remaining length: seven bits in each byte (MQTT 5, 1.5.5)
                    (byte,) = read(1)
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                body = read(length)
                kind = first[0] >> 4
                if kind == 1:
                    peer.sendall(b"\x20\x03\x00\x00\x00")
                elif kind == 12:
                    peer.sendall(b"\xd0\x00")
                elif kind == 3 and b"/result" in body[:80]:
                    seen.append(json.loads(body[body.index(b"{") :])["id"])
                    peer.sendall(self._farewell)
                    if self._farewell:
                        return
        except (OSError, ValueError):
            return  # the device left in the middle of a packet


def test_a_broker_that_never_acknowledges_is_tried_anew_and_never_taken_for_success(
    start_mosquitto: Start, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PATIENCE_S", 0.3)
    monkeypatch.setattr(sender, "POLL_S", 0.1)
    compose = composer()
    with Mute() as mute, publisher(mute.port, compose, outbox) as publishing:
        ids = put(publishing, compose, 3 * WINDOW)
        wait_for(lambda: sum(ids[0] in connection for connection in mute.seen) > 1)  # sent again, for want of an answer
        assert outbox.counts().pending == len(ids)
    monkeypatch.undo()  # a busy machine's real broker is not to be taken for a mute one
    told_why = [row.payload for row in outbox.pending() if "left a message unacknowledged" in row.payload]
    assert told_why, "an event says what is wrong with this broker, and is kept until one listens"
    assert {one for connection in mute.seen for one in connection} <= set(ids[:WINDOW]), (
        "the window bounds what is sent"
    )
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, publisher(broker.port, compose, outbox) as publishing:
        assert publishing.drain(10)
        wait_for(lambda: len(dashboard.of("result")) == len(ids))
    assert [message["id"] for message in dashboard.of("result")] == ids


def test_a_second_client_of_the_same_name_is_named_and_delays_results_only(
    start_mosquitto: Start, outbox: Outbox
) -> None:
    broker, compose = start_mosquitto(), composer()
    name = f"sicklescope-{compose.site}-{compose.device}"
    rival = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    rival.reconnect_delay_set(1, 1)
    with Listener(broker.host, broker.port) as dashboard, publisher(broker.port, compose, outbox) as publishing:
        wait_for(lambda: publishing.state().connected)
        rival.connect(broker.host, broker.port)
        rival.loop_start()
        try:
            ids = []
            for _ in range(3):  # three times thrown out and back
                wait_for(lambda: not publishing.state().connected)
                ids += put(publishing, compose, 5)
                wait_for(lambda: publishing.state().connected)
            wait_for(lambda: {message["id"] for message in dashboard.of("result")} == set(ids))
        finally:
            rival.disconnect()
            rival.loop_stop()
        wait_for(lambda: [one for one in dashboard.of("event") if f"calls itself '{name}'" in one["text"]])
        assert publishing.drain(10)


def test_a_broker_that_says_who_took_the_session_is_quoted(outbox: Outbox) -> None:
    compose = composer()
    session_taken_over = b"\xe0\x02\x8e\x00"
    with Mute(session_taken_over) as broker, publisher(broker.port, compose, outbox) as publishing:
        (only,) = put(publishing, compose, 1)
        reason = wait_for(lambda: publishing.state().reason)
        wait_for(lambda: len(broker.seen) == 2 and broker.seen[1])
    assert "Session taken over (142). Another client calls itself 'sicklescope-mbarara-scope-1'" in reason
    assert broker.seen == [[only], [only]]
