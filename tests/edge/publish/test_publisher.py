"""The publisher against real brokers: Mosquitto for the field, amqtt for the demo."""

from __future__ import annotations

import builtins
import json
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from edge.cli.demo_broker import EmbeddedBroker
from edge.config.model import MqttConfig
from edge.errors import BrokerError, ConfigError, EdgeError, StorageError
from edge.publish import connection
from edge.publish.broker_check import check_broker
from edge.publish.composer import Composer
from edge.publish.pending import NEWS
from edge.publish.publisher import Publisher, resend
from edge.publish.result_messages import Progress
from edge.publish.sender import Sent
from edge.sample.store import Store
from edge.storage.outbox import KEPT, Outbox, OutboxCounts, Row
from tests.edge.publish.publish_parts import COUNTS, DEVICE, HEALTH, VERDICT, birth, make_certificates, result
from tests.mosquitto import Listener, Mosquitto, free_port, wait_for, with_users

StartMosquitto = Callable[..., Mosquitto]

AS_SCOPE = {"username": "scope", "password": "right"}


def settings(broker: Mosquitto | EmbeddedBroker, **more: Any) -> MqttConfig:
    return MqttConfig.model_validate({"host": broker.host, "port": broker.port, **more})


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, for the broker comes back when the test says so."""
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.1)


def publisher(config: MqttConfig, compose: Composer, outbox: Outbox) -> Publisher:
    return Publisher(config, compose, outbox, lambda: birth(compose))


def put_results(publishing: Publisher, compose: Composer, number: int) -> list[str]:
    results = [result(compose) for _ in range(number)]
    for one in results:
        publishing.result(one)
    return [str(one.id) for one in results]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_everything_arrives(start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, protocol: str) -> None:
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard:
        with publisher(settings(broker, protocol=protocol), compose, outbox) as publishing:
            wait_for(lambda: publishing.state().connected)
            publishing.live(compose.progress("K-1042", COUNTS, VERDICT))
            publishing.event(compose.event("info", "sample_started", "sample K-1042"))
            ids = put_results(publishing, compose, 25)  # more than the window
            assert publishing.drain(10)
            wait_for(lambda: len(dashboard.of("result")) == 25)
            wait_for(lambda: dashboard.of("progress"))
            assert publishing.state().pending == 0
        wait_for(lambda: dashboard.states() == ["online", "stopped"])
        assert {topic for topic, _, _ in dashboard.seen} == {
            f"sicklescope/v1/mbarara/scope-1/{kind}" for kind in ("status", "birth", "progress", "event", "result")
        }
        assert [message["id"] for message in dashboard.of("result")] == ids
        assert dashboard.of("progress")[0]["sickle"] == 37


def test_who_comes_late_learns_who_is_there(start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox) -> None:
    broker = start_mosquitto()
    with publisher(settings(broker), compose, outbox) as publishing:
        wait_for(lambda: publishing.state().connected)
        publishing.status("fault", "no camera")
        time.sleep(0.2)
        with Listener(broker.host, broker.port) as late:
            wait_for(lambda: late.of("status") and late.of("birth"))
            assert late.states() == ["fault"]
            assert late.of("birth")[0]["classifier_name"] == "classifier-s4"
            assert all(retained for _, _, retained in late.seen)
    with Listener(broker.host, broker.port) as later:
        wait_for(lambda: later.states() == ["fault"])  # it ended with the fault, which is what a person should see


KILLED = """
import sys, time
from pathlib import Path
from edge.config.model import MqttConfig
from edge.publish.publisher import Publisher
from edge.storage.database import Database
from edge.storage.outbox import Outbox
from tests.edge.publish.publish_parts import birth, composer
compose = composer()
config = MqttConfig(host="127.0.0.1", port=int(sys.argv[1]))
with Publisher(config, compose, Outbox(Database(Path(sys.argv[2]))), lambda: birth(compose)) as publishing:
    time.sleep(60)
