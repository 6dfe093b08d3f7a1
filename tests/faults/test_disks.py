"""Disks that are full at every write in turn, files that are torn or cut short: a named error, and no half-truth."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config.model import QualityConfig
from edge.errors import StorageError
from edge.pipeline import Pipeline
from edge.service import service
from edge.service.service import Service
from edge.storage.database import Database
from edge.storage.outbox import News, Outbox
from tests.edge.publish.publish_parts import composer, result
from tests.edge.service.service_parts import configured, outcome_of
from tests.faults.disk import FullDisk
from tests.faults.drawn import Slide, pipeline_class
from tests.faults.parts import scaled, told

pytestmark = pytest.mark.faults

TOPIC = "sicklescope/v1/mbarara/scope-1/result"


def put(outbox: Outbox) -> tuple[str, str]:
    """Store a result; returns its id and payload."""
    made = result(composer())
    outbox.put(made.id, TOPIC, made.to_json())
    return str(made.id), made.to_json()


def kept(outbox: Outbox) -> dict[str, str]:
    return {row.id: row.payload for row in outbox.pending() if row.kind == "result" and row.whole}


def test_a_disk_that_is_full_at_any_write_costs_nothing_that_was_stored(tmp_path: Path) -> None:
    """With so many free pages one write more succeeds than with one page fewer, and the next fails in another place."""
    failed, tried = 0, range(0, 160, 1 if scaled(0, 1) else 10)
    with FullDisk(tmp_path) as disk:
        for pages in tried:
            path = disk.root / f"{pages}.sqlite3"
            with Database(path) as database:
                stored = dict([put(Outbox(database))])
            disk.leave(pages)
            gone: set[str] = set()
            said = "full"
            try:
                with Database(path) as database:
                    outbox = Outbox(database)
                    for number in range(20):
                        stored.update([put(outbox)])
                        outbox.store([News("event", TOPIC, str(number))] * 2)
                        if number % 3 == 2:
                            taken = next(iter(stored.keys() - gone))
                            outbox.delete(taken)
                            gone.add(taken)
            except StorageError as error:
                failed += 1
                said = str(error)
            assert "full" in said or "disk I/O" in said or "unable to open" in said
            disk.free()
            with Database(path) as database:
                outbox = Outbox(database)
                found = kept(outbox)
                assert {one: payload for one, payload in stored.items() if one not in gone}.items() <= found.items()
                assert len(found.keys() - stored.keys()) == 0, "what was refused with an error is not there either"
                assert len([row for row in outbox.pending() if row.kind == "event"]) % 2 == 0, "both or none"
                put(outbox)
            for file in disk.root.glob(f"{pages}.sqlite3*"):
                file.unlink()
    assert failed > 0
    told("full disk", tried=len(tried), failed=failed)


def test_a_disk_that_fills_under_the_service_costs_no_cell_and_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample that was being read goes on when there is space again, with what was stored of it.

    How much that is depends on the machine. Where a cell of it lies is not known any more: shown again, it counts
    again, and the result says so.
    """
    with FullDisk(tmp_path, 1024) as disk:
        config = configured(disk.root / "state", 1)  # no broker: results wait where they are stored
        config = config.model_copy(update={"quality": QualityConfig(gate=False)})
        monkeypatch.setattr(service, "Pipeline", pipeline_class(Pipeline(config)))

        def read(frames: int, code: str, full_after: int | None = None) -> tuple[Counter[str], tuple[str, ...]]:
            seen: list[object] = []

            def observe(snapshot: object) -> None:
                seen.append(snapshot)
                if len(seen) == full_after:
                    disk.leave(0)

            monkeypatch.setattr(service, "open_camera", lambda *_: Slide(frames))
            outcome = outcome_of(Service(config, code, observer=observe))
            return Counter({**outcome.counts.by_class, **outcome.counts.excluded}), outcome.verdict.flags

        undisturbed, flags = read(40, "K-1")
        assert "interrupted" not in flags
        path = disk.root / "state" / "sicklescope.sqlite3"
        with Database(path) as database:
            stored = kept(Outbox(database))
        with pytest.raises(StorageError, match=r"full.*nothing that was stored is lost"):
            read(2000, "K-2", full_after=20)
        disk.free()
        with Database(path) as database:
            ((state, text),) = database.read("SELECT state, draft FROM samples WHERE code = 'K-2'")
        assert state == "scanning", "it was begun"
        draft = json.loads(text)
        frames = draft["fields_read"] + draft["fields_rejected"]
        found, flags = read(40, "K-2")
        assert "interrupted" in flags
        before = read(frames, "K-3")[0] if frames else Counter[str]()
        assert found == before + undisturbed, "what was stored, and what was read since"
        with Database(path) as database:
            results = kept(Outbox(database))
            assert len(database.read("SELECT id FROM samples WHERE code = 'K-2'")) == 1, "it went on, not anew"
        assert len(results) == (3 if frames else 2)
        assert stored.items() <= results.items()


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    """Give a database with results, and what is in it."""
    path = tmp_path / "whole.sqlite3"
    with Database(path) as database:
        yield path, [put(Outbox(database)) for _ in range(12)]


