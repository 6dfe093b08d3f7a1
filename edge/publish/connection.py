"""The connection to the broker: what the configuration asks of it, and the broker's answer in words."""

from __future__ import annotations

import logging
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config.model import MqttConfig
from edge.errors import BrokerError, ConfigError

log = logging.getLogger(__name__)

_PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}

FAILURE = 0x80
"""The lowest reason code that says no (MQTT 5, 2.4)."""

_CREDENTIALS = (134, 135)
"""Bad user name or password, not authorised; paho gives the same codes to MQTT 3.1.1's return codes 4 and 5."""

_UNSPECIFIED = 128
"""Unspecified error."""

_VERSION = 132
"""Unsupported protocol version."""

_TAKEN_OVER = 142
"""Session taken over: another client has connected under the same identifier."""

_RECONNECT_S = (1.0, 30.0)
"""The first pause before a new connection, and the longest: doubled from try to try."""

_RECONNECT_RIVAL_S = (10.0, 60.0)
"""The same where another may have the same identifier: two that throw each other out at once leave neither time."""

_BRIEF_S = 5.0
"""Connections that end so soon, one after another and without a word, may have been another client's to end."""

CONNECT_TIMEOUT_S = 5.0

STOP_S = 3.0
"""How long closing waits for the broker to take the last words, and again for the network to let go."""

NOT_YET = "not connected yet"
"""The reason before the first attempt has ended."""


def make_client(config: MqttConfig, client_id: str) -> Client:
    """Return a client set up as configured, not yet connected; it reconnects by itself.

    Raises ConfigError when a certificate cannot be used, or the settings contradict each other.
    """
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=_PROTOCOLS[config.protocol])
    client.connect_timeout = CONNECT_TIMEOUT_S
    _set_pauses(client, _RECONNECT_S)
    try:
        # paho's thread would die of a name that cannot be looked up at all.
        named = config.host.encode("idna") != b""
    except UnicodeError:
        named = False
    if not named:
        raise ConfigError(f"mqtt.host {config.host!r} is not a host name or address")
    if config.username is not None:
        client.username_pw_set(config.username, config.password.get_secret_value() if config.password else None)
    _set_tls(client, config)
    return client


def _set_pauses(client: Client, pauses_s: tuple[float, float]) -> None:
    # Each device draws its own, or a whole region comes back in the same second.
    client.reconnect_delay_set(*(pause * random.uniform(0.7, 1.3) for pause in pauses_s))  # type: ignore[arg-type]  # noqa: S311


def _set_tls(client: Client, config: MqttConfig) -> None:
    files = {"mqtt.ca_file": config.ca_file, "mqtt.cert_file": config.cert_file, "mqtt.key_file": config.key_file}
    given = {key: path for key, path in files.items() if path is not None}
    if not config.tls:
        if given:
            raise ConfigError(f"{', '.join(given)} set, but mqtt.tls is false. Set mqtt.tls = true")
        return
    for key, path in given.items():
        if not path.is_file():
            raise ConfigError(f"{key} {path} not found")
    try:
        client.tls_set(
            ca_certs=_text(config.ca_file),
            certfile=_text(config.cert_file),
            keyfile=_text(config.key_file),
            # Or OpenSSL asks for one on the terminal, and a service waits for ever.
            keyfile_password="",
        )
    except OSError as error:
        raise ConfigError(
            f"{', '.join(f'{key} {path}' for key, path in given.items())} cannot be used: {error}. "
            "Give PEM files, and a key without a password that belongs to the certificate"
        ) from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def describe(code: ReasonCode, properties: Properties | None) -> str:
    """Return a reason code in words, with the broker's own where it gives some."""
    own = getattr(properties, "ReasonString", "")
    return f"{code} ({code.value}{': ' + own if own else ''})"


def refusal(config: MqttConfig, code: ReasonCode, properties: Properties | None) -> str:
    """Say why the broker refused the connection, and what to do."""
    remedy = ""
    if code.value == _VERSION:
        remedy = f' to MQTT {config.protocol}. Set mqtt.protocol = "{"3.1.1" if config.protocol == "5" else "5"}"'
    elif code.value in _CREDENTIALS:
        who = f"user {config.username!r}" if config.username else "no user"
        remedy = f" to {who}. Check mqtt.username, mqtt.password and the broker's list of users"
    return f"broker {config.host}:{config.port} answered {describe(code, properties)}{remedy}"


def unreachable(config: MqttConfig) -> str:
    """Say why there is no connection.

    Called while the error is being handled, as paho's on_connect_fail is.
    """
    error = sys.exc_info()[1]
    return (
        f"broker {config.host}:{config.port} cannot be reached: {error}. "
        "Is it running? Check mqtt.host, mqtt.port and mqtt.tls"
    )


def unanswered(config: MqttConfig) -> str:
    """Say that something took the connection that does not talk MQTT with us."""
    return (
        f"broker {config.host}:{config.port} took the connection, and ended it or gave no answer. "
        "Does MQTT listen on this port; does it ask for TLS (mqtt.tls) or a certificate (mqtt.cert_file)?"
    )


