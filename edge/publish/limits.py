"""What the broker takes, as it says itself, and what the device cannot do for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paho.mqtt.properties import Properties

_NO_RETAIN, _NO_QOS_1 = 154, 155
"""Reason codes: retain, or this QoS, is not supported."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker takes, as its CONNACK says (MQTT 5, 3.2.2.3); MQTT 3.1.1 says nothing.

    Attributes:
        unacknowledged: messages of QoS 1 on their way at once (Receive Maximum).
        packet_bytes: size of one packet (Maximum Packet Size); None: any.
        qos_1: whether it takes QoS 1 (Maximum QoS).
        retain: whether it retains messages (Retain Available).
    """

    unacknowledged: int = 65535
    packet_bytes: int | None = None
    qos_1: bool = True
    retain: bool = True


def limits_of(properties: Properties | None, before: Limits) -> Limits:
    """Return the limits that a CONNACK states; what the broker refused before, it still refuses."""
    return Limits(
        unacknowledged=getattr(properties, "ReceiveMaximum", 65535),
        packet_bytes=getattr(properties, "MaximumPacketSize", None),
        qos_1=before.qos_1 and getattr(properties, "MaximumQoS", 1) > 0,
        retain=before.retain and bool(getattr(properties, "RetainAvailable", 1)),
    )


def limits_after_refusal(code: int, before: Limits) -> Limits:
    """Return what to try next: the will is of QoS 1 and retained, and a broker may take neither."""
    return Limits(qos_1=before.qos_1 and code != _NO_QOS_1, retain=before.retain and code != _NO_RETAIN)


def shortcomings(before: Limits, now: Limits) -> Iterator[tuple[str, str]]:
    """Yield codes and words of what the device newly cannot do at this broker."""
    if not now.retain and before.retain:
        yield (
            "broker_without_retain",
            "retains no messages: who connects later sees no status and birth of this device. "
            "Switch on retained messages there (Mosquitto: retain_available true)",
        )
    if not now.qos_1 and before.qos_1:
        yield (
            "broker_without_qos_1",
            "takes QoS 0 only and acknowledges nothing: results stay on this device. "
            "Allow QoS 1 there (Mosquitto: max_qos 2)",
        )
