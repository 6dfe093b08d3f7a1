"""The collector against a real broker and a real PostgreSQL, both of which come and go."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psycopg
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.fleet_devices import PublishingDevice, VirtualDevice
from edge.publish.message_base import topic
from fleet.database.postgresql import PostgreSQL as Tables
from fleet.database.schema import VERSION
from tests.edge.api.test_resend import SECRET, make_results
from tests.edge.api.test_resend import device as device_that_takes_commands
from tests.edge.service.service_parts import running
from tests.fleet.fleet_parts import Collector, is_there, kept, made, mqtt, rows, wait_until_listening
from tests.mosquitto import Listener, Mosquitto, wait_for
from tests.postgresql import PostgreSQL

StartMosquitto = Callable[..., Mosquitto]


StartCollector = Callable[..., Collector]


def test_a_result_is_a_row_soon_after_it_was_made(
    broker: Mosquitto, url: str, start_collector: StartCollector, tmp_path: Path
) -> None:
    start_collector(url, broker)
    wait_until_listening(broker, "one")
    with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
        device.finish()
        device.say()
        wait_for(lambda: is_there(url, "results") and kept(url) == made([device]), 30)
        wait_for(lambda: rows(url, "SELECT count(*) FROM telemetry") == [(1,)], 30)
    wait_for(lambda: rows(url, "SELECT state FROM devices_now") == [("stopped",)], 30)
    assert rows(url, "SELECT site, device, samples FROM samples_a_day") == [("mbarara", "scope-1", 1)]
    assert rows(url, "SELECT messages_missing FROM missing") == [(0,)]


def test_one_clinic_collects_into_a_file(broker: Mosquitto, start_collector: StartCollector, tmp_path: Path) -> None:
    file = tmp_path / "fleet.sqlite3"
    collector = start_collector(f"sqlite:///{file}", broker)
    wait_until_listening(broker, "one")
    with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
        device.finish()
        wait_for(lambda: in_file(file, "SELECT id FROM samples") == [(name,) for name in made([device])], 30)
    assert collector.stop() == 0
    assert in_file(file, "SELECT site, device, messages_missing FROM missing") == [("mbarara", "scope-1", 0)]


def in_file(file: Path, statement: str) -> list[tuple[object, ...]]:
    """Return rows of a SQLite database; none while it has no tables."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(file)) as reader:
        return reader.execute(statement).fetchall()
    return []


