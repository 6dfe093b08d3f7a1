"""The database: whole or refused, brought up to date, and nothing lost by a full disk or a second program."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import edge.storage.database
from edge.errors import StorageError
from edge.storage.database import Database
from edge.storage.migrations import MIGRATIONS

ROW = "INSERT INTO outbox (id, kind, topic, payload, crc32, created_ms) VALUES (?, 'result', 't', ?, 0, 0)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "yet" / "sicklescope.sqlite3"


def rows(database: Database) -> list[str]:
    return [identifier for (identifier,) in database.read("SELECT id FROM outbox ORDER BY id")]


def test_commits_are_synced(path: Path) -> None:
    # What a power cut does is tried in tests/faults; that it is asked for, here.
    with Database(path) as database:
        assert database.read("PRAGMA journal_mode") == [("wal",)]
        assert database.read("PRAGMA synchronous") == [(2,)]
        assert database.read("PRAGMA secure_delete") == [(1,)]


def test_a_transaction_is_whole_or_nothing_also_within_another(path: Path) -> None:
    with Database(path) as database:

        def half() -> None:
            with database.transaction():
                for identifier in ("a", "b", "a"):
                    database.write(ROW, identifier, "")

        with pytest.raises(sqlite3.IntegrityError):
            half()
        assert rows(database) == []
        with database.transaction():
            database.write(ROW, "a", "")
            database.write(ROW, "b", "")
        assert rows(database) == ["a", "b"]


def test_threads_may_share_it(path: Path) -> None:
    with Database(path) as database:

        def pair(part: int) -> None:
            for number in range(10):
                with database.transaction():
                    database.write(ROW, f"{part}-{number}-first", "")
                    database.write(ROW, f"{part}-{number}-second", "")

        threads = [threading.Thread(target=pair, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(rows(database)) == 80


def _open(path: Path) -> None:
    with Database(path):
        pass


def test_programs_that_start_at_once_migrate_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    programs = [context.Process(target=_open, args=(path,)) for _ in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(30)
    assert [program.exitcode for program in programs] == [0, 0, 0]


def test_a_database_of_before_is_brought_up_to_date_in_one_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database(path) as database:
        database.write(ROW, "kept", "")
        version = database.read("PRAGMA user_version")[0][0]
    steps = (*MIGRATIONS, ("CREATE TABLE later (number INTEGER)", "INSERT INTO later VALUES (7)"))
    monkeypatch.setattr(edge.storage.database, "MIGRATIONS", (*steps, ("CREATE TABLE outbox (twice INTEGER)",)))
    with pytest.raises(StorageError, match="already exists"):
        Database(path)
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (version,)
        assert plain.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'later'").fetchone() == (0,)
    monkeypatch.setattr(edge.storage.database, "MIGRATIONS", steps)
    with Database(path) as database:
        assert database.read("SELECT number FROM later") == [(7,)]
        assert rows(database) == ["kept"]


def test_a_newer_programs_database_is_left_alone(path: Path) -> None:
    with Database(path) as database:
        database.write("PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"newer sicklescope: it has version 999.*Install the newer one"):
        Database(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_not_touched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE outbox (number INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"another program's database, and left as it is"):
        Database(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["not a database", "middle overwritten", "cut short"])
def test_a_damaged_file_is_named_and_left_as_it_is(path: Path, damage: str) -> None:
    with Database(path) as database, database.transaction() as connection:
        connection.executemany(ROW, [(str(number), "x" * 500) for number in range(400)])
    whole = path.read_bytes()
    damaged = {
        "not a database": b"hello, this is no database" * 100,
        "middle overwritten": whole[:4096] + b"\xff" * 40_000 + whole[44_096:],
        "cut short": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match=r"sicklescope.sqlite3: .*damaged, and left as it is. Move it"):
        Database(path)
    assert path.read_bytes() == damaged


def fill(database: Database) -> None:
    for number in range(200):
        database.write(ROW, f"too much {number}", "x" * 8000)


def test_a_full_disk_is_said_and_costs_nothing_that_was_kept(small_disk: Path) -> None:
    with Database(small_disk / "sicklescope.sqlite3") as database:
        filler = small_disk / "filler"
        database.write(ROW, "before", "kept")
        filler.write_bytes(bytes(16384))
        with pytest.raises(
            StorageError, match=r"results cannot be kept in .*sicklescope.sqlite3: .* full\. Free some space"
        ):
            fill(database)
        kept = len(rows(database))
        assert database.read("SELECT payload FROM outbox WHERE id = 'before'") == [("kept",)]
        filler.unlink()
        database.write("DELETE FROM outbox WHERE id = 'before'")
        assert len(rows(database)) == kept - 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/state.* cannot be made.*Set device.state_dir"):
        Database(tmp_path / "file" / "state" / "sicklescope.sqlite3")


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"unable to open database file\. Set device.state_dir"):
        Database(tmp_path)


def test_a_backup_is_whole_and_one_file_and_replaces_the_last(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups" / "monday.sqlite3"
    with Database(path) as database:
        database.write(ROW, "a", "first")
        database.backup(target)
        database.write(ROW, "b", "second")
        with Database(path) as command:
            command.backup(target)
        database.write(ROW, "c", "too late")
    assert [file.name for file in target.parent.iterdir()] == [target.name]
    assert target.stat().st_mode & 0o077 == 0
    with Database(target) as copy:
        assert rows(copy) == ["a", "b"]


def test_a_backup_never_replaces_the_database_itself(path: Path) -> None:
    with Database(path) as database, pytest.raises(StorageError, match="is the database itself"):
        database.backup(path.parent / "." / path.name)


def test_a_log_that_another_program_holds_is_said_to_hold_what_was_deleted(path: Path) -> None:
    with Database(path) as database, Database(path) as other:
        database.write(ROW, "a", "secret")
        database._connection.execute("PRAGMA busy_timeout = 10")
        other._connection.execute("BEGIN")
        other.read("SELECT * FROM outbox")
        database.write("DELETE FROM outbox")
        with pytest.raises(StorageError, match="still holds what was deleted"):
            database.forget()
        other._connection.execute("COMMIT")
        database.forget()


def test_what_is_forgotten_is_in_no_file(path: Path) -> None:
    with Database(path) as database:
        with database.transaction() as connection:
            connection.executemany(ROW, [(str(number), f"secret-of-{number}" * 400) for number in range(40)])
        database.write("DELETE FROM outbox")
        database.forget()
        for file in path.parent.iterdir():
            assert b"secret-of-" not in file.read_bytes(), file.name
