"""The connection to the broker: made again whenever it is lost, within the limits that the broker states."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config.model import MqttConfig
from edge.errors import ConfigError
from edge.publish.client import correlated, describe, make_client, refusal, unanswered, unreachable
from edge.publish.limits import Limits, limits_after_refusal, limits_of, shortcomings
from edge.system.backoff import Backoff

log = logging.getLogger(__name__)

_UNSPECIFIED = 128
"""Unspecified error."""

_TAKEN_OVER = 142
"""Session taken over: another client has connected under the same identifier."""

_RECONNECT_S = (1.0, 30.0)
"""The first pause before a new connection, and the longest: doubled from try to try."""

_RECONNECT_RIVAL_S = (10.0, 60.0)
"""The same where another may have the same identifier: two that throw each other out at once leave neither time."""

_BRIEF_S = 5.0
"""Connections that end so soon, one after another and without a word, may have been another client's to end."""

STOP_S = 3.0
"""How long closing waits for the broker to take the last words, and again for the network to let go."""

NOT_YET = "not connected yet"
"""The reason before the first attempt has ended."""


Key = tuple[int, int]
"""Of a message on its way: number of the connection, and identifier of the packet, which is unique only within it."""


@dataclass(frozen=True, slots=True)
class Listen:
    """A topic to subscribe to.

    Attributes:
        topic: without wildcards.
        take: is given payload and Correlation Data of each of its messages, in paho's thread, and returns at once.
        what: what comes by it, for people.
        retained: whether a message that the broker kept counts; else it is of some time past.
    """

    topic: str
    take: Callable[[bytes, bytes | None], None]
    what: str = "command"
    retained: bool = False


