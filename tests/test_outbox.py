"""The outbox: what was put is there, after a kill, a full disk, and any order of calls."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from edge.errors import StorageError
from edge.publish.outbox import Outbox, OutboxCounts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "yet" / "outbox.sqlite"


def test_results_come_back_whole_and_in_order(path: Path) -> None:
    with Outbox(path) as outbox:
        for name in "cab":
            outbox.put(name, f"topic/{name}", f'{{"µ": "{name}"}}')
        rows = outbox.pending()
    assert [row.id for row in rows] == ["c", "a", "b"]
    assert (rows[0].topic, rows[0].payload) == ("topic/c", '{"µ": "c"}')
    assert rows[0].created_ms > 1_700_000_000_000
    with Outbox(path) as again:
        assert again.pending() == rows
        assert [row.id for row in again.pending(2)] == ["c", "a"]


def test_a_repeated_put_changes_nothing(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put("a", "t", "first")
        outbox.mark_refused("a", "no")
        outbox.put("a", "t", "second")
        assert outbox.pending() == []
        assert [(row.payload, row.refused_reason) for row in outbox.refused()] == [("first", "no")]


def test_commits_are_synced(path: Path) -> None:
    # What a power cut needs cannot be tried here; that it is asked for, can.
    with Outbox(path) as outbox:
        assert outbox._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert outbox._connection.execute("PRAGMA synchronous").fetchone() == (2,)


class OutboxMachine(RuleBasedStateMachine):
    """Any order of calls and reopenings leaves what a dictionary would have."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.outbox = Outbox(Path(self.folder) / "outbox.sqlite")
        self.pending: list[str] = []
        self.refused: dict[str, str] = {}
        self.order: list[str] = []

    @rule(target=ids, result_id=st.uuids().map(str), payload=st.text(max_size=50))
    def put(self, result_id: str, payload: str) -> str:
        self.outbox.put(result_id, "topic", payload)
        if result_id not in self.pending and result_id not in self.refused:
            self.order = [*(known for known in self.order if known != result_id), result_id]
            self.pending.append(result_id)
        return result_id

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
        self.outbox.close()
        self.outbox = Outbox(Path(self.folder) / "outbox.sqlite")

    @invariant()
    def holds_what_it_should(self) -> None:
        assert self.outbox.counts() == OutboxCounts(len(self.pending), len(self.refused))
        assert [row.id for row in self.outbox.pending()] == sorted(self.pending, key=self.order.index)
        assert {row.id: row.refused_reason for row in self.outbox.refused()} == self.refused

    def teardown(self) -> None:
        self.outbox.close()
        shutil.rmtree(self.folder)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)


def test_threads_may_share_it(path: Path) -> None:
    with Outbox(path) as outbox:
        threads = [
            threading.Thread(target=lambda part=part: [outbox.put(f"{part}-{i}", "t", "p") for i in range(20)])
            for part in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outbox.counts() == OutboxCounts(80, 0)


def test_two_programs_may_share_it(path: Path) -> None:
    with Outbox(path) as service, Outbox(path) as command:
        service.put("a", "t", "p")
        service.mark_refused("a", "no")
        assert command.resend() == 1
        assert [row.id for row in service.pending()] == ["a"]


KILLED = """
import sys
from pathlib import Path
from edge.publish.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
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
    with Outbox(path) as outbox:
        ids = [row.id for row in outbox.pending()]
    assert ids[: put + 1] == [f"{number:06}" for number in range(put + 1)]
    assert len(ids) <= put + 2, "at most the one that was being put is there unannounced"


def fill(outbox: Outbox) -> None:
    for number in range(100):
        outbox.put(f"too much {number}", "t", "x" * 8000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_and_costs_nothing_that_was_kept(small_disk: Path) -> None:
    with Outbox(small_disk / "outbox.sqlite") as outbox:
        filler = small_disk / "filler"
        outbox.put("before", "t", "kept")
        filler.write_bytes(bytes(8192))
        with pytest.raises(StorageError, match=r"results cannot be kept in .*outbox.sqlite: .* full\. Free some space"):
            fill(outbox)
        kept = outbox.counts().pending
        assert outbox.pending(1)[0].payload == "kept"
        filler.unlink()
        outbox.delete("before")
        assert outbox.counts().pending == kept - 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/state.* cannot be made.*Set device.state_dir"):
        Outbox(tmp_path / "file" / "state" / "outbox.sqlite")


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"unable to open database file\. Set device.state_dir"):
        Outbox(tmp_path)


@pytest.mark.parametrize("damage", ["not a database", "middle overwritten", "cut short"])
def test_a_damaged_file_is_named_and_left_as_it_is(path: Path, damage: str) -> None:
    with Outbox(path) as outbox:
        for number in range(200):
            outbox.put(str(number), "topic", "x" * 500)
    whole = path.read_bytes()
    damaged = {
        "not a database": b"hello, this is no database" * 100,
        "middle overwritten": whole[:4096] + b"\xff" * 20_000 + whole[24_096:],
        "cut short": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match=r"outbox.sqlite: .*damaged, and left as it is. Move it aside"):
        Outbox(path)
    assert path.read_bytes() == damaged


def test_another_programs_database_is_not_touched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE outbox (number INTEGER)")
    other.close()
    with (
        Outbox(path) as outbox,
        pytest.raises(StorageError, match=r"no column named id\. It is another program's database"),
    ):
        outbox.put("a", "t", "p")