"""


def test_the_broker_says_offline_for_a_killed_device(start_mosquitto: StartMosquitto, tmp_path: Path) -> None:
    broker = start_mosquitto()
    command = [sys.executable, "-c", KILLED, str(broker.port), str(tmp_path / "killed.sqlite")]
    with Listener(broker.host, broker.port) as dashboard:
        with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as device:
            wait_for(lambda: dashboard.states() == ["online"])
            device.send_signal(signal.SIGKILL)
        wait_for(lambda: dashboard.states() == ["online", "offline"])
    with Listener(broker.host, broker.port) as late:
        wait_for(lambda: late.states() == ["offline"])


def test_nothing_is_lost_while_the_broker_is_away(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The dashboard has to be back before the device, for this broker keeps nothing for those who are away.
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.7)
    broker = start_mosquitto()
    broker.stop()
    with publisher(settings(broker), compose, outbox) as publishing:
        early = put_results(publishing, compose, 3)
        wait_for(lambda: "Connection refused" in publishing.state().reason)
        assert not publishing.drain(5), "there is no way to the broker, so nothing to wait for"
        assert publishing.state().pending == 3
        broker.start()
        with Listener(broker.host, broker.port) as dashboard:
            wait_for(lambda: len(dashboard.of("result")) == 3)
            assert publishing.drain(5)
            broker.stop(signal.SIGKILL)
            wait_for(lambda: not publishing.state().connected)
            late = put_results(publishing, compose, 15)
            broker.start()
            wait_for(lambda: {message["id"] for message in dashboard.of("result")} == {*early, *late})
            assert publishing.drain(5)
            # Once it is back the device says again who it is: this broker had forgotten.
            assert dashboard.states().count("online") >= 2
            codes = {message["code"] for message in dashboard.of("event")}
            assert {"broker_unreachable", "broker_lost"} <= codes
            lost = next(message for message in dashboard.of("event") if message["code"] == "broker_lost")
            assert lost["text"].endswith("lost: the network or the broker ended it")
        assert publishing.state().reason == ""


def test_what_was_on_its_way_when_the_broker_went_blocks_nothing(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox
) -> None:
    broker = start_mosquitto()
    with publisher(settings(broker), compose, outbox) as publishing:
        wait_for(lambda: publishing.state().connected)
        publishing._sender._waiting[(1, 65_000)] = Sent(Progress)  # handed to paho, and lost with the connection
        broker.stop(signal.SIGKILL)
        wait_for(lambda: not publishing.state().connected)
        broker.start()
        wait_for(lambda: publishing.state().connected)
        with Listener(broker.host, broker.port) as dashboard:
            publishing.live(compose.progress("", COUNTS, VERDICT))
            wait_for(lambda: dashboard.of("progress"))


def test_the_last_words_are_sent_before_leaving(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_mosquitto()
    looking = threading.Event()

    def slow(self: Outbox, limit: int) -> list[Row]:
        looking.set()
        time.sleep(0.5)
        return []

    with Listener(broker.host, broker.port) as dashboard:
        with publisher(settings(broker), compose, outbox) as publishing:
            wait_for(lambda: dashboard.of("birth"))
            monkeypatch.setattr(Outbox, "pending", slow)
            publishing.wake()
            assert looking.wait(5)
            publishing.event(compose.event("error", "camera", "unplugged"))
        wait_for(lambda: [message["code"] for message in dashboard.of("event")] == ["camera"])
        wait_for(lambda: dashboard.states() == ["online", "stopped"])


def test_a_result_whose_answer_was_lost_is_repeated_under_its_uuid(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard:
        with monkeypatch.context() as patch:
            # As if the power went between the broker's answer and the deletion.
            patch.setattr(Outbox, "delete", lambda self, result_id: None)
            with publisher(settings(broker), compose, outbox) as publishing:
                (first,) = put_results(publishing, compose, 1)
                wait_for(lambda: dashboard.of("result"))
        with publisher(settings(broker), compose, outbox) as publishing:
            assert publishing.drain(5)
        wait_for(lambda: len(dashboard.of("result")) >= 2)
        assert {message["id"] for message in dashboard.of("result")} == {first}


def test_wrong_password_shows_the_brokers_reason_once(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = start_mosquitto(*with_users(tmp_path))
    wrong = settings(broker, **{**AS_SCOPE, "password": "wrong"})
    with pytest.raises(BrokerError, match=r"answered Not authorized \(135\) to user 'scope'\. Check mqtt.username"):
        check_broker(wrong)
    with publisher(wrong, compose, outbox) as publishing:
        put_results(publishing, compose, 1)
        wait_for(lambda: "Not authorized (135)" in publishing.state().reason)
        time.sleep(0.5)  # several more tries
        state = publishing.state()
        assert (state.connected, state.pending) == (False, 1)
    said = [record for record in caplog.records if "Not authorized" in record.message]
    assert len(said) == 1
    right = settings(broker, **AS_SCOPE)
    assert check_broker(right) == f"127.0.0.1:{broker.port}, MQTT 5, user scope"
    with publisher(right, compose, outbox) as publishing:
        assert publishing.drain(5)


DENYING = ("user scope", "topic write sicklescope/v1/mbarara/scope-1/status", "user dashboard", "topic read #")
GRANTING = ("user scope", "topic write sicklescope/v1/mbarara/scope-1/#", "user dashboard", "topic read #")


def test_a_refused_result_is_kept_shown_and_sent_again_on_command(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, tmp_path: Path
) -> None:
    broker = start_mosquitto(*with_users(tmp_path, *DENYING))
    config = settings(broker, **AS_SCOPE)
    with publisher(config, compose, outbox) as publishing:
        (refused,) = put_results(publishing, compose, 1)
        wait_for(lambda: publishing.state().refused == 1)
        assert publishing.state().connected
        assert publishing.state().pending == 0
    assert [(row.id, row.refused_reason) for row in outbox.refused()] == [(refused, "Not authorized (135)")]

    again = resend(config, compose, outbox, 5)
    assert (again.sent, again.refused, again.pending) == (0, 1, 0)

    (tmp_path / "acl").write_text("\n".join(GRANTING) + "\n")
    broker.reload()
    with Listener(broker.host, broker.port, user=("dashboard", "reader")) as dashboard:
        again = resend(config, compose, outbox, 5)
        assert (again.sent, again.refused, again.pending) == (1, 0, 0)
        wait_for(lambda: [message["id"] for message in dashboard.of("result")] == [refused])
        assert dashboard.states() == ["stopped"], "the command does not speak for the device"


def test_mqtt_3_cannot_tell_that_a_result_was_denied(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, tmp_path: Path
) -> None:
    """docs/mqtt.md warns of it; should a broker learn to say so, the warning can go."""
    broker = start_mosquitto(*with_users(tmp_path, *DENYING))
    config = settings(broker, **AS_SCOPE, protocol="3.1.1")
    with Listener(broker.host, broker.port, user=("dashboard", "reader")) as dashboard:
        with publisher(config, compose, outbox) as publishing:
            put_results(publishing, compose, 1)
            assert publishing.drain(5)
        wait_for(lambda: "stopped" in dashboard.states())
        assert dashboard.of("result") == []
    assert outbox.counts() == OutboxCounts(0, 0)


def test_resend_without_a_broker_keeps_the_results(compose: Composer, outbox: Outbox) -> None:
    outbox.put("a", "sicklescope/v1/mbarara/scope-1/result", "{}")
    outbox.mark_refused("a", "Not authorized (135)")
    nowhere = MqttConfig(host="127.0.0.1", port=free_port())
    with pytest.raises(BrokerError, match=r"cannot be reached: .*Connection refused.*1 results wait"):
        resend(nowhere, compose, outbox, 5)
    assert outbox.counts() == OutboxCounts(1, 0)


EVENT, RESULT = "sicklescope/v1/mbarara/scope-1/event", "sicklescope/v1/mbarara/scope-1/result"


def test_a_broker_is_asked_whether_it_takes_the_devices_own_messages(
    start_mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """Kind: a check that says ok of a broker that lets the device in and takes none of its messages."""
    broker = start_mosquitto(*with_users(tmp_path, *DENYING))
    config = settings(broker, **AS_SCOPE)
    with pytest.raises(
        BrokerError, match=rf"answered Not authorized \(135\) to a message to {EVENT}. Give user 'scope'"
    ):
        check_broker(config, messages=[(EVENT, "{}")])
    (tmp_path / "acl").write_text("\n".join(("user scope", f"topic write {EVENT}", *DENYING[2:])) + "\n")
    broker.reload()
    with pytest.raises(BrokerError, match=RESULT):
        check_broker(config, messages=[(EVENT, "{}"), (RESULT, "{}")])
    (tmp_path / "acl").write_text("\n".join(GRANTING) + "\n")
    broker.reload()
    with Listener(broker.host, broker.port, topic=EVENT, user=("dashboard", "reader")):
        said = check_broker(config, messages=[(EVENT, "{}"), (RESULT, "{}")])
    assert said.endswith(f"It takes messages to {EVENT}. It takes messages to {RESULT}, to which nobody subscribes")
    said = check_broker(settings(broker, **AS_SCOPE, protocol="3.1.1"), messages=[(EVENT, "{}")])
    assert said.endswith(f"Whether it takes messages to {EVENT} cannot be seen with MQTT 3.1.1")


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho's, after a failed handshake
def test_tls_with_the_clinics_own_authority(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl not installed, which makes the certificates")
    make_certificates(tmp_path)
    broker = start_mosquitto(
        f"cafile {tmp_path / 'ca.pem'}", f"certfile {tmp_path / 'broker.pem'}", f"keyfile {tmp_path / 'broker.key'}",
        "require_certificate true", "use_identity_as_username true",
    )  # fmt: skip
    ours = {"tls": True, "ca_file": tmp_path / "ca.pem"}
    certificate = {"cert_file": tmp_path / "device.pem", "key_file": tmp_path / "device.key"}
    assert "TLS" in check_broker(settings(broker, **ours, **certificate))
    with publisher(settings(broker, **ours, **certificate), compose, outbox) as publishing:
        put_results(publishing, compose, 1)
        assert publishing.drain(10)
    with pytest.raises(BrokerError, match="certificate verify failed"):
        check_broker(settings(broker, tls=True, **certificate))
    with pytest.raises(BrokerError, match=r"no answer.*mqtt\.cert_file"):
        check_broker(settings(broker, **ours))
    with pytest.raises(BrokerError, match=r"no answer.*mqtt\.tls"):
        check_broker(settings(broker))
    with publisher(settings(broker), compose, outbox) as publishing:
        wait_for(lambda: "no answer" in publishing.state().reason)
    with pytest.raises(ConfigError, match=r"mqtt.key_file .*ca.key cannot be used: .*MISMATCH|mismatch"):
        check_broker(settings(broker, **ours, cert_file=tmp_path / "device.pem", key_file=tmp_path / "ca.key"))


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt.ca_file .*absent.pem not found"):
        check_broker(MqttConfig(tls=True, ca_file=tmp_path / "absent.pem"))
    with pytest.raises(ConfigError, match=r"mqtt.ca_file set, but mqtt.tls is false"):
        check_broker(MqttConfig(ca_file=tmp_path / "absent.pem"))
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ConfigError, match=r"mqtt.ca_file .*empty.pem cannot be used"):
        check_broker(MqttConfig(tls=True, ca_file=tmp_path / "empty.pem"))


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho's, after a failed handshake
def test_a_certificate_that_is_away_while_the_device_runs_costs_only_time(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, tmp_path: Path
) -> None:
    """Kind: a thread that ends without a word. The connection was never tried again."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl not installed, which makes the certificates")
    make_certificates(tmp_path)
    authority, away = tmp_path / "ca.pem", tmp_path / "away.pem"
    broker = start_mosquitto(f"certfile {tmp_path / 'broker.pem'}", f"keyfile {tmp_path / 'broker.key'}")
    with publisher(settings(broker, tls=True, ca_file=authority), compose, outbox) as publishing:
        wait_for(lambda: publishing.state().connected)
        authority.rename(away)
        broker.stop()
        wait_for(lambda: "ca.pem not found" in publishing.state().reason)
        broker.start()
        put_results(publishing, compose, 1)
        away.rename(authority)
        wait_for(lambda: publishing.state().connected)
        wait_for(lambda: not outbox.counts().pending)


