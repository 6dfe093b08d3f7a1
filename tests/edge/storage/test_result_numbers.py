"""Each result has its own number, for ever; what can be sent again is told as ranges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge.storage.backup import restore
from edge.storage.database import Database
from edge.storage.outbox import Outbox, Settlement
from edge.storage.result_numbers import HeldResults, ResultNumbers

SAMPLE = "INSERT INTO samples VALUES ('s', 'K-1', '2026-11-30', 'final', '', 0, '', 0.0, 0, '', '', '', 0, 0, NULL)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sicklescope.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database(path) as opened:
        opened.write(SAMPLE)
        yield opened


def add(database: Database, count: int = 1, waiting: bool = False) -> list[int]:
    """Store so many results, in the outbox too where they wait; return their numbers."""
    made = []
    for _ in range(count):
        with database.transaction():
            number = ResultNumbers(database).take()
            database.write(
                "INSERT INTO results (id, sample_id, revision, number, payload) VALUES (?, 's', ?, ?, '{}')",
                f"r{number}", number, number,
            )  # fmt: skip
            if waiting:
                Outbox(database).put(f"r{number}", "topic", "{}")
        made.append(number)
    return made


def test_results_are_numbered_by_one_and_told_as_ranges(database: Database) -> None:
    numbers = ResultNumbers(database)
    assert numbers.held().ranges == ()
    made = add(database, 6)
    assert made == list(range(made[0], made[0] + 6))
    database.write("DELETE FROM results WHERE number = ?", made[2])  # its sample is erased
    (later,) = add(database, waiting=True)
    assert later == made[-1] + 1
    assert numbers.held() == HeldResults(later, ((made[3], made[5]), (made[0], made[1])))
    for answer in (Settlement("unheard"), Settlement("refused")):
        Outbox(database).settle({f"r{later}": answer})
        assert numbers.held().ranges[0] == (made[3], later), "a receiver that has come since may ask for it"


def test_a_number_is_never_given_twice(database: Database) -> None:
    """Kind: two results that a receiver takes for one, or for none missing."""
    (first,) = add(database)
    database.write("DELETE FROM results")
    (second,) = add(database)
    database.write("UPDATE result_numbers SET last = 5")  # a changed bit
    (third,) = add(database)
    assert (second, third) == (first + 1, first + 2)
    with suppress(ZeroDivisionError), database.transaction():
        ResultNumbers(database).take()
        raise ZeroDivisionError
    assert add(database) == [third + 1], "a result that was not stored leaves no gap"


def test_a_restored_database_gives_no_number_again(database: Database, path: Path, tmp_path: Path) -> None:
    """The device has gone on since the backup: a receiver has its later results under their numbers."""
    before = add(database, 3)
    database.backup(tmp_path / "backup")
    since = add(database, 3)
    database.close()
    given = {*before, *since}
    for _ in range(2):
        restore(path, tmp_path / "backup")
        with Database(path) as again:
            made = add(again, 3)
            assert ResultNumbers(again).held().ranges == ((made[0], made[-1]), (before[0], before[-1]))
        assert not given & set(made)
        given |= set(made)
