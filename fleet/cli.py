"""The `sicklescope-fleet` command: what a programme of many devices runs on a server."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from edge.errors import ConfigError, StorageError
from edge.system.console import answering, out
from fleet.config import FleetConfig, load
from fleet.database.base import Database, DatabaseError
from fleet.database.schema import VERSION
from fleet.keys import commands as keys
from fleet.rollout import commands as rollout

app = typer.Typer(
    help="Collect what sicklescope devices publish into one database. Research use only; not a diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PROGRAM = "sicklescope-fleet"

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings, TOML: docs/fleet.md.")
]

Name = Annotated[str | None, typer.Option(help="Of the collector; else collector.name.")]


def open_database(config: FleetConfig) -> Database:
    """Return the configured database, not opened yet; raises ConfigError for an address of none."""
    url = config.database.url.get_secret_value()
    kind, _, rest = url.partition("://")
    if kind in ("postgresql", "postgres"):
        from fleet.database.postgresql import PostgreSQL

        return PostgreSQL(url)
    if kind == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from fleet.database.sqlite import SQLite

        return SQLite(Path(rest[1:]))
    raise ConfigError("database.url is none. Expected postgresql://USER@HOST/NAME or sqlite:///FILE")


for _command in (keys.ca, keys.enrol, keys.renew, keys.revoke, keys.broker_files, keys.certificates):
    app.command()(_command)
app.add_typer(rollout.app, name="bundle")
app.command()(rollout.offer)
app.command()(rollout.withdraw)


@app.callback()
def _main() -> None:
    """Take no options before a command."""


@app.command()
def collect(
    config: ConfigFile = None, name: Annotated[str | None, typer.Option(help="Of this collector.")] = None
) -> None:
    """Write all messages of all devices into the database, until Ctrl-C or SIGTERM."""
    with answering(PROGRAM):
        _collect(_named(load(config), name), leaving=False)


@app.command()
def retire(
    config: ConfigFile = None, name: Annotated[str | None, typer.Option(help="Of the collector.")] = None
) -> None:
    """Take what a collector's sessions have kept and end them, before it goes for good."""
    with answering(PROGRAM):
        _collect(_named(load(config), name), leaving=True)


def _named(config: FleetConfig, name: str | None) -> FleetConfig:
    if name is None:
        return config
    return FleetConfig.model_validate(
        {**config.model_dump(), "collector": {**config.collector.model_dump(), "name": name}}
    )


def _collect(config: FleetConfig, leaving: bool) -> None:
    from prometheus_client import start_http_server

    from fleet.collector import Collector

    if config.mqtt.protocol != "5":
        raise ConfigError('collecting needs MQTT 5 (shared subscriptions). Leave mqtt.protocol at "5"')
    collector = Collector(config, open_database(config), leaving)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: collector.stop())
    own = config.collector
    if own.metrics_port is not None:
        try:
            server, _ = start_http_server(own.metrics_port, own.metrics_address, collector.metrics.registry)
        except OSError as error:
            raise ConfigError(
                f"nothing can listen on {own.metrics_address}:{own.metrics_port}: {error.strerror}. "
                "Set another collector.metrics_port"
            ) from error
        try:
            collector.run()
        finally:
            server.shutdown()
            server.server_close()
    else:
        collector.run()


@app.command()
def erase(
    sample: Annotated[UUID, typer.Argument(help="`sample_id` of the sample.")],
    reason: Annotated[str, typer.Option(help="Why; it stays, so it must name no patient.")],
    config: ConfigFile = None,
) -> None:
    """Erase every result of a sample, also those that come later. Do the same at the device."""
    with answering(PROGRAM), _database(load(config)) as database:
        from fleet.rows.results import erase as erase_sample

        gone = erase_sample(database, str(sample), time.time_ns() // 1_000_000, reason)
        out.print(f"{gone} results erased; none of this sample will be taken again")


@app.command()
def missing(config: ConfigFile = None) -> None:
    """List results that devices hold and that are not here; exit 1 when there are any."""
    with answering(PROGRAM), _database(load(config)) as database:
        from fleet.missing import missing_of

        some = False
        for row, site, device, held in _lists(database):
            for first, last in missing_of(database, row, held):
                some = True
                out.print(f"{site}/{device}: {first}-{last}", highlight=False)
        if some:
            raise typer.Exit(1)


@app.command()
def resend(config: ConfigFile = None) -> None:
    """Ask devices for the results that are not here; mqtt.command_secret has to be theirs."""
    with answering(PROGRAM):
        loaded = load(config)
        secret = loaded.mqtt.command_secret
        if secret is None:
            raise ConfigError("mqtt.command_secret is not set. Set FLEET_COMMAND_SECRET to that of the devices")
        from fleet.asking import Asker
        from fleet.missing import missing_of

        with _database(loaded) as database, Asker(loaded.mqtt, secret.get_secret_value(), out.print) as asker:
            promised = 0
            for row, site, device, held in _lists(database):
                promised += asker.ask((site, device), missing_of(database, row, held))
        out.print(f"{promised} results are sent again")


def _lists(database: Database) -> list[tuple[int, str, str, str]]:
    """Return row, site, device and list of held results of each device that has told it."""
    return [
        (row, site, device, held)
        for row, site, device, held in database.rows(
            "SELECT id, site, device, held FROM devices WHERE held IS NOT NULL ORDER BY site, device"
        )
    ]


@app.command()
def reconsider(config: ConfigFile = None) -> None:
    """Read again the results that were set aside: after an upgrade of the collector."""
    with answering(PROGRAM):
        loaded = load(config)
        with _database(loaded) as database:
            from fleet.reconsider import reconsider as reconsider_aside

            written = reconsider_aside(database, loaded.database.kept_days)
            out.print(f"{written.new.total()} results taken, {written.refused.total()} set aside again")


@contextmanager
def _database(config: FleetConfig) -> Iterator[Database]:
    """Give the database with its tables; StorageError says why it cannot be used."""
    database = open_database(config)
    try:
        database.create(VERSION)
        yield database
    except DatabaseError as error:
        raise StorageError(str(error)) from error
    finally:
        database.close()


def main() -> None:
    """Run the command."""
    app()