def test_a_host_that_is_no_name_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"mqtt.host 'a\.\.b' is not a host name"):
        check_broker(MqttConfig(host="a..b"))


def test_what_cannot_be_sent_is_stored_within_bounds_and_counted(
    compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KEPT, "event", 50)
    with publisher(MqttConfig(host="127.0.0.1", port=free_port()), compose, outbox) as publishing:
        wait_for(lambda: [row for row in outbox.pending() if "broker_unreachable" in row.payload])
        for number in range(55):
            publishing.event(compose.event("info", "tick", str(number)))
        for _ in range(10):
            publishing.live(compose.progress("", COUNTS, VERDICT))
        # Six of the events went for newer ones: that there is no broker was the oldest.
        wait_for(lambda: publishing.state().dropped == 16)
    stored = [json.loads(row.payload)["text"] for row in outbox.pending()]
    assert stored == [str(number) for number in range(5, 55)]


def test_running_counts_that_a_result_replaces_are_told_as_dropped(compose: Composer, outbox: Outbox) -> None:
    """Their number is a gap, which receivers would take for a lost message."""
    publishing = publisher(MqttConfig(host="127.0.0.1", port=free_port()), compose, outbox)
    publishing.live(compose.progress("", COUNTS, VERDICT))
    publishing.withdraw_progress()
    assert publishing.state().dropped == 1