def test_states_that_were_retained_before_the_collector_came_are_there(
    broker: Mosquitto, url: str, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Kind: a shared subscription gets no retained messages."""
    with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1"):
        start_collector(url, broker)
        wait_for(
            lambda: is_there(url, "devices_now")
            and rows(url, "SELECT state, classifier_version FROM devices_now") == [("online", "1.0.0")], 60,
        )  # fmt: skip


def test_nothing_is_acknowledged_while_the_database_is_away(
    broker: Mosquitto, start_collector: StartCollector, tmp_path: Path
) -> None:
    """The collector is killed meanwhile: what it had received comes again."""
    with PostgreSQL() as server:
        collector = start_collector(server.url, broker)
        wait_until_listening(broker, "one")
        wait_for(lambda: is_there(server.url, "results"), 30)
        server.stop(signal.SIGQUIT)
        with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
            for _ in range(30):
                device.finish()
            wait_for(lambda: not device.waiting, 30)
            wait_for(lambda: "Nothing is acknowledged" in collector.log, 30)
            collector.stop(signal.SIGKILL)
            server.start()
            collector.start()
            wait_for(lambda: kept(server.url) == made([device]), 60)


def test_a_database_without_rights_is_named_and_nothing_is_lost(
    broker: Mosquitto, server: PostgreSQL, url: str, start_collector: StartCollector, tmp_path: Path
) -> None:
    tables = Tables(url)
    tables.create(VERSION)
    tables.close()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS weak")
        owner.execute("CREATE ROLE weak LOGIN")
        owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak")
        collector = start_collector(url.replace("//fleet@", "//weak@"), broker)
        wait_until_listening(broker, "one")
        with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
            device.finish()
            wait_for(lambda: "permission denied" in collector.log, 60)
            owner.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO weak")
            owner.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO weak")
            owner.execute("GRANT ALL ON SCHEMA public TO weak")
            owner.execute("ALTER TABLE telemetry OWNER TO weak")
            owner.execute("ALTER TABLE events OWNER TO weak")
            wait_for(lambda: kept(url) == made([device]), 60)
        owner.execute("REASSIGN OWNED BY weak TO fleet")
        owner.execute("DROP OWNED BY weak")


def test_a_collector_of_an_older_version_does_not_touch_newer_tables(
    broker: Mosquitto, url: str, start_collector: StartCollector
) -> None:
    tables = Tables(url)
    tables.create(VERSION)
    tables.execute("UPDATE fleet_schema SET version = 99")
    tables.close()
    collector = start_collector(url, broker)
    assert collector.wait() == 2
    assert "version 99" in collector.log


def test_a_collector_that_retires_takes_what_its_session_kept(
    broker: Mosquitto, url: str, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Two share the telemetry; one goes for good, and none of its share stays at the broker."""
    start_collector(url, broker, "one")
    second = start_collector(url, broker, "two")
    wait_until_listening(broker, "one", "two")
    second.stop(signal.SIGKILL)
    with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
        for _ in range(20):
            device.say()
        last = device.finish()
        wait_for(lambda: is_there(url, "results") and str(last.id) in kept(url), 30)
        wait_for(lambda: telemetry(url) >= 10, 30)
        assert telemetry(url) < 20, "half of them wait for the second"
        second.start("retire")
        assert second.wait() == 0, second.log
        assert telemetry(url) == 20
        for _ in range(5):
            device.say()
        wait_for(lambda: telemetry(url) == 25, 30)


def telemetry(url: str) -> int:
    return int(str(rows(url, "SELECT count(*) FROM telemetry")[0][0]))


def test_results_that_were_lost_behind_the_broker_are_asked_for_and_come(
    broker: Mosquitto, url: str, start_collector: StartCollector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker took them while another listened; the collector comes later and sees what it misses."""
    config = device_that_takes_commands(tmp_path / "device", broker.port)
    numbers = make_results(config, 30)
    with Listener(broker.host, broker.port) as listener, running(config):
        wait_for(lambda: len({one["number"] for one in listener.of("result")}) == 30, 60)
        collector = start_collector(url, broker)
        wait_for(lambda: is_there(url, "devices") and rows(url, "SELECT held FROM devices WHERE held <> ''"), 60)
        asking = Collector(tmp_path, url, broker, "asking")
        asking.start("missing")
        assert asking.wait() == 1
        assert f"lab/one: {numbers[0]}-{numbers[-1]}" in asking.log
        monkeypatch.setenv("FLEET_COMMAND_SECRET", SECRET)
        asking.start("resend")
        assert asking.wait() == 0, asking.log
        assert "30 results are sent again" in asking.log
        wait_for(lambda: len(kept(url)) == 30, 60)
        asking.start("missing")
        assert asking.wait() == 0
    collector.stop()


def publish_raw(broker: Mosquitto, messages: list[tuple[str, bytes]]) -> None:
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for to, payload in messages:
        client.publish(to, payload, 1).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def test_foreign_messages_stop_nothing(
    broker: Mosquitto, url: str, start_collector: StartCollector, tmp_path: Path
) -> None:
    start_collector(url, broker)
    wait_until_listening(broker, "one")
    device = VirtualDevice("mbarara", "scope-1")
    result = device.result()
    newer = {**json.loads(device.result().to_json()), "schema": "sicklescope/result/3"}
    publish_raw(broker, [
        ("sicklescope/v1/mbarara/scope-1/result", b"21.5"),
        ("sicklescope/v1/mbarara/scope-1/result", json.dumps(newer).encode()),
        ("sicklescope/v1/mbarara/scope-1/telemetry", b"x" * 200_000),
        (topic(result, "mbarara", "scope-1"), result.to_json().encode()),
    ])  # fmt: skip
    wait_for(lambda: is_there(url, "results") and len(kept(url)) == 1, 30)
    wait_for(lambda: len(rows(url, "SELECT 1 FROM refusals")) == 3, 30)
    assert rows(url, "SELECT reason FROM set_aside ORDER BY reason") == [("foreign",), ("schema_unknown",)]


def test_what_a_broker_dropped_behind_the_device_is_told(
    start_mosquitto: StartMosquitto, url: str, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Mosquitto keeps so many messages for an absent session and acknowledges the rest with success."""
    broker = start_mosquitto("max_queued_messages 20", "max_inflight_messages 20")
    collector = start_collector(url, broker)
    wait_until_listening(broker, "one")
    with PublishingDevice(tmp_path, mqtt(broker), "mbarara", "scope-1") as device:
        device.finish()
        wait_for(lambda: is_there(url, "results") and kept(url) == made([device]), 30)
        collector.stop()
        for _ in range(100):
            device.finish()
        wait_for(lambda: not device.waiting, 60)
        collector.start()
        wait_until_listening(broker, "one", times=2)
        last = device.finish()
        wait_for(lambda: str(last.id) in kept(url), 60)
        lost = len(made([device])) - len(kept(url))
        assert lost > 0, "the broker kept all: this test shows nothing"
        told = rows(url, "SELECT messages_missing FROM missing")[0][0]
        assert told in (lost - 1, lost), "one number is that of a last will"


@pytest.mark.timeout(300)
def test_broker_database_and_a_collector_fall_under_load_and_every_result_is_there_once(
    broker: Mosquitto, start_collector: StartCollector, tmp_path: Path
) -> None:
    """Forty devices on their own outboxes, three collectors; each part is ended at a moment that chance chooses."""
    chance = random.Random(20)
    with ExitStack() as stack:
        server = stack.enter_context(PostgreSQL())
        collectors = [start_collector(server.url, broker, f"c{number}", batch=50) for number in range(3)]
        wait_until_listening(broker, "c0", "c1", "c2")
        devices = [
            stack.enter_context(PublishingDevice(tmp_path, mqtt(broker), f"site-{number % 5}", f"scope-{number}"))
            for number in range(40)
        ]
        over = threading.Event()

        def work() -> None:
            for _ in range(25):
                for device in devices:
                    device.finish()
                    device.say()
                over.wait(0.05)

        worker = threading.Thread(target=work)
        worker.start()
        stack.callback(worker.join)
        for _ in range(3):
            victim = chance.choice(collectors)
            time.sleep(chance.uniform(0, 0.5))
            victim.stop(signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.3))
            server.stop(signal.SIGQUIT)
            broker.stop()
            server.start()
            broker.start()
            victim.start()
        worker.join()
        expected = made(devices)
        assert len(expected) == 1000
        wait_for(lambda: not any(device.waiting for device in devices), 120)
        wait_for(lambda: len(kept(server.url)) >= len(expected), 60)
        assert kept(server.url) == expected
        assert rows(server.url, "SELECT count(*) FROM set_aside") == [(0,)]
