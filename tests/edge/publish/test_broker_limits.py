"""Brokers that state limits, refuse for the moment, end the connection for one message, or have no subscribers.

Kind of fault: one message, or one limit of the broker, stops all results; or a result goes where nobody gets it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest

from edge.config.model import MqttConfig
from edge.publish import replay, sender, suspects
from edge.publish.composer import Composer
from edge.publish.connection import Listen
from edge.publish.publisher import Publisher
from edge.storage.outbox import Outbox
from tests.edge.publish.publish_parts import birth, result
from tests.edge.publish.scripted_broker import SILENCE, ScriptedBroker
from tests.mosquitto import Listener, Mosquitto, wait_for

StartMosquitto = Callable[..., Mosquitto]

PACKETS_OF_4000 = b"\x27\x00\x00\x0f\xa0"
NO_RETAIN = b"\x25\x00"
QOS_0_ONLY = b"\x24\x00"


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.publish.connection.random.uniform", lambda low, high: 0.05)
    monkeypatch.setattr(suspects, "RETRY_S", (0.1, 0.5))
    monkeypatch.setattr(replay, "_ALL_PAUSE_S", (0.05, 0.2))


def publisher(port: int, compose: Composer, outbox: Outbox, protocol: str = "5") -> Publisher:
    config = MqttConfig.model_validate({"host": "127.0.0.1", "port": port, "protocol": protocol, "replay_per_s": 0})
    return Publisher(config, compose, outbox, lambda: birth(compose))


def put(publishing: Publisher, compose: Composer, number: int, reason: str = "") -> list[str]:
    results = [result(compose).model_copy(update={"reason": reason}) for _ in range(number)]
    for one in results:
        publishing.result(one)
    return [str(one.id) for one in results]


def events(broker: ScriptedBroker, code: str) -> list[str]:
    return [message["text"] for message in broker.of("event") if message["code"] == code]


@pytest.mark.parametrize("maximum", [1, 3])
def test_a_small_receive_maximum_is_heeded(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, maximum: int
) -> None:
    """0.6.0 ignored it: the broker ended 53 connections in 55 s, and 30 of 30 results still waited."""
    broker = start_mosquitto(f"max_inflight_messages {maximum}")
    with Listener(broker.host, broker.port) as dashboard, publisher(broker.port, compose, outbox) as publishing:
        ids = put(publishing, compose, 30)
        wait_for(lambda: publishing.state().connected)
        assert publishing.drain(10)
        wait_for(lambda: len(dashboard.of("result")) == 30)
        assert [one["id"] for one in dashboard.of("result")] == ids
        assert dashboard.states() == ["online"], "one connection"


def test_a_result_larger_than_the_broker_takes_is_set_aside_and_the_others_flow(
    compose: Composer, outbox: Outbox
) -> None:
    """0.6.0 sent it again and again, and with it all others."""
    with ScriptedBroker(PACKETS_OF_4000) as broker, publisher(broker.port, compose, outbox) as publishing:
        (large,) = put(publishing, compose, 1, reason="x" * 4000)
        small = put(publishing, compose, 12)
        wait_for(lambda: publishing.state().connected)
        assert publishing.drain(10)
        wait_for(lambda: events(broker, "result_refused"))
        assert broker.connections == 1
        assert [one["id"] for one in broker.of("result")] == small
        ((kept, why),) = [(row.id, row.refused_reason) for row in outbox.refused()]
        assert kept == large
        assert "packets of 4000 (Maximum Packet Size)" in why


@pytest.mark.parametrize("place", [0, 5, 11])
def test_a_result_that_ends_the_connection_is_set_aside_and_the_others_flow(
    compose: Composer, outbox: Outbox, caplog: pytest.LogCaptureFixture, place: int
) -> None:
    """A broker may end the connection without saying its limit; in 0.6.0 all results then waited for ever.

    Tries: once among others, then twice alone; paho says "no connection" also of a message that left and ended it.
    """
    ids = [str(result(compose).id) for _ in range(12)]
    bad = ids[place]
    with (
        ScriptedBroker(answer=lambda message: None if message.get("id") == bad else 0) as broker,
        publisher(broker.port, compose, outbox) as publishing,
    ):
        for one in ids:
            made = result(compose).model_copy(update={"id": UUID(one)})
            publishing.result(made)
        wait_for(lambda: publishing.state().refused == 1)
        wait_for(lambda: publishing.state().pending == 0)
        wait_for(lambda: events(broker, "result_refused"))
        assert [row.id for row in outbox.refused()] == [bad]
    tries = Counter(str(one["id"]) for one in broker.of("result"))
    assert set(tries) == set(ids)
    assert tries.pop(bad) <= 3
    assert max(tries.values()) <= 2
    assert broker.connections <= 4
    assert "another client" not in caplog.text


@pytest.mark.parametrize("code", [0x80, 0x83, 0x97])
def test_what_is_refused_for_the_moment_is_tried_again_by_itself(compose: Composer, outbox: Outbox, code: int) -> None:
    """0.6.0 kept it until a person sent it again."""
    refused: Counter[str] = Counter()

    def answer(message: dict[str, object]) -> int:
        refused[str(message.get("id", ""))] += 1
        return code if "id" in message and refused[str(message["id"])] < 3 else 0

    with ScriptedBroker(answer=answer) as broker, publisher(broker.port, compose, outbox) as publishing:
        ids = put(publishing, compose, 3)
        wait_for(lambda: outbox.counts().pending == 0)
        assert outbox.counts().refused == 0
        assert {refused[one] for one in ids} == {3}
        wait_for(lambda: len(events(broker, "result_refused")) == 3)


def test_a_broker_without_retain_is_named_with_the_remedy(compose: Composer, outbox: Outbox) -> None:
    """0.6.0 sent its status retained, which such a broker answers by ending the connection."""
    with ScriptedBroker(NO_RETAIN) as broker, publisher(broker.port, compose, outbox) as publishing:
        ids = put(publishing, compose, 2)
        (text,) = wait_for(lambda: events(broker, "broker_without_retain"))
        assert "retain_available true" in text
        assert publishing.drain(10)
        assert [one["id"] for one in broker.of("result")] == ids
        assert not broker.flags["sicklescope/status/1"] & 1


def test_a_broker_of_qos_0_gets_no_result_that_it_cannot_acknowledge(compose: Composer, outbox: Outbox) -> None:
    """A message of a QoS above the broker's ends the connection; one of QoS 0 would be lost without a word."""
    with ScriptedBroker(QOS_0_ONLY) as broker, publisher(broker.port, compose, outbox) as publishing:
        put(publishing, compose, 2)
        wait_for(lambda: "sicklescope/event/1" in broker.flags)
        assert not broker.flags["sicklescope/status/1"] & 0x06
        assert (outbox.counts().pending, broker.connections) == (2, 1)