class Link:
    """The connection of a service.

    Made again whenever it is lost, and always able to say why there is none. Each connection begins with nothing on
    its way: whoever publishes sends again what was not acknowledged.

    `up`, `down` and `answer` are called by the connection's threads and must return at once: `up()` on each connection,
    `down(code, reason)` once for each new reason, `answer(key, code, reason)` for each PUBACK and each QoS 0 message
    that has left. `will()` gives topic and payload of the last will, afresh for each attempt. One thread publishes.

    Attributes:
        number: of the connection; changes with each that is made or lost.
        limits: what the broker takes.
        unexplained: whether the last connection ended without our doing, and nobody said why.
        unreachable: attempts in a row that found no broker.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        *,
        up: Callable[[], None],
        down: Callable[[str, str], None],
        answer: Callable[[Key, int, str], None],
        will: Callable[[], tuple[str, str]] | None,
        listen: Sequence[Listen] = (),
    ) -> None:
        """Set the client up as `make_client` does, without connecting."""
        self.connected = False
        self.reason = NOT_YET
        self.number = 0
        self.limits = Limits()
        self.unexplained = False
        self.unreachable = 0
        self._config, self._client_id = config, client_id
        self._up, self._down, self._answer, self._will, self._listen = up, down, answer, will, listen
        self._renewed = ""
        self._up_s = 0.0
        self._brief = 0
        self._handed_over = self._answers = 0
        self._backoff, self._rival_backoff = Backoff(*_RECONNECT_S), Backoff(*_RECONNECT_RIVAL_S)
        self._rival = False
        self._answered = False
        self._ended, self._closing = threading.Event(), threading.Event()
        self._client: Client | None = self._new_client()
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)

    def open(self) -> None:
        """Begin to connect; never fails for want of a broker."""
        self._thread.start()

    def publish(
        self, topic: str, payload: str, qos: Literal[0, 1], retain: bool, correlation: bytes | None = None
    ) -> Key | None:
        """Hand a message over and return its key, or None where there is no connection.

        What has a key may have left; whether it arrived says only its answer.
        """
        # Taken first: if the connection changes meanwhile, no answer fits the key, and the message is sent again.
        number = self.number
        client = self._client
        if self._closing.is_set() or client is None or not self.connected:
            return None
        self._handed_over += 1  # before, for the connection may end for this message before paho returns
        # paho's return code is not heeded: it says "no connection" also of a message that left and ended it.
        properties = correlated(correlation) if correlation is not None and self._config.protocol == "5" else None
        return number, client.publish(topic, payload, qos, retain and self.limits.retain, properties).mid

    def renew(self, why: str) -> None:
        """End the connection and have it made again.

        Args:
            why: what is wrong with the broker, for the reason.
        """
        self._renewed = why
        transport = self._client.socket() if self._client is not None else None
        if isinstance(transport, socket.socket):
            with suppress(OSError):  # it went by itself in this moment
                transport.shutdown(socket.SHUT_RDWR)

    def close(self, last_words: tuple[str, str] | None) -> None:
        """Publish topic and payload, retained, if there is a connection.

        Then disconnect, so that no will is sent.

        The link cannot be used afterwards.
        """
        self._closing.set()
        client = self._client
        if client is not None:
            if last_words is not None and self.connected:
                try:
                    qos = 1 if self.limits.qos_1 else 0
                    client.publish(*last_words, qos=qos, retain=self.limits.retain).wait_for_publish(STOP_S)
                except RuntimeError as error:
                    log.warning("the broker did not hear that the device stops: %s", error)
            client.disconnect()
        self._client = client = None
        if self._thread.is_alive():
            # A dead network can hold it for longer than anyone waits.
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._connect_once()
            pauses = self._rival_backoff if self._rival else self._backoff
            # Each device draws its own, or a whole region comes back in the same second.
            self._closing.wait(pauses.next_s() * random.uniform(0.7, 1.3))  # noqa: S311

    def _connect_once(self) -> None:
        """Connect, and return when the connection has ended."""
        try:
            client = self._client = self._new_client()
        except ConfigError as error:  # a certificate that is being renewed, and is there again soon
            self.unreachable += 1
            self._lost("broker_unreachable", str(error))
            return
        self._ended.clear()
        self._answered = False
        if self._will is not None:
            client.will_set(*self._will(), qos=1 if self.limits.qos_1 else 0, retain=self.limits.retain)
        try:
            client.connect(self._config.host, self._config.port, self._config.keepalive_s)
        except OSError:
            self.unreachable += 1
            self._lost("broker_unreachable", unreachable(self._config))
            return
        self.unreachable = 0
        client.loop_start()
        if self._closing.is_set():
            client.disconnect()
        self._ended.wait()
        client.loop_stop()
        transport = client.socket()
        if transport is not None:  # paho leaves it open where the broker refused just now
            transport.close()

    def _new_client(self) -> Client:
        client = make_client(self._config, self._client_id)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        if self._listen:
            client.on_message = self._on_message
            client.on_subscribe = self._on_subscribe
        return client

    def _on_connect(
        self, client: Client, _userdata: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._answered = True
        if code.is_failure:
            # The will is of QoS 1 and retained; a broker that takes neither is tried again without.
            self.limits = limits_after_refusal(code.value, self.limits)
            self._lost("broker_refused", refusal(self._config, code, properties))
            return
        log.info("connected to %s:%d", self._config.host, self._config.port)
        self._heed(properties)
        self._handed_over = self._answers = 0
        self.reason = ""
        self._up_s = time.monotonic()
        self.number += 1
        self.connected = True
        if self._listen:
            client.subscribe([(listen.topic, 1) for listen in self._listen])
        self._up()

    def _heed(self, properties: Properties | None) -> None:
        """Note the broker's limits, and tell those under which the device cannot do all its work."""
        before, self.limits = self.limits, limits_of(properties, self.limits)
        for code, text in shortcomings(before, self.limits):
            self._tell(code, f"broker {self._config.host}:{self._config.port} {text}")

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        for listen in self._listen:
            if message.topic == listen.topic and (listen.retained or not message.retain):
                listen.take(bytes(message.payload), getattr(message.properties, "CorrelationData", None))

    def _on_subscribe(
        self, _client: Client, _userdata: object, _mid: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        for listen, code in zip(self._listen, codes, strict=False):
            if code.is_failure:
                self._tell(
                    f"{listen.what}s_refused",
                    f"broker {self._config.host}:{self._config.port} answered {describe(code, properties)} to the "
                    f"subscription of {listen.topic}: no {listen.what} comes in. Give this device the right to read it",
                )

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        # After a refused connection there is none to lose, and the broker's reason stays.
        if self._closing.is_set():
            self.connected = False
        elif self.connected:
            self._lost("broker_lost", self._why_lost(flags, code, properties))
        elif not self._answered:
            self._lost("broker_refused", unanswered(self._config))
        self._ended.set()

    def _why_lost(self, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None) -> str:
        """Say why the connection ended, and choose the pause before the next by it."""
        # Where nobody gave a reason paho makes one up: unspecified. Mosquitto 2.0.11 gives none for a take-over.
        stated = flags.is_disconnect_packet_from_server or code.value != _UNSPECIFIED
        why = describe(code, properties) if stated else self._renewed or "the network or the broker ended it"
        taken_over = code.value == _TAKEN_OVER
        self.unexplained = not self._renewed and not taken_over
        # With a message unacknowledged it may have been that message.
        lasted_s = time.monotonic() - self._up_s
        if lasted_s >= _BRIEF_S:
            # Not before: a broker that ends each connection for what it denies is not to be asked every second.
            self._backoff.reset()
        brief = not stated and not self._renewed and lasted_s < _BRIEF_S
        self._brief = self._brief + 1 if brief and self._answers >= self._handed_over else 0
        self._rival = taken_over or self._brief > 1
        if self._rival:
            why += f". {'Another' if taken_over else 'Perhaps another'} client calls itself {self._client_id!r}: "
            why += "give each device its own device.device or mqtt.client_id"
        else:
            self._rival_backoff.reset()
        self._renewed = ""
        return f"connection to {self._config.host}:{self._config.port} lost: {why}"

    def _lost(self, code: str, reason: str) -> None:
        """Say once why there is no connection, though it is tried again and again."""
        self.connected = False
        self.number += 1
        if reason != self.reason:
            self.reason = reason
            self._tell(code, reason)

    def _tell(self, code: str, text: str) -> None:
        log.error("%s", text)
        self._down(code, text)

    def _on_publish(
        self, _client: Client, _userdata: object, mid: int, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._answers += 1
        self._answer((self.number, mid), code.value, describe(code, properties))
