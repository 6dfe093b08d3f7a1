"""The outbox: what was put is there, after a kill, an upgrade, and any order of calls."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from edge.errors import StorageError
from edge.storage.database import Database
from edge.storage.outbox import KEPT, News, Outbox, OutboxCounts, Settlement


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sicklescope.sqlite3"


@contextmanager
def opened(path: Path) -> Iterator[Outbox]:
    with Database(path) as database:
        yield Outbox(database)


def test_results_come_back_whole_and_in_order(path: Path) -> None:
    with opened(path) as outbox:
        for name in "cab":
            outbox.put(name, f"topic/{name}", f'{{"µ": "{name}"}}')
        rows = outbox.pending()
    assert [row.id for row in rows] == ["c", "a", "b"]
    assert (rows[0].topic, rows[0].payload) == ("topic/c", '{"µ": "c"}')
    assert rows[0].created_ms > 1_700_000_000_000
    with opened(path) as again:
        assert again.pending() == rows
        assert [row.id for row in again.pending(2)] == ["c", "a"]


def test_a_repeated_put_changes_nothing(path: Path) -> None:
    with opened(path) as outbox:
        outbox.put("a", "t", "first")
        outbox.mark_refused("a", "no")
        outbox.put("a", "t", "second")
        assert outbox.pending() == []
        assert [(row.payload, row.refused_reason) for row in outbox.refused()] == [("first", "no")]


@pytest.mark.parametrize("damage", ["UPDATE outbox SET payload = 'otheR'", "UPDATE outbox SET payload = x'ff00'"])
def test_a_payload_that_was_altered_on_the_disk_is_known(path: Path, damage: str) -> None:
    with opened(path) as outbox:
        outbox.put("a", "t", "other")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    with opened(path) as outbox:
        assert [(row.id, row.whole) for row in outbox.pending()] == [("a", False)]


class OutboxMachine(RuleBasedStateMachine):
    """Any order of calls and reopenings leaves what a dictionary would have."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.open()
        self.pending: list[str] = []
        self.refused: dict[str, str] = {}
        self.order: list[str] = []
        self.news: list[tuple[str, int]] = []
        self.numbers = count()

    def open(self) -> None:
        self.database = Database(Path(self.folder) / "sicklescope.sqlite3")
        self.outbox = Outbox(self.database)

    @rule(target=ids, result_id=st.uuids().map(str), payload=st.text(max_size=50))
    def put(self, result_id: str, payload: str) -> str:
        self.outbox.put(result_id, "topic", payload)
        if result_id not in self.pending and result_id not in self.refused:
            self.order = [*(known for known in self.order if known != result_id), result_id]
            self.pending.append(result_id)
        return result_id

    @rule(kinds=st.lists(st.sampled_from(list(KEPT)), max_size=4))
    def store(self, kinds: list[str]) -> None:
        told = [(kind, next(self.numbers)) for kind in kinds]
        self.news += told
        kept = [one for one in self.news if one in [other for other in self.news if other[0] == one[0]][-BOUND:]]
        dropped = self.outbox.store([News(kind, "topic", str(number)) for kind, number in told])
        assert dropped == len(self.news) - len(kept)
        self.news = kept

    @rule(result_id=ids)
    def delete(self, result_id: str) -> None:
        self.outbox.delete(result_id)
        self.pending = [known for known in self.pending if known != result_id]
        self.refused.pop(result_id, None)

    @rule(result_id=ids, reason=st.sampled_from(["Not authorized (135)", "Quota exceeded (151)"]))
    def refuse(self, result_id: str, reason: str) -> None:
        self.outbox.mark_refused(result_id, reason)
        if result_id in self.pending or result_id in self.refused:
            self.pending = [known for known in self.pending if known != result_id]
            self.refused[result_id] = reason

    @rule()
    def resend(self) -> None:
        assert self.outbox.resend() == len(self.refused)
        self.pending += self.refused
        self.refused = {}

    @rule()
    def reopen(self) -> None:
        self.database.close()
        self.open()

    @invariant()
    def holds_what_it_should(self) -> None:
        assert self.outbox.counts() == OutboxCounts(len(self.pending), len(self.refused))
        rows = self.outbox.pending()
        results, news = rows[: len(self.pending)], rows[len(self.pending) :]
        assert [row.id for row in results] == sorted(self.pending, key=self.order.index)
        assert [(row.kind, int(row.payload)) for row in news] == self.news
        assert all(row.whole for row in rows)
        assert {row.id: row.refused_reason for row in self.outbox.refused()} == self.refused

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)


BOUND = 3


@pytest.fixture(scope="module", autouse=True)
def _few_news_are_kept() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for kind in KEPT:
            patch.setitem(KEPT, kind, BOUND)
        yield


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)


def test_threads_may_share_it(path: Path) -> None:
    with opened(path) as outbox:

        def put(part: int) -> None:
            for i in range(20):
                outbox.put(f"{part}-{i}", "t", "p")

        threads = [threading.Thread(target=put, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outbox.counts() == OutboxCounts(80, 0)


def test_two_programs_may_share_it(path: Path) -> None:
    with opened(path) as service, opened(path) as command:
        service.put("a", "t", "p")
        service.mark_refused("a", "no")
        assert command.resend() == 1
        assert [row.id for row in service.pending()] == ["a"]


KILLED = """
import sys
from pathlib import Path
from edge.storage.database import Database
from edge.storage.outbox import Outbox
outbox = Outbox(Database(Path(sys.argv[1])))
for number in range(10**6):
    outbox.put(f"{number:06}", "topic", "payload " * 50)
    print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_put(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 50:
                process.send_signal(signal.SIGKILL)
                break
        put = 50 + sum(1 for _ in process.stdout)  # what it still said before it died
    with opened(path) as outbox:
        ids = [row.id for row in outbox.pending()]
    assert ids[: put + 1] == [f"{number:06}" for number in range(put + 1)]
    assert len(ids) <= put + 2, "at most the one that was being put is there unannounced"


def test_answers_are_written_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("database or disk is full")

    with Database(tmp_path / "answers.sqlite3") as database:
        outbox = Outbox(database)
        for name in ("a", "b"):
            outbox.put(name, "topic", "{}")
        with monkeypatch.context() as patched:
            patched.setattr(Outbox, "mark_refused", full)
            with pytest.raises(StorageError):
                outbox.settle({"a": Settlement("taken"), "b": Settlement("refused", "no")})
        assert [row.id for row in outbox.pending()] == ["a", "b"]
        outbox.settle({"a": Settlement("taken"), "b": Settlement("refused", "no")})
        assert (outbox.pending(), [row.id for row in outbox.refused()]) == ([], ["b"])
