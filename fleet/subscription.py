"""A session at the broker that is kept while its collector is away; messages are acknowledged when they are written."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config.model import MqttConfig
from edge.publish.client import describe, make_client, refusal, unanswered, unreachable
from edge.system.backoff import Backoff
from fleet.rows.received import Arrival

log = logging.getLogger(__name__)

RECONNECT_S = (0.5, 30.0)
"""Pause before a new connection, first and at most; each is drawn between half and the whole of it."""

TAKEN_OVER = 142
"""Session taken over: another client has connected under the same identifier."""

TAKEN_OVER_S = 10.0

SETTLED_S = 10.0
"""A connection that holds so long makes the next pause a short one again."""

FAILURE = 128

_IDENTIFIERS_MAX = 65535


@dataclass(frozen=True, slots=True)
class Taken:
    """A message and its connection; mid: its identifier there, 0 with QoS 0."""

    arrival: Arrival
    client: Client
    mid: int

    def acknowledge(self) -> None:
        """Tell the broker that it need not send this again.

        On a connection that is gone this does nothing, and the message comes again.
        """
        if self.mid:
            self.client.ack(self.mid, 1)


class Subscription:
    """Keeps one session at the broker, over connections that come and go.

    Attributes:
        client_id: names the session.
        connected: whether there is a connection, and the broker granted the subscriptions.
        sessions_lost: how often the broker had forgotten the session; what came meanwhile is lost.
        reason: why there is no connection, or empty.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        topics: Sequence[tuple[str, int]],
        take: Callable[[Taken], None],
        *,
        session_s: int,
        window: int,
        leaving: bool = False,
    ) -> None:
        """Set up a session.

        Args:
            config: the broker.
            client_id: names the session.
            topics: filters with their QoS.
            take: is given each message, in a thread of the connection's.
            session_s: the broker keeps the session of an absent collector for so long.
            window: so many messages may be unacknowledged.
            leaving: take what the session has kept and no more, then end it.
        """
        self.client_id = client_id
        self.connected = False
        self.sessions_lost = 0
        self.reason = "not connected yet"
        self._config, self._topics, self._take = config, topics, take
        self._session_s, self._window, self._leaving = session_s, min(window, _IDENTIFIERS_MAX), leaving
        self._had_session = False
        self._client: Client | None = None
        self._ended, self._closing = threading.Event(), threading.Event()
        self._backoff = Backoff(*RECONNECT_S)
        self._pause_s = 0.0
        self._thread = threading.Thread(target=self._run, name=client_id, daemon=True)

    def start(self) -> None:
        """Begin to connect; raises ConfigError when a certificate cannot be used."""
        make_client(self._config, self.client_id)
        self._thread.start()

    def close(self) -> None:
        """End the connection; the session stays at the broker, unless the collector leaves."""
        self._closing.set()
        client = self._client
        if client is not None:
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            if self._leaving:
                properties.SessionExpiryInterval = 0
            client.disconnect(properties=properties)
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._ended.clear()
            began_s = time.monotonic()
            client = self._client = self._made()
            try:
                client.connect(
                    self._config.host, self._config.port, self._config.keepalive_s,
                    clean_start=False, properties=self._session(),
                )  # fmt: skip
            except OSError:
                self._lost(unreachable(self._config))
            else:
                client.loop_start()
                self._ended.wait()
                self.connected = False
                client.loop_stop()
            if time.monotonic() - began_s > SETTLED_S:
                self._backoff.reset()
            pause_s = max(self._pause_s, self._backoff.next_s() * random.uniform(0.5, 1.0))  # noqa: S311
            self._pause_s = 0.0
            self._closing.wait(pause_s)

    def _made(self) -> Client:
        client = make_client(self._config, self.client_id)
        client.manual_ack_set(True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _session(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session_s
        properties.ReceiveMaximum = self._window
        return properties

    def _on_connect(
        self, client: Client, _data: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._lost(refusal(self._config, code, properties))
            return
        if self._had_session and not flags.session_present:
            self.sessions_lost += 1
            log.error(
                "the broker has forgotten the session %s: what it held is lost. Set persistence true there, and "
                "collector.session_days to the longest absence", self.client_id,
            )  # fmt: skip
        self._had_session = True
        if self._leaving:
            client.unsubscribe([topic for topic, _ in self._topics])
            self.connected, self.reason = True, ""
            return
        client.subscribe([(topic, SubscribeOptions(qos=qos)) for topic, qos in self._topics])

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused = [
            f"{topic}: {describe(code, properties)}"
            for (topic, _), code in zip(self._topics, codes, strict=True)
            if code.value >= FAILURE
        ]
        if refused:
            self._lost(
                f"the broker refuses to subscribe {self.client_id} to {'; '.join(refused)}. May this user read these "
                "topics, and does the broker speak MQTT 5 with shared subscriptions?"
            )
            return
        self.connected, self.reason = True, ""
        log.info("%s is connected to %s:%d", self.client_id, self._config.host, self._config.port)

    def _on_message(self, client: Client, _data: object, message: MQTTMessage) -> None:
        arrival = Arrival(
            _topic(message), bytes(message.payload), time.time_ns() // 1_000_000, retained=bool(message.retain)
        )
        self._take(Taken(arrival, client, message.mid if message.qos else 0))

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if not self._closing.is_set():
            if code.value == TAKEN_OVER:
                self._pause_s = TAKEN_OVER_S
                self._lost(
                    f"another client calls itself {self.client_id!r}: give each collector its own collector.name"
                )
            elif self.connected:
                self._lost(f"connection to {self._config.host}:{self._config.port} lost: {describe(code, properties)}")
            elif not self.reason:
                self._lost(unanswered(self._config))
        self._ended.set()

    def _lost(self, reason: str) -> None:
        """Say once why there is no connection, though it is tried again and again."""
        self.connected = False
        if reason != self.reason:
            self.reason = reason
            log.error("%s", reason)


def _topic(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:
        return ""
