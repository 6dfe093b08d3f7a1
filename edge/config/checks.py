"""What a valid configuration cannot be meant to say: files that are not there, settings that defeat each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.config.model import Config, MqttConfig

PLAIN_PORT = 1883
TLS_PORT = 8883
LOCAL = ("localhost", "127.0.0.1", "::1")


def doubts(config: Config) -> Iterator[str]:
    """Give a line for each setting that will not do what it seems to say.

    Found, expected, what to do.
    """
    yield from _of_the_broker(config.mqtt)
    for name, path in _files(config):
        if path is not None and not path.is_file():
            yield f"{name} = {path}: there is no such file. Put it there, or correct the path"
    screening = config.screening
    if screening.min_red_cells > screening.target_red_cells:
        yield (
            f"screening.min_red_cells = {screening.min_red_cells}: above screening.target_red_cells = "
            f"{screening.target_red_cells}, so a sample ends before its result can be reported. Expected at most that"
        )


def _of_the_broker(mqtt: MqttConfig) -> Iterator[str]:
    if not mqtt.enabled:
        return
    if mqtt.tls and mqtt.port == PLAIN_PORT:
        yield f"mqtt.port = {PLAIN_PORT}: with mqtt.tls = true a broker usually listens on {TLS_PORT}. Set mqtt.port"
    if not mqtt.tls and mqtt.port == TLS_PORT:
        yield f"mqtt.tls = false: a broker on port {TLS_PORT} usually expects TLS. Set mqtt.tls = true"
    if mqtt.password is not None and not mqtt.tls and mqtt.host not in LOCAL:
        yield (
            f"mqtt.tls = false: the password goes to {mqtt.host} in plain text, for all of the network to read. "
            "Set mqtt.tls = true and mqtt.ca_file"
        )


def _files(config: Config) -> Iterator[tuple[str, Path | None]]:
    mqtt, models = config.mqtt, config.models
    if mqtt.enabled:
        yield from (
            ("mqtt.ca_file", mqtt.ca_file),
            ("mqtt.cert_file", mqtt.cert_file),
            ("mqtt.key_file", mqtt.key_file),
        )
    yield "optics.calibration", config.optics.calibration
    yield from (("models.detector.path", models.detector.path), ("models.classifier.path", models.classifier.path))