class Link:
    """The connection of a service.

    Made again whenever it is lost, and always able to say why there is none.

    `up`, `down` and `answer` are called by paho's thread and must return at once: `up()` on each connection,
    `down(code, reason)` once for each new reason, `answer(mid, code, reason)` for each PUBACK and each QoS 0 message
    that has left. `will()` gives topic and payload of the last will, afresh for each attempt. `listen` is a topic and
    what takes its payloads. One thread publishes.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        *,
        up: Callable[[], None],
        down: Callable[[str, str], None],
        answer: Callable[[int, int, str], None],
        will: Callable[[], tuple[str, str]] | None,
        listen: tuple[str, Callable[[bytes], None]] | None = None,
    ) -> None:
        """Set the client up as `make_client` does, without connecting."""
        self.connected = False
        self.reason = NOT_YET
        self._config = config
        self._client_id = client_id
        self._renewed = ""
        self._up_s = 0.0
        self._brief = 0
        self._up, self._down, self._answer, self._will = up, down, answer, will
        self._closing = False
        self._answered = False
        self._client = make_client(config, client_id)
        self._client.on_pre_connect = self._on_pre_connect
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._listen = listen
        if listen is not None:
            self._client.on_message = self._on_message

    def open(self) -> None:
        """Begin to connect; never fails for want of a broker."""
        self._client.connect_async(self._config.host, self._config.port, self._config.keepalive_s)
        self._client.loop_start()

    def publish(self, topic: str, payload: str, qos: Literal[0, 1], retain: bool) -> int | None:
        """Hand a message over and return its number, or None when it was not taken.

        With QoS 1 it is sent again on the next connection, under the same number, until its PUBACK comes.
        """
        if self._closing:
            return None
        info = self._client.publish(topic, payload, qos, retain)
        taken = info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS or (qos == 1 and info.rc == MQTTErrorCode.MQTT_ERR_NO_CONN)
        return info.mid if taken else None

    def renew(self, why: str) -> None:
        """End the connection and have it made again.

        why: what is wrong with the broker, for the reason.
        """
        self._renewed = why
        transport = self._client.socket()
        if isinstance(transport, socket.socket):
            with suppress(OSError):  # it went by itself in this moment
                transport.shutdown(socket.SHUT_RDWR)

    def close(self, last_words: tuple[str, str] | None) -> None:
        """Publish topic and payload, retained, if there is a connection.

        Then disconnect, so that no will is sent.

        The link cannot be used afterwards.
        """
        self._closing = True
        if last_words is not None and self.connected:
            try:
                self._client.publish(*last_words, qos=1, retain=True).wait_for_publish(STOP_S)
            except RuntimeError as error:
                log.warning("the broker did not hear that the device stops: %s", error)
        self._client.disconnect()
        # In a thread of its own, since a dead network can hold paho's for longer than anyone waits.
        stopper = threading.Thread(target=self._client.loop_stop, name="mqtt-stop", daemon=True)
        stopper.start()
        stopper.join(STOP_S)
        # The client goes now, and its sockets with it: in a cycle they would wait for the collector.
        del self._client

    def _on_pre_connect(self, client: Client, _userdata: object) -> None:
        self._answered = False
        if self._will is not None:
            client.will_set(*self._will(), qos=1, retain=True)

    def _on_connect(
        self, client: Client, _userdata: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._answered = True
        if code.is_failure:
            self._lost("broker_refused", refusal(self._config, code, properties))
            return
        log.info("connected to %s:%d", self._config.host, self._config.port)
        self.reason = ""
        self._up_s = time.monotonic()
        self.connected = True
        if self._listen is not None:
            client.subscribe(self._listen[0], qos=1)
        self._up()

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if self._listen is not None and not message.retain:  # a retained one is of some time past
            self._listen[1](bytes(message.payload))

    def _on_connect_fail(self, _client: Client, _userdata: object) -> None:
        self._lost("broker_unreachable", unreachable(self._config))

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        # After a refused connection there is none to lose, and the broker's reason stays.
        if self._closing:
            self.connected = False
        elif self.connected:
            self._lost("broker_lost", self._why_lost(flags, code, properties))
        elif not self._answered:
            self._lost("broker_refused", unanswered(self._config))

    def _why_lost(self, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None) -> str:
        """Say why the connection ended, and choose the pause before the next by it."""
        # Where nobody gave a reason paho makes one up: unspecified. Mosquitto 2.0.11 gives none for a take-over.
        told = flags.is_disconnect_packet_from_server or code.value != _UNSPECIFIED
        why = describe(code, properties) if told else self._renewed or "the network or the broker ended it"
        brief = not told and not self._renewed and time.monotonic() - self._up_s < _BRIEF_S
        self._brief = self._brief + 1 if brief else 0
        taken_over = code.value == _TAKEN_OVER
        rival = taken_over or self._brief > 1
        if rival:
            why += f". {'Another' if taken_over else 'Perhaps another'} client calls itself {self._client_id!r}: "
            why += "give each device its own device.device or mqtt.client_id"
        _set_pauses(self._client, _RECONNECT_RIVAL_S if rival else _RECONNECT_S)
        self._renewed = ""
        return f"connection to {self._config.host}:{self._config.port} lost: {why}"

    def _lost(self, code: str, reason: str) -> None:
        """Say once why there is no connection, though it is tried again and again."""
        self.connected = False
        if reason != self.reason:
            self.reason = reason
            log.error("%s", reason)
            self._down(code, reason)

    def _on_publish(
        self, _client: Client, _userdata: object, mid: int, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._answer(mid, code.value, describe(code, properties))


def check_broker(config: MqttConfig, timeout_s: float = CONNECT_TIMEOUT_S) -> str:
    """Connect once and return a line that says what was reached.

    The connection has an identifier of its own.

    Raises BrokerError with the broker's reason when it refuses or does not answer, ConfigError as `make_client`.
    """
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
    client.loop_start()
    answered.wait(timeout_s)
    client.disconnect()
    client.loop_stop()
    transport = client.socket()
    if transport is not None:  # paho leaves it open where the broker refused just now
        transport.close()
    if not answers:
        raise BrokerError(unanswered(config))
    if answers[0]:
        raise BrokerError(answers[0])
    user = f", user {config.username}" if config.username else ""
    return f"{config.host}:{config.port}, MQTT {config.protocol}{', TLS' if config.tls else ''}{user}"
