"""A disk that does not take what is written costs no count, and a person's word stands."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.api.client import state
from edge.config.model import Config
from edge.errors import EdgeError, SampleError, StorageError
from edge.publish.composer import Composer
from edge.sample.lifecycle import Lifecycle
from edge.service.service import Service
from edge.storage.database import Database, database_path
from tests.edge.service.service_parts import configured, do, running, waiting
from tests.faults.disk import FullDisk
from tests.mosquitto import free_port, wait_for


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.storage.database.LOCK_S", 0.1)


@contextmanager
def locked(config: Config) -> Iterator[None]:
    """Hold the database, as a backup program does."""
    other = sqlite3.connect(database_path(config), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def counted(folder: Path, least: int = 1) -> int:
    def red_cells() -> int:
        found = state(folder)["verdict"]
        return found["red_cells"] if found and found["red_cells"] >= least else 0

    return int(wait_for(red_cells, 60))


def test_a_stop_that_cannot_be_stored_keeps_the_counts_and_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: memory that changes before the commit. In 0.6.0 the counts were gone after the first, failed stop."""
    monkeypatch.setattr("edge.service.sample_loop.RETRY_FIRST_S", 600.0)
    config = waiting(tmp_path)
    with running(config):
        do(tmp_path, command="start", sample="K-1")
        before = counted(tmp_path)
        with locked(config):
            for _ in range(2):
                with pytest.raises(StorageError, match=r"locked.*The result of K-1 was not kept: .*red cells counted"):
                    do(tmp_path, command="stop")
            with pytest.raises(EdgeError, match=r"K-1 is being scanned|locked"):
                do(tmp_path, command="start", sample="K-2")
            held = state(tmp_path)
            assert (held["sample"], held["state"]) == ("K-1", "scanning")
            assert "locked" in held["storage_problem"]
        stopped = do(tmp_path, command="stop")
        assert (stopped["sample"], stopped["state"]) == ("K-1", "incomplete")
        assert (state(tmp_path)["state"], state(tmp_path)["storage_problem"]) == ("idle", "")
        with Database(database_path(config)) as database:
            lifecycle = Lifecycle(config, database, Composer(config.device))
            record = lifecycle.record(lifecycle.store.find("K-1"))
    assert record.verdict.red_cells == held["verdict"]["red_cells"] >= before
    assert record.counts.cells_seen > 0


def test_a_sample_that_ended_is_stored_by_itself_when_the_disk_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.service.sample_loop.RETRY_FIRST_S", 0.1)
    config = waiting(tmp_path)
    with running(config):
        do(tmp_path, command="start", sample="K-1")
        counted(tmp_path)
        with locked(config), pytest.raises(StorageError):
            do(tmp_path, command="stop")
        wait_for(lambda: state(tmp_path)["state"] == "idle", 20)
        assert do(tmp_path, command="reopen", sample="K-1")["state"] == "scanning"
        do(tmp_path, command="stop")


def test_a_write_lock_does_not_end_a_sample(tmp_path: Path) -> None:
    """Kind: a fault that passes is taken for the end. In 0.6.0 a lock of more than five seconds ended the run."""
    config = waiting(tmp_path)
    with running(config):
        do(tmp_path, command="start", sample="K-1")
        before = counted(tmp_path)
        with locked(config):
            wait_for(lambda: "held in memory" in state(tmp_path)["storage_problem"], 20)
            during = counted(tmp_path, before + 1)
        wait_for(lambda: not state(tmp_path)["storage_problem"], 20)
        assert counted(tmp_path, during)
        assert do(tmp_path, command="stop")["state"] == "incomplete"


def test_a_run_of_one_sample_waits_for_a_lock_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, free_port())
    seen: list[object] = []
    with Database(database_path(config)) as other:

        def observe(_: object) -> None:
            seen.append(0)
            if len(seen) == 2:
                other._connection.execute("BEGIN IMMEDIATE")

        monkeypatch.setattr(
            "edge.service.sample_loop.SampleLoop._hold", lambda *_: other._connection.execute("ROLLBACK")
        )
        outcome = Service(config, "K-1", observer=observe).run()
    assert outcome is not None
    assert (outcome.fault, outcome.frames, outcome.fate) == (None, 6, "waiting")


def test_what_a_person_ended_never_goes_on_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: the disk outlives the word. In 0.6.0 such a sample went on for 300 s, on whatever slide lay there."""
    monkeypatch.setattr("edge.service.service.UNLOCK_S", 0.0)
    config = waiting(tmp_path)
    service, faults = Service(config), list[StorageError]()

    def run() -> None:
        try:
            service.run()
        except StorageError as error:
            faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for((tmp_path / "sicklescope.sock").exists, 60)
        do(tmp_path, command="start", sample="K-1")
        counted(tmp_path)
        with locked(config):
            with pytest.raises(StorageError):
                do(tmp_path, command="stop")
            service.stop()
            thread.join(30)
    finally:
        service.stop()
        thread.join(30)
    assert "The result of K-1 was not kept" in str(faults[0])
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, Composer(config.device))
        assert lifecycle.store.find("K-1").state == "scanning", "as it was stored last"
        assert lifecycle.recover() is None
        assert lifecycle.store.find("K-1").state == "incomplete"


def test_a_full_disk_keeps_the_counts_of_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.service.sample_loop.RETRY_FIRST_S", 600.0)
    with FullDisk(tmp_path, 2048) as disk:
        config = waiting(disk.root / "state", fields=100_000)
        config = config.model_copy(update={"screening": config.screening.model_copy(update={"store_interval_s": 60})})
        with running(config):
            do(config.device.state_dir, command="start", sample="K-1")
            before = counted(config.device.state_dir)
            disk.leave(0)
            with pytest.raises(StorageError, match="full"):
                do(config.device.state_dir, command="stop")
            disk.free()
            assert do(config.device.state_dir, command="stop")["state"] == "incomplete"
            with Database(database_path(config)) as database:
                lifecycle = Lifecycle(config, database, Composer(config.device))
                assert lifecycle.record(lifecycle.store.find("K-1")).verdict.red_cells >= before


def test_a_sample_that_another_program_erased_is_let_go(tmp_path: Path) -> None:
    """Kind: a row that is gone. In 0.6.0 the service ended with an exception of SQLite."""
    config = waiting(tmp_path)
    with running(config):
        do(tmp_path, command="start", sample="K-1")
        counted(tmp_path)
        with Database(database_path(config)) as database:
            database.write("DELETE FROM samples")
        wait_for(lambda: state(tmp_path)["state"] == "idle", 20)
        assert do(tmp_path, command="start", sample="K-1")["state"] == "scanning"
        with Database(database_path(config)) as database:
            database.write("DELETE FROM samples")
        with pytest.raises(SampleError, match=r"no longer on this device|no sample is being scanned"):
            do(tmp_path, command="stop")
        assert state(tmp_path)["state"] == "idle"
