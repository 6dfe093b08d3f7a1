"""Asks devices to send results again, by the command `resend` of docs/mqtt.md."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage

from edge.api.authentication import sign
from edge.config.model import MqttConfig
from edge.errors import BrokerError
from edge.publish.client import make_client, unreachable
from edge.publish.message_base import ROOT
from fleet.missing import Range

ANSWER_S = 10.0
"""How long a device may take to tell its challenge, or to answer."""

Device = tuple[str, str]
"""Site and device."""


class Asker:
    """One connection over which devices are asked.

    Entering connects, and raises BrokerError when the broker cannot be reached.
    """

    def __init__(self, mqtt: MqttConfig, secret: str, tell: Callable[[str], None]) -> None:
        """Ask with the secret that the devices share; tell: is given what comes of each question."""
        self._mqtt, self._secret, self._tell = mqtt, secret, tell
        self._client = make_client(mqtt, f"sicklescope-fleet-asks-{uuid4().hex[:8]}")
        self._client.on_message = self._on_message
        topics = [(f"{ROOT}/+/+/{kind}", 1) for kind in ("birth", "reply")]
        self._client.on_connect = lambda client, *_: client.subscribe(topics)
        self._news = threading.Condition()
        self._challenges: dict[Device, str | None] = {}
        self._used: set[str] = set()
        self._replies: dict[str, dict[str, object]] = {}

    def __enter__(self) -> Asker:
        try:
            self._client.connect(self._mqtt.host, self._mqtt.port, self._mqtt.keepalive_s)
        except OSError as error:
            raise BrokerError(unreachable(self._mqtt)) from error
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def ask(self, device: Device, missing: Iterable[Range]) -> int:
        """Ask a device for ranges of results; return how many it sends again.

        A device that does not answer, or says no, is not asked for the rest.
        """
        promised = 0
        for first, last in missing:
            reply = self._answer(device, first, last)
            named = f"{'/'.join(device)}: {first}-{last}"
            if reply is None:
                self._tell(f"{named}: no answer. Are commands on there (mqtt.commands), with this secret?")
                break
            promised += int(str(reply.get("results") or 0))
            self._tell(f"{named}: {reply.get('error') or 'sent again'}")
            if reply.get("error"):
                break
        return promised

    def _answer(self, device: Device, first: int, last: int) -> dict[str, object] | None:
        with self._news:
            challenge = self._news.wait_for(lambda: self._challenge(device), ANSWER_S)
            if challenge is None:
                return None
            self._used.add(challenge)
            request = uuid4().hex
            wish = {"command": "resend", "first": first, "last": last, "by": "sicklescope-fleet", "request": request}
            order = json.dumps(wish)
            to = f"{ROOT}/{'/'.join(device)}/command"
            signed = {"challenge": challenge, "order": order, "mac": sign(self._secret, to, challenge, order)}
            self._client.publish(to, json.dumps(signed), 1)
            self._news.wait_for(lambda: request in self._replies, ANSWER_S)
            return self._replies.get(request)

    def _challenge(self, device: Device) -> str | None:
        """Return the newest challenge of a device, unless it was used."""
        challenge = self._challenges.get(device)
        return None if challenge in self._used else challenge

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        *_, site, device, kind = message.topic.split("/")
        try:
            payload = json.loads(message.payload)
        except ValueError:
            return
        if not isinstance(payload, dict):
            return
        with self._news:
            if kind == "birth":
                challenge = payload.get("command_challenge")
                self._challenges[site, device] = challenge if isinstance(challenge, str) else None
            elif isinstance(payload.get("request"), str):
                self._replies[payload["request"]] = payload
            self._news.notify_all()
