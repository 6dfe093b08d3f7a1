"""Messages by a connection of their own, beside the service's: to ask what the broker takes, or to leave one there."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config.model import MqttConfig
from edge.errors import BrokerError
from edge.publish.client import CONNECT_TIMEOUT_S, describe, make_client, refusal, unanswered, unreachable
from edge.publish.replay import FAILURE, NO_SUBSCRIBERS


@dataclass(frozen=True, slots=True)
class TopicAnswer:
    """What the broker says to one topic.

    Attributes:
        topic: which.
        use: whether it is written or read.
        taken: whether the device may; None where the broker's version of MQTT does not tell.
        text: the answer in words.
    """

    topic: str
    use: Literal["write", "read"]
    taken: bool | None
    text: str


def ask_topics(
    config: MqttConfig, timeout_s: float, messages: Sequence[tuple[str, str]], listen: Sequence[str] = ()
) -> list[TopicAnswer]:
    """Publish and subscribe to each topic, and return what the broker's access list says.

    Each has a connection of its own: some brokers end one with a refusal.

    Raises:
        BrokerError: The broker refuses the connection itself, or cannot be reached.
        ConfigError: As `make_client`.
    """
    found = []
    for topic, payload in messages:
        with ExitStack() as stack:
            client = _connected(config, timeout_s, stack)
            try:
                text = _answer(config, client, topic, payload, timeout_s)
                found.append(TopicAnswer(topic, "write", None if config.protocol != "5" else True, text))
            except BrokerError as error:
                found.append(TopicAnswer(topic, "write", False, str(error)))
    for topic in listen:
        with ExitStack() as stack:
            found.append(_subscribed(_connected(config, timeout_s, stack), topic, timeout_s))
    return found


def _subscribed(client: Client, topic: str, timeout_s: float) -> TopicAnswer:
    """Subscribe, and return what the broker answered."""
    codes: list[ReasonCode] = []
    answered = threading.Event()

    def on_subscribe(_c: Client, _u: object, _m: int, given: list[ReasonCode], _p: Properties | None) -> None:
        codes.extend(given)
        answered.set()

    client.on_subscribe = on_subscribe
    client.on_disconnect = lambda *_: answered.set()
    client.subscribe(topic, qos=1)
    answered.wait(timeout_s)
    if not codes:
        return TopicAnswer(topic, "read", False, f"no answer to the subscription of {topic}")
    said = f"{describe(codes[0], None)} to the subscription"
    if codes[0].is_failure:
        return TopicAnswer(topic, "read", False, f"{said}. No command comes in: give this device the right to read it")
    # Mosquitto grants subscriptions whose messages it then withholds.
    return TopicAnswer(topic, "read", None, f"{said}. Whether the broker then hands messages on, only a command shows")


def check_broker(
    config: MqttConfig, timeout_s: float = CONNECT_TIMEOUT_S, messages: Sequence[tuple[str, str]] = ()
) -> str:
    """Connect once, publish topics and payloads, and return a line that says what came of it.

    The connection has an identifier of its own, so that the service keeps its connection.

    Raises:
        BrokerError: The broker refuses the connection or a message, or does not answer; with its reason.
        ConfigError: As `make_client`.
    """
    with ExitStack() as stack:
        client = _connected(config, timeout_s, stack)
        answers = [_answer(config, client, topic, payload, timeout_s) for topic, payload in messages]
    user = f", user {config.username}" if config.username else ""
    reached = f"{config.host}:{config.port}, MQTT {config.protocol}{', TLS' if config.tls else ''}{user}"
    return ". ".join([reached, *answers])


def retain(config: MqttConfig, topic: str, payload: str) -> None:
    """Leave a retained message at the broker, by a connection of its own.

    An empty payload takes it away.

    Raises:
        BrokerError: As `check_broker`.
        ConfigError: As `make_client`.
    """
    with ExitStack() as stack:
        client = _connected(config, CONNECT_TIMEOUT_S, stack)
        _answer(config, client, topic, payload, CONNECT_TIMEOUT_S, retained=True)


def _connected(config: MqttConfig, timeout_s: float, stack: ExitStack) -> Client:
    """Return a connected client, which `stack` disconnects."""
    client = make_client(config, f"{config.client_id or 'sicklescope'}-check-{random.randrange(10**6)}")  # noqa: S311
    client.connect_timeout = timeout_s
    answers: list[str] = []
    answered = threading.Event()

    def on_connect(_c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, properties: Properties | None) -> None:
        answers.append(refusal(config, code, properties) if code.is_failure else "")
        answered.set()

    client.on_connect = on_connect
    client.on_disconnect = lambda *_: answered.set()
    try:
        client.connect(config.host, config.port, config.keepalive_s)
    except OSError as error:
        raise BrokerError(unreachable(config)) from error
    stack.callback(_disconnect, client)
    client.loop_start()
    answered.wait(timeout_s)
    if not answers:
        raise BrokerError(unanswered(config))
    if answers[0]:
        raise BrokerError(answers[0])
    return client


def _disconnect(client: Client) -> None:
    client.disconnect()
    client.loop_stop()
    transport = client.socket()
    if transport is not None:  # paho leaves it open where the broker refused just now
        transport.close()


def _answer(
    config: MqttConfig, client: Client, topic: str, payload: str, timeout_s: float, retained: bool = False
) -> str:
    """Publish a message, and return in words what the broker answered.

    Raises:
        BrokerError: It is refused, or not answered.
    """
    answers: list[tuple[int, str]] = []
    answered = threading.Event()

    def on_publish(_c: Client, _u: object, _m: int, code: ReasonCode, properties: Properties | None) -> None:
        answers.append((code.value, describe(code, properties)))
        answered.set()

    client.on_publish = on_publish
    client.on_disconnect = lambda *_: answered.set()
    client.publish(topic, payload, qos=1, retain=retained)
    answered.wait(timeout_s)
    broker = f"broker {config.host}:{config.port}"
    rights = f"Give {f'user {config.username!r}' if config.username else 'this device'} the right to write the topic"
    if not answers:
        raise BrokerError(f"{broker} ended the connection, or gave no answer, for a message to {topic}. {rights}")
    code, words = answers[0]
    if code >= FAILURE:
        raise BrokerError(f"{broker} answered {words} to a message to {topic}. {rights}")
    if config.protocol != "5":
        return f"Whether it takes messages to {topic} cannot be seen with MQTT 3.1.1"
    return f"It takes messages to {topic}{', to which nobody subscribes' if code == NO_SUBSCRIBERS else ''}"