def test_a_broker_that_talks_and_acknowledges_nothing_is_connected_to_anew(
    compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paho 2.2 takes any byte for a sign of life, so it never notices that its pings go unanswered.

    Kind: a connection that looks alive, and carries nothing.
    """
    monkeypatch.setattr(sender, "PATIENCE_S", 0.5)
    monkeypatch.setattr(sender, "POLL_S", 0.1)
    silent = [True]
    with (
        ScriptedBroker(answer=lambda message: SILENCE if silent[0] else 0, talks=True) as broker,
        publisher(broker.port, compose, outbox) as publishing,
    ):
        ids = put(publishing, compose, 3)
        wait_for(lambda: "left a message unacknowledged" in publishing.state().reason)
        assert publishing.state().pending == 3
        silent[0] = False
        wait_for(lambda: not publishing.state().pending)
        assert broker.connections > 1
        assert {one["id"] for one in broker.of("result")} == set(ids)
        assert not outbox.counts().refused, "none of them is suspected"


def test_a_result_that_is_never_answered_is_set_aside_and_the_others_flow(
    compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the device would connect anew for it every half minute, for ever."""
    monkeypatch.setattr(sender, "PATIENCE_S", 0.3)
    monkeypatch.setattr(sender, "POLL_S", 0.1)
    bad = str(result(compose).id)
    with (
        ScriptedBroker(answer=lambda message: SILENCE if message.get("id") == bad else 0) as broker,
        publisher(broker.port, compose, outbox) as publishing,
    ):
        publishing.result(result(compose).model_copy(update={"id": UUID(bad)}))
        good = put(publishing, compose, 5)
        wait_for(lambda: [row.id for row in outbox.refused()] == [bad])
        wait_for(lambda: not publishing.state().pending)
    assert {one["id"] for one in broker.of("result")} == {bad, *good}


def test_a_broker_that_ends_every_connection_is_asked_less_and_less_often(compose: Composer, outbox: Outbox) -> None:
    """RabbitMQ ends it for each message that it denies: with an event each time, twice a second, for ever."""
    began_s = time.monotonic()
    with (
        ScriptedBroker(answer=lambda message: None) as broker,
        publisher(broker.port, compose, outbox),
    ):
        wait_for(lambda: broker.connections == 5)
    assert time.monotonic() - began_s > 0.05 * (1 + 2 + 4 + 8), "pauses of this test double from 0.05 s"


def test_a_broker_that_refuses_the_subscription_of_commands_is_named(compose: Composer, outbox: Outbox) -> None:
    """Kind: commands that never come in, while both ends say ok."""
    with ScriptedBroker(subscription=0x87) as broker:
        config = MqttConfig(host="127.0.0.1", port=broker.port)
        listen = Listen("sicklescope/v1/mbarara/scope-1/command", lambda payload, correlation: None)
        with Publisher(config, compose, outbox, lambda: birth(compose), listen=[listen]):
            (text,) = wait_for(lambda: events(broker, "commands_refused"))
    assert "Not authorized (135)" in text
    assert "scope-1/command" in text


@pytest.mark.parametrize("limit", ["max_packet_size 4000", "message_size_limit 4000"])
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_mosquittos_own_limits_block_no_other_result(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, limit: str, protocol: str
) -> None:
    """With 0.6.0 ten results arrived 230 times in 40 s, and the outbox never became empty."""
    broker = start_mosquitto(limit)
    with (
        Listener(broker.host, broker.port) as dashboard,
        publisher(broker.port, compose, outbox, protocol) as publishing,
    ):
        wait_for(lambda: publishing.state().connected)
        (large,) = put(publishing, compose, 1, reason="x" * 4000)
        small = put(publishing, compose, 12)
        wait_for(lambda: {one["id"] for one in dashboard.of("result")} == set(small))
        wait_for(lambda: publishing.state().pending == 0)
        # In 3.1.1 Mosquitto answers what is larger than message_size_limit with plain success: nobody can see it.
        lost = protocol == "3.1.1" and limit.startswith("message")
        assert [row.id for row in outbox.refused()] == ([] if lost else [large])


def test_a_result_that_nobody_subscribes_to_is_kept_told_and_sent_again(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PUBACK 16 (no matching subscribers): 0.6.0 deleted the result, and nobody ever got it."""
    broker = start_mosquitto()
    with Listener(broker.host, broker.port, topic="sicklescope/+/+/+/event") as watcher:
        with publisher(broker.port, compose, outbox) as publishing:
            ids = put(publishing, compose, 3)
            wait_for(lambda: outbox.counts().unheard == 3)
            wait_for(lambda: [one for one in watcher.of("event") if one["code"] == "result_unheard"])
        assert [one["code"] for one in watcher.of("event")].count("result_unheard") == 1
    monkeypatch.setattr(replay, "UNHEARD_RETRY_S", 0.3)
    monkeypatch.setattr(sender, "POLL_S", 0.1)
    with publisher(broker.port, compose, outbox) as publishing:
        wait_for(lambda: publishing.state().connected)
        with Listener(broker.host, broker.port) as dashboard:
            wait_for(lambda: {one["id"] for one in dashboard.of("result")} == set(ids))
            assert [one["id"] for one in dashboard.of("result")] == ids
            wait_for(lambda: outbox.counts().unheard == 0)


def test_what_nobody_subscribes_to_takes_no_more_than_its_share_of_the_disk(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_mosquitto()
    with publisher(broker.port, compose, outbox) as publishing:
        ids = put(publishing, compose, 5)
        wait_for(lambda: outbox.counts().unheard == 5)
    one_row = len(outbox.unheard()[0].payload)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"total": one_row * 250})())
    assert outbox.retry_unheard() == 3
    assert [row.id for row in outbox.pending()] == ids[3:]
