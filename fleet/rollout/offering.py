"""Offers a bundle to devices of a programme by a retained message to each, and withdraws it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from uuid import uuid4

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.bundle.offer import Offer, place_of
from edge.config.model import MqttConfig
from edge.errors import BrokerError
from edge.publish.client import make_client, refusal, unreachable
from edge.publish.message_base import ROOT

QUIET_S = 1.0
"""Retained messages come at once after the subscription; so long without another one and all are there."""

ANSWER_S = 10.0

Device = tuple[str, str]
"""Site and device."""


class Broker:
    """One connection, by which devices are found and offers published.

    Entering connects, and raises BrokerError when the broker cannot be reached or refuses.
    """

    def __init__(self, mqtt: MqttConfig) -> None:
        self._mqtt = mqtt
        self._client = make_client(mqtt, f"sicklescope-fleet-offers-{uuid4().hex[:8]}")
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._answered, self._news = threading.Event(), threading.Event()
        self._refusal = ""
        self._devices: set[Device] = set()

    def __enter__(self) -> Broker:
        try:
            self._client.connect(self._mqtt.host, self._mqtt.port, self._mqtt.keepalive_s)
        except OSError as error:
            raise BrokerError(unreachable(self._mqtt)) from error
        self._client.loop_start()
        self._answered.wait(ANSWER_S)
        if self._refusal or not self._answered.is_set():
            self.__exit__()
            raise BrokerError(self._refusal or f"broker {self._mqtt.host}:{self._mqtt.port} gave no answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def devices(self) -> list[Device]:
        """Return the devices that have told the broker of themselves (`birth`, which it keeps)."""
        self._client.subscribe(f"{ROOT}/+/+/birth", 1)
        self._news.wait(ANSWER_S)
        while self._news.is_set():
            self._news.clear()
            self._news.wait(QUIET_S)
        return sorted(self._devices)

    def publish(self, device: Device, offer: Offer | None) -> None:
        """Offer a bundle to a device, or withdraw what was offered.

        Raises:
            BrokerError: The broker did not take it.
        """
        topic = f"{ROOT}/{'/'.join(device)}/offer"
        sent = self._client.publish(topic, offer.to_json() if offer else b"", 1, retain=True)
        sent.wait_for_publish(ANSWER_S)
        if not sent.is_published():
            raise BrokerError(f"the broker did not take the offer to {topic}. May this user write there?")

    def _on_connect(
        self, _client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._refusal = refusal(self._mqtt, code, properties) if code.is_failure else ""
        self._answered.set()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        *_, site, device, _kind = message.topic.split("/")
        self._devices.add((site, device))
        self._news.set()


def chosen(devices: Iterable[Device], sites: tuple[str, ...], share: float) -> list[Device]:
    """Return the devices of a stage: of these sites, or of all, and within the share.

    A device is in every share above its own place, so a greater share holds the smaller ones.
    """
    return [one for one in devices if (not sites or one[0] in sites) and place_of(*one) < share]
