"""RabbitMQ as the broker of devices: what it keeps and what not, as docs/brokers.md says (`make test-rabbitmq`).

Devices speak MQTT 3.1.1 to it. The collector does not run on it: it needs MQTT 5 (fleet.cli).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.fleet_devices import PublishingDevice
from edge.config.model import MqttConfig
from edge.errors import BrokerError
from edge.publish.broker_check import check_broker
from tests.mosquitto import free_port, wait_for

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

pytestmark = [
    pytest.mark.skipif(
        not (SERVER.exists() and os.environ.get("RABBITMQ")),
        reason="it takes minutes: make test-rabbitmq (apt-get install rabbitmq-server)",
    ),
    pytest.mark.timeout(400),
]


class RabbitMQ:
    """A node with its MQTT plugin, on free ports of the loopback interface; `lines` go into its configuration."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port, amqp, distribution = free_port(), free_port(), free_port()
        self.name = f"test{self.port}@localhost"
        folder.mkdir(exist_ok=True)
        (folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        self._path = folder / "rabbitmq.conf"
        self.configure(
            f"listeners.tcp.1 = 127.0.0.1:{amqp}", f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.port}",
            "mqtt.allow_anonymous = true", *lines,
        )  # fmt: skip
        self._variables = {
            **os.environ, "HOME": str(folder), "RABBITMQ_NODENAME": self.name, "RABBITMQ_ERLANG_COOKIE": "tests",
            "RABBITMQ_DIST_PORT": str(distribution), "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"), "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip
        self._log = folder / "output"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, *lines: str) -> None:
        """Add lines to its configuration."""
        with self._path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def begin(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [SERVER], env=self._variables, stdout=log, stderr=log, start_new_session=True
            )

    def start(self) -> None:
        self.begin()
        wait_for(self.answers, 180)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it with all its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, how)
            self._process.wait(60)
            self._process = None


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = RabbitMQ(Path(folder))
        server.start()
        yield server
        server.stop(signal.SIGKILL)


