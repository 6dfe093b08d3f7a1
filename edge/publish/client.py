"""A client set up as configured, and the broker's answers in words."""

from __future__ import annotations

import sys

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config.model import MqttConfig
from edge.errors import ConfigError
from edge.system.tls import blamed_clock, make_context

_PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}

_CREDENTIALS = (134, 135)
"""Bad user name or password, not authorised; paho gives the same codes to MQTT 3.1.1's return codes 4 and 5."""

_VERSION = 132
"""Unsupported protocol version."""

CONNECT_TIMEOUT_S = 5.0


def make_client(config: MqttConfig, client_id: str) -> Client:
    """Return a client set up as configured, not yet connected, for one connection.

    Raises ConfigError when a certificate cannot be used, or the settings contradict each other.
    """
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=_PROTOCOLS[config.protocol],
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    # The sender keeps within the broker's Receive Maximum, which paho does not heed.
    client.max_inflight_messages_set(65535)
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
    client.tls_set_context(make_context(config))


def describe(code: ReasonCode, properties: Properties | None) -> str:
    """Return a reason code in words, with the broker's own where it gives some."""
    own = getattr(properties, "ReasonString", "")
    return f"{code} ({code.value}{': ' + own if own else ''})"


def refusal(config: MqttConfig, code: ReasonCode, properties: Properties | None) -> str:
    """Say why the broker refused the connection, and what to do."""
    remedy = ""
    if code.value == _VERSION:
        remedy = f' to MQTT {config.protocol}. Set mqtt.protocol = "{_other(config)}"'
    elif code.value in _CREDENTIALS:
        who = f"user {config.username!r}" if config.username else "no user"
        remedy = f" to {who}. Check mqtt.username, mqtt.password and the broker's list of users"
    return f"broker {config.host}:{config.port} answered {describe(code, properties)}{remedy}"


def correlated(data: bytes) -> Properties:
    """Return the MQTT 5 properties of the answer to a message with this Correlation Data."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.CorrelationData = data
    return properties


def unreachable(config: MqttConfig) -> str:
    """Say why there is no connection.

    Called while the error is being handled, as paho's on_connect_fail is.
    """
    error = sys.exc_info()[1]
    return (
        f"broker {config.host}:{config.port} cannot be reached: {error}{blamed_clock(error)}. "
        "Is it running? Check mqtt.host, mqtt.port and mqtt.tls"
    )


def unanswered(config: MqttConfig) -> str:
    """Say that something took the connection that does not talk MQTT with us."""
    return (
        f"broker {config.host}:{config.port} took the connection, and ended it or gave no answer. "
        f"Does MQTT listen on this port; does it speak MQTT {config.protocol} "
        f'(if not, set mqtt.protocol = "{_other(config)}"); '
        "does it ask for TLS (mqtt.tls) or a certificate (mqtt.cert_file)?"
    )


def _other(config: MqttConfig) -> str:
    return "3.1.1" if config.protocol == "5" else "5"