def test_a_torn_page_is_named_or_harms_no_other_result(
    filled: tuple[Path, list[tuple[str, str]]], tmp_path: Path
) -> None:
    source, stored = filled
    whole = tmp_path / "backup.sqlite3"
    with Database(source) as database:
        database.backup(whole)
    content = whole.read_bytes()
    page = int.from_bytes(content[16:18], "big")
    chance = random.Random(7)
    refused = kept_back = 0
    pages = len(content) // page
    for number in range(pages):
        torn = tmp_path / f"torn-{number}.sqlite3"
        sector = number * page + 512 * chance.randrange(page // 512)
        damaged = content[:sector] + chance.randbytes(512) + content[sector + 512 :]
        torn.write_bytes(damaged)
        said = ""
        try:
            with Database(torn) as database:
                rows = [row for row in Outbox(database).pending() if row.whole]
                assert {(row.id, row.payload) for row in rows} <= set(stored), "no result is there in another form"
                kept_back += len(rows) < len(stored)
        except StorageError as error:
            said = str(error)
        if said:
            refused += 1
            assert "damaged" in said or "another program's" in said or "newer sicklescope" in said
            assert torn.read_bytes() == damaged, "a damaged file is left as it is"
    assert refused
    told("torn page", pages=pages, refused_at_start=refused, refused_row_by_row=kept_back)


def test_a_log_that_was_cut_short_or_altered_leaves_whole_results_from_the_first_on(
    filled: tuple[Path, list[tuple[str, str]]], tmp_path: Path
) -> None:
    source, stored = filled  # still open, so its log has not been taken in
    log = source.with_name(f"{source.name}-wal").read_bytes()
    chance = random.Random(8)
    lengths = set()
    for number in range(scaled(30, 300)):
        path = tmp_path / f"{number}.sqlite3"
        shutil.copy(source, path)
        at = chance.randrange(len(log))
        cut = log[:at] if number % 2 else log[:at] + bytes([log[at] ^ 0x40]) + log[at + 1 :]
        path.with_name(f"{path.name}-wal").write_bytes(cut)
        with Database(path) as database:
            rows = [(row.id, row.payload) for row in Outbox(database).pending() if row.whole]
        assert rows == stored[: len(rows)]
        lengths.add(len(rows))
        for file in tmp_path.glob(f"{number}.sqlite3*"):
            file.unlink()
    assert len(lengths) > 3
    told("damaged log", tried=number + 1, results_left=f"{min(lengths)} to {max(lengths)} of {len(stored)}")


def test_a_database_that_is_read_while_it_is_written_shows_whole_results(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite3"
    with Database(path) as writing, Database(path) as reading:
        ended = threading.Event()

        def write() -> None:
            for _ in range(50):
                put(Outbox(writing))
            ended.set()

        thread = threading.Thread(target=write)
        thread.start()
        before = 0
        while not ended.is_set():
            rows = Outbox(reading).pending()
            assert all(row.whole for row in rows)
            assert len(rows) >= before
            before = len(rows)
        thread.join()