@pytest.fixture(params=["classic", "quorum"])
def nodes(request: pytest.FixtureRequest) -> Iterator[list[RabbitMQ]]:
    """Start a cluster of three, with either kind of queue for the sessions that are kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        cluster = [
            RabbitMQ(Path(folder) / str(number), f"mqtt.durable_queue_type = {request.param}") for number in range(3)
        ]
        formation = "cluster_formation.classic_config.nodes"
        for node in cluster:
            node.configure(*(f"{formation}.{number} = {one.name}" for number, one in enumerate(cluster, start=1)))
            node.begin()
            stack.callback(node.stop, signal.SIGKILL)
        for node in cluster:
            wait_for(node.answers, 300)
        yield cluster


class Dashboard:
    """A kept session of MQTT 3.1.1 that comes and goes, and what came to it."""

    def __init__(self, broker: RabbitMQ, name: str, topic: str = "sicklescope/v1/+/+/result") -> None:
        self.payloads: list[str] = []
        self.broker, self._name, self._topic = broker, name, topic

    def __enter__(self) -> Dashboard:
        subscribed: list[int] = []
        self._client = Client(
            CallbackAPIVersion.VERSION2, self._name, clean_session=False, protocol=MQTTProtocolVersion.MQTTv311
        )

        def on_connect(client: Client, *_: object) -> None:
            client.subscribe(self._topic, 1)

        def on_message(_client: Client, _userdata: object, message: MQTTMessage) -> None:
            self.payloads.append(message.payload.decode())

        def on_subscribe(*_: object) -> None:
            subscribed.append(1)

        self._client.on_connect, self._client.on_subscribe = on_connect, on_subscribe
        self._client.on_message = on_message
        self._client.connect("127.0.0.1", self.broker.port)
        self._client.loop_start()
        wait_for(lambda: subscribed, 90)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def device(broker: RabbitMQ, folder: Path, site: str = "mbarara") -> PublishingDevice:
    config = MqttConfig(host="127.0.0.1", port=broker.port, protocol="3.1.1", replay_per_s=0)
    return PublishingDevice(folder, config, site, "scope-1")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_results_wait_for_a_dashboard_that_is_away_over_a_restart(
    broker: RabbitMQ, tmp_path: Path, how: signal.Signals
) -> None:
    """It writes each to its disk before it acknowledges it, unlike Mosquitto: a kill loses none."""
    dashboard = Dashboard(broker, f"away-{how.name}")
    with dashboard:
        pass
    with device(broker, tmp_path) as sending:
        for _ in range(50):
            sending.finish()
        wait_for(lambda: not sending.waiting, 60)
        broker.stop(how)
        broker.start()
        with dashboard:
            wait_for(lambda: set(dashboard.payloads) >= set(sending.made.values()), 60)


def test_a_dot_in_a_name_is_a_level_and_its_results_are_acknowledged_and_lost(broker: RabbitMQ, tmp_path: Path) -> None:
    with Dashboard(broker, "dots") as dashboard:
        with device(broker, tmp_path, "clinic.north") as dotted:
            dotted.finish()
            wait_for(lambda: not dotted.waiting, 60)
        with device(broker, tmp_path) as sending:
            last = sending.finish()
            wait_for(lambda: last.to_json() in dashboard.payloads, 60)
        assert not set(dotted.made.values()) & set(dashboard.payloads)


def test_what_is_retained_comes_to_exact_filters_alone(broker: RabbitMQ, tmp_path: Path) -> None:
    with device(broker, tmp_path) as sending:
        sending.finish()
        wait_for(lambda: not sending.waiting, 60)
        with Dashboard(broker, "exact", "sicklescope/v1/mbarara/scope-1/status") as exact:
            wait_for(lambda: exact.payloads, 30)
        with Dashboard(broker, "wild", "sicklescope/v1/+/+/status") as wild:
            sending.finish()
            wait_for(lambda: not sending.waiting, 60)
            assert wild.payloads == []


def test_a_result_that_nobody_subscribes_to_is_acknowledged_and_gone(broker: RabbitMQ, tmp_path: Path) -> None:
    with device(broker, tmp_path) as sending:
        sending.finish()
        wait_for(lambda: not sending.waiting, 60)
    with Dashboard(broker, "late") as late, device(broker, tmp_path) as sending:
        last = sending.finish()
        wait_for(lambda: late.payloads, 30)
        assert late.payloads == [last.to_json()]


@pytest.mark.timeout(900)
def test_of_three_nodes_one_is_killed_and_classic_queues_lose_what_comes_meanwhile(
    nodes: list[RabbitMQ], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A classic queue is on the node to which the dashboard connected; a quorum queue is on all."""
    first, second, third = nodes
    dashboard = Dashboard(first, "away")
    with dashboard:
        pass
    with device(second, tmp_path) as sending:
        sending.finish()
        wait_for(lambda: not sending.waiting, 60)
        before = set(sending.made.values())
        first.stop(signal.SIGKILL)
        sending.finish()
        wait_for(lambda: not sending.waiting, 120)
        everything = set(sending.made.values())
        if "quorum" in request.node.name:
            dashboard.broker = third
            with dashboard:
                wait_for(lambda: set(dashboard.payloads) >= everything, 120)
        else:
            first.start()
            with dashboard:
                wait_for(lambda: set(dashboard.payloads) >= before, 120)
                last = sending.finish()
                wait_for(lambda: last.to_json() in dashboard.payloads, 120)
            assert not (everything - before) & set(dashboard.payloads), "it acknowledged what it did not keep"


def test_mqtt_5_is_not_spoken_and_the_remedy_is_named(broker: RabbitMQ) -> None:
    with pytest.raises(BrokerError, match=r'set mqtt\.protocol = "3\.1\.1"'):
        check_broker(MqttConfig(host="127.0.0.1", port=broker.port), 10)
