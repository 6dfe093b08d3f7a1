"""A real PostgreSQL for the session, and a database in it, or in a file, for each test."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from fleet.database.base import Database
from fleet.database.postgresql import PostgreSQL
from fleet.database.schema import VERSION
from fleet.database.sqlite import SQLite
from tests.fleet.fleet_parts import BROKER_LINES, Collector
from tests.mosquitto import Mosquitto
from tests.postgresql import BIN
from tests.postgresql import PostgreSQL as Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start PostgreSQL; skips the test where it is not installed."""
    if BIN is None:
        pytest.skip("PostgreSQL not installed (apt-get install postgresql)")
    with Server() as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    """Make an empty database, and give its address."""
    name = f"t{uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.url.replace("/postgres", f"/{name}")


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give an empty database with its tables."""
    opened: Database
    if request.param == "sqlite":
        opened = SQLite(tmp_path / "fleet.sqlite3")
    else:
        opened = PostgreSQL(request.getfixturevalue("url"))
    opened.create(VERSION)
    yield opened
    opened.close()


@pytest.fixture
def postgresql(url: str) -> Iterator[PostgreSQL]:
    """Give an empty PostgreSQL database with its tables."""
    opened = PostgreSQL(url)
    opened.create(VERSION)
    yield opened
    opened.close()


@pytest.fixture
def broker(start_mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Mosquitto:
    return start_mosquitto(*BROKER_LINES, f"persistence_location {tmp_path}/")


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    with ExitStack() as stack:

        def start(url: str, broker: Mosquitto, name: str = "one", **more: object) -> Collector:
            collector = Collector(tmp_path, url, broker, name, **more)
            collector.start()
            stack.callback(collector.stop, signal.SIGKILL)
            return collector

        yield start
