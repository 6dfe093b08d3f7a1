"""A device that publishes: its database and what makes its messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.publish.composer import Composer
from edge.storage.database import Database
from edge.storage.outbox import Outbox
from tests.edge.publish.publish_parts import composer


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        yield Outbox(database)


@pytest.fixture
def compose() -> Composer:
    return composer()