def later(hours: float) -> Composer:
    """Make the device of `composer` so many hours on, on the same boot."""
    return Composer(DEVICE, monotonic=lambda: 5321.5 + 3600 * hours, synchronised=lambda: True)


def test_after_an_outage_results_come_first_then_the_rest_each_in_order_and_as_historical(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox
) -> None:
    nowhere = MqttConfig(host="127.0.0.1", port=free_port())
    with publisher(nowhere, compose, outbox) as publishing:
        # Said by another thread: two threads' messages of the same moment may change places.
        wait_for(lambda: [row for row in outbox.pending() if "broker_unreachable" in row.payload])
        for number in range(30):
            publishing.event(compose.event("info", "tick", str(number)))
            publishing.live(compose.telemetry("K-1042", COUNTS, HEALTH, pending=0, refused=0, unheard=0, dropped=0))
        ids = put_results(publishing, compose, 25)
    broker = start_mosquitto()
    now = later(hours=8)
    with (
        Listener(broker.host, broker.port) as dashboard,
        publisher(settings(broker, replay_per_s=1000), now, outbox) as publishing,
    ):
        wait_for(lambda: not outbox.pending())
        publishing.event(now.event("info", "fresh", ""))
        wait_for(lambda: "fresh" in [event["code"] for event in dashboard.of("event")])
    stored = [(kind.rpartition("/")[2], message) for kind, message, _ in dashboard.seen if message["historical"]]
    assert [message["id"] for _, message in stored[:25]] == ids
    rest = stored[25:]
    assert len(rest) == 61, "the event that there is no broker, 30 ticks and 30 telemetry"
    assert [message["seq"] for _, message in rest] == sorted(message["seq"] for _, message in rest)
    assert {kind for kind, _ in rest} == {"event", "telemetry"}
    fresh = [message["code"] for message in dashboard.of("event") if not message["historical"]]
    assert fresh == ["fresh"]
    assert not any(message["historical"] for kind in ("status", "birth") for message in dashboard.of(kind))


