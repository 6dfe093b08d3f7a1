"""The collector's settings: a TOML file, and secrets from the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError

from edge.config.model import MqttConfig, Name, Section
from edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FROM_ENVIRONMENT = {
    "FLEET_DATABASE_URL": ("database", "url"),
    "FLEET_MQTT_PASSWORD": ("mqtt", "password"),
    "FLEET_COMMAND_SECRET": ("mqtt", "command_secret"),
}
"""Section and key of the secrets that the environment may hold."""


class CollectorConfig(Section):
    """This collector among those that work side by side."""

    name: Name = "collector-1"
    """Differs between collectors and stays the same for each: its session at the broker goes by this name."""
    group: Name = "sicklescope"
    """Collectors of one group share the messages; another group gets all of them again."""
    session_days: int = Field(default=7, ge=1, le=365)
    """The broker keeps the session of an absent collector for so long."""
    batch: int = Field(default=1000, ge=1, le=10_000)
    """Messages that are written in one transaction at most, and that the broker may send unacknowledged."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where Prometheus reads `/metrics`; unset: nowhere."""
    metrics_address: str = "127.0.0.1"


class DatabaseConfig(Section):
    """Where the rows go."""

    url: SecretStr = SecretStr("sqlite:///sicklescope-fleet.sqlite3")
    """postgresql://user@host/name, or sqlite:///FILE. FLEET_DATABASE_URL in the environment goes before it."""
    telemetry_days: int = Field(default=90, ge=1)
    """Telemetry is kept for so long."""
    events_days: int = Field(default=1095, ge=1)
    """Events, states and replies are kept for so long. Results are kept until they are erased."""

    @property
    def kept_days(self) -> dict[str, int]:
        """Days by table."""
        return {"telemetry": self.telemetry_days, "events": self.events_days}


class FleetConfig(Section):
    """All settings; `mqtt` has the keys of a device's."""

    mqtt: MqttConfig = MqttConfig()
    collector: CollectorConfig = CollectorConfig()
    database: DatabaseConfig = DatabaseConfig()


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> FleetConfig:
    """Read the settings; without a file all are at their defaults.

    Raises ConfigError, which names each wrong key and what was expected.
    """
    values: dict[str, dict[str, object]] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}. Expected a TOML file in UTF-8") from error
    for name, (section, key) in FROM_ENVIRONMENT.items():
        if environ.get(name):
            values.setdefault(section, {})[key] = environ[name]
    try:
        return FleetConfig.model_validate(values)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError("\n".join([f"{path or 'the environment'} cannot be used:", *lines])) from error