def test_what_is_old_is_sent_at_the_set_pace_and_what_is_new_at_once(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox
) -> None:
    for number in range(40):
        outbox.put(str(number), "sicklescope/v1/mbarara/scope-1/result", result(compose).to_json())
    broker = start_mosquitto()
    now = later(hours=1)
    with (
        Listener(broker.host, broker.port) as dashboard,
        publisher(settings(broker, replay_per_s=20), now, outbox) as publishing,
    ):
        wait_for(lambda: dashboard.of("result"))
        began = time.monotonic()
        publishing.event(now.event("info", "fresh", ""))
        wait_for(lambda: dashboard.of("event"))
        assert len(dashboard.of("result")) < 30
        assert publishing.drain(10)
        assert time.monotonic() - began > 39 / 20 * 0.9


def test_a_result_of_another_boot_is_historical_and_otherwise_as_it_was_stored(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox
) -> None:
    before = result(compose).model_copy(update={"boot_id": "an earlier one", "sample": '"historical":false'})
    outbox.put(before.id, "sicklescope/v1/mbarara/scope-1/result", before.to_json())
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, publisher(settings(broker), compose, outbox) as publishing:
        assert publishing.drain(5)
        wait_for(lambda: dashboard.of("result"))
    assert dashboard.of("result") == [{**json.loads(before.to_json()), "historical": True}]


def test_a_result_that_was_altered_on_the_disk_is_kept_told_and_never_sent(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, tmp_path: Path
) -> None:
    whole, damaged = result(compose), result(compose)
    for one in (damaged, whole):
        outbox.put(one.id, "sicklescope/v1/mbarara/scope-1/result", one.to_json())
    with closing(sqlite3.connect(outbox._database.path)) as connection, connection:
        connection.execute("UPDATE outbox SET payload = replace(payload, '37', '38') WHERE id = ?", (str(damaged.id),))
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, publisher(settings(broker), compose, outbox) as publishing:
        assert publishing.drain(5)
        (told,) = wait_for(lambda: dashboard.of("event"))
    assert (told["code"], str(damaged.id) in told["text"]) == ("storage", True)
    assert [message["id"] for message in dashboard.of("result")] == [str(whole.id)]
    assert [(row.id, row.refused_reason) for row in outbox.refused()] == [(str(damaged.id), "damaged on the disk")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("topic", "sicklescope/v1/mbarara/scope-2/result"),
        ("topic", "sicklescope/#"),
        ("kind", "resulu"),
        ("kind", "event"),
        ("state", "pendinf"),
        ("unheard", 64),
    ],
)
def test_a_changed_bit_beside_a_result_neither_loses_nor_misleads_it(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, column: str, value: object
) -> None:
    """Kind: damage where no checksum looks. A topic that is none ended the sender's thread."""
    ids = [str(one.id) for one in (result(compose), result(compose))]
    for one in ids:
        made = result(compose).model_copy(update={"id": UUID(one)})
        outbox.put(one, "sicklescope/v1/mbarara/scope-1/result", made.to_json())
    with closing(sqlite3.connect(outbox._database.path)) as other, other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(f"UPDATE outbox SET {column} = ? WHERE id = ?", (value, ids[0]))  # noqa: S608
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, publisher(settings(broker), compose, outbox) as publishing:
        wait_for(lambda: {one["id"] for one in dashboard.of("result")} == set(ids))
        assert publishing.drain(5)
        wait_for(lambda: not outbox._database.read("SELECT id FROM outbox"))
    assert {topic for topic, _, _ in dashboard.seen if "result" in topic} == {"sicklescope/v1/mbarara/scope-1/result"}


def test_a_result_that_only_the_outbox_has_damaged_is_taken_from_the_sample_store(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox
) -> None:
    """Kind: a result that waits for a person though the device has it whole."""
    one, database = result(compose), outbox._database
    database.write(
        "INSERT INTO samples (id, code, day, state, boot_id, uptime_s, changed_ms, setup, draft) "
        "VALUES ('s', 'K-1042', '2026-11-30', 'review', '', 0, 0, '', '')"
    )
    Store(database).add_result(str(one.id), "s", 1, one.number, one.to_json())
    outbox.put(one.id, "sicklescope/v1/mbarara/scope-1/result", one.to_json())
    database.write("UPDATE outbox SET payload = replace(payload, '37', '38')")
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, publisher(settings(broker), compose, outbox):
        wait_for(lambda: dashboard.of("result"))
        wait_for(lambda: outbox.counts() == OutboxCounts(0, 0))
    assert dashboard.of("result") == [json.loads(one.to_json())]


def test_resend_says_what_nobody_heard(start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox) -> None:
    """Kind: taken for delivered. `resend` counted as sent what has no subscriber."""
    config = settings(start_mosquitto())
    outbox.put("a", "sicklescope/v1/mbarara/scope-1/result", result(compose).to_json())
    for _ in range(2):
        again = resend(config, compose, outbox, 5)
        assert (again.sent, again.refused, again.pending, again.unheard) == (0, 0, 0, 1)
    with Listener(config.host, config.port):
        again = resend(config, compose, outbox, 5)
    assert (again.sent, again.unheard) == (1, 0)


def test_what_is_handed_over_as_the_connection_ends_is_not_lost(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a message that is dropped between two looks at the connection."""
    broker = start_mosquitto()
    with Listener(broker.host, broker.port) as dashboard, publisher(settings(broker), compose, outbox) as publishing:
        wait_for(lambda: dashboard.of("birth"))
        with monkeypatch.context() as patch:
            gone = threading.Event()
            patch.setattr(connection.Link, "publish", lambda *_: gone.set())
            publishing.event(compose.event("info", "started", ""))
            publishing.reply(compose.reply("stop", {}, "", "r-1"))
            assert gone.wait(5)
        publishing.wake()
        wait_for(lambda: dashboard.of("event") and dashboard.of("reply"))
        assert publishing.state().dropped == 0


def test_a_disk_that_fails_stops_no_message(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_mosquitto()

    def full(self: Outbox, result_id: str) -> None:
        raise StorageError("database or disk is full")

    with Listener(broker.host, broker.port) as dashboard, publisher(settings(broker), compose, outbox) as publishing:
        with monkeypatch.context() as patch:
            patch.setattr(Outbox, "delete", full)
            put_results(publishing, compose, 1)
            wait_for(lambda: [message["code"] for message in dashboard.of("event")] == ["storage"])
            publishing.live(compose.progress("", COUNTS, VERDICT))
            wait_for(lambda: dashboard.of("progress"))
            assert publishing.state().pending == 1
        assert publishing.drain(5)
        assert len(dashboard.of("result")) == 1, "it is not sent again, only its deletion tried again"


def test_leaving_is_quick_when_the_broker_hangs(
    start_mosquitto: StartMosquitto, compose: Composer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STOP_S", 0.5)
    broker = start_mosquitto()
    with publisher(settings(broker), compose, outbox) as publishing:
        wait_for(lambda: publishing.state().connected)
        assert broker._process is not None
        broker._process.send_signal(signal.SIGSTOP)
        put_results(publishing, compose, 1)
        left = time.monotonic()
    broker._process.send_signal(signal.SIGCONT)
    assert time.monotonic() - left < 5
    assert outbox.counts().pending == 1


def test_disabled_sends_and_stores_nothing(compose: Composer, outbox: Outbox) -> None:
    with publisher(MqttConfig(enabled=False), compose, outbox) as publishing:
        put_results(publishing, compose, 1)
        for number in range(2 * NEWS):
            publishing.live(compose.progress("", COUNTS, VERDICT))
            publishing.event(compose.event("info", "tick", str(number)))
        assert publishing.drain(1)
        state = publishing.state()
    assert (state.connected, state.reason, state.pending) == (False, "mqtt.enabled is false", 0)
    assert state.dropped == 0, "nothing was gathered that could be dropped"


def test_embedded_broker_serves_the_demo(compose: Composer, outbox: Outbox) -> None:
    with EmbeddedBroker() as broker:
        config = settings(broker, protocol="3.1.1")
        with Listener(broker.host, broker.port) as dashboard, publisher(config, compose, outbox) as publishing:
            ids = put_results(publishing, compose, 3)
            assert publishing.drain(10)
            wait_for(lambda: [message["id"] for message in dashboard.of("result")] == ids)
            with Listener(broker.host, broker.port, "sicklescope/v1/+/+/birth") as late:
                wait_for(lambda: late.of("birth"))
        with pytest.raises(BrokerError, match=r'Unsupported protocol version .*Set mqtt.protocol = "3.1.1"'):
            check_broker(settings(broker))
        with pytest.raises(EdgeError, match=r"cannot start on 127.0.0.1:\d+: .*in use"), EmbeddedBroker(broker.port):
            pass


def test_embedded_broker_ends_though_someone_is_still_connected() -> None:
    with EmbeddedBroker() as broker:
        # Two that never say CONNECT: one goes, one stays.
        socket.create_connection((broker.host, broker.port)).close()
        silent = socket.create_connection((broker.host, broker.port), timeout=5)
        time.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not broker._thread.is_alive()
    with silent:
        assert silent.recv(1) == b"", "it is told that the broker has gone"


def test_embedded_broker_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_amqtt(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("amqtt"):
            raise ModuleNotFoundError("No module named 'amqtt'")
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without_amqtt)
    with pytest.raises(EdgeError, match=r"needs amqtt.*pip install 'sicklescope\[demo\]'"), EmbeddedBroker():
        pass
