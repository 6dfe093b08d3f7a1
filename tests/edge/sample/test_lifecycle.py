"""A sample's life: each state with its result, whole or not at all, and what was read is there after a kill."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.virtual.camera import VirtualCamera
from edge.config.model import CameraConfig, Config, RetentionConfig, ScreeningConfig, StopConfig
from edge.errors import SampleError, StorageError
from edge.publish.result_messages import Result
from edge.sample.cell_records import NORMALS_PICTURED, CellChanges, CellRecorder, LocatedCell
from edge.sample.codes import sample_code
from edge.sample.commands import Answer, Stop, parse
from edge.sample.handlers import NoScanner, perform
from edge.sample.lifecycle import RESUME_S, Lifecycle
from edge.sample.retention import sweep
from edge.sample.review.field_pictures import fields_of_cells
from edge.sample.review.rows import reviewed
from edge.sample.sample_row import Moment, StoredSample
from edge.service.service import Service
from edge.storage.database import Database, database_path
from edge.storage.outbox import Outbox
from edge.types import CELLS_KEPT, CLASSES, Change, FieldReading, Placement, Scale
from tests.edge.publish.publish_parts import COUNTS, composer, record
from tests.edge.service.service_parts import configured
from tests.mosquitto import Listener, Mosquitto, wait_for
from tests.program import Program

Start = Callable[..., Mosquitto]

DAY_MS = 86_400_000


class Clock:
    """The device's clocks, as the test sets them."""

    def __init__(self) -> None:
        self.now = Moment(1_790_000_000_000, True, "boot-1", 1000.0)

    def __call__(self) -> Moment:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now = replace(
            self.now, made_ms=self.now.made_ms + int(seconds * 1000), uptime_s=self.now.uptime_s + seconds
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "sicklescope.sqlite3") as opened:
        yield opened


@pytest.fixture
def lifecycle(database: Database, clock: Clock) -> Lifecycle:
    return Lifecycle(Config(), database, composer(), clock)


def cell(number: int, name: str | None = "normal") -> LocatedCell:
    prob = tuple(0.9 if name == other else 0.02 for other in CLASSES)
    return LocatedCell(number, 0, 1.5 * number, -2.0, 0, 0.8, name, prob)


CHANGES = CellChanges((), (cell(0), cell(1, "sickle"), cell(2, None), cell(3, "sickle")), (), {1: b"one", 2: b"two"})


def begun(lifecycle: Lifecycle, code: str = "K-1042") -> StoredSample:
    return lifecycle.start(record(code), "{}", "nurse")


def ended(lifecycle: Lifecycle, stage: str = "review", code: str = "K-1042") -> StoredSample:
    sample = begun(lifecycle, code)
    return lifecycle.end(sample, lifecycle.record(sample), [CHANGES], stage, "").sample  # type: ignore[arg-type]


def review(
    lifecycle: Lifecycle, name: str, cells: dict[int, str], by: str, reason: str = "", done: bool = True
) -> Answer:
    asked = {"command": "review", "sample": name, "by": by, "reason": reason, "cells": cells, "done": done}
    return perform(parse(json.dumps(asked).encode()), lifecycle, NoScanner(lifecycle))


def revisions(lifecycle: Lifecycle, sample: StoredSample) -> list[Result]:
    return [Result.model_validate_json(payload or "") for payload in lifecycle.store.results(sample.id)]


def test_from_the_start_to_final_with_a_result_for_each_step(lifecycle: Lifecycle, database: Database) -> None:
    sample = ended(lifecycle)
    assert sample.state == "review"
    assert [one.class_name for one in lifecycle.store.cells(sample.id)] == ["normal", "sickle", "abstained", "sickle"]
    review(lifecycle, sample.id, {1: "other", 2: "sickle"}, "dr", "folded", done=False)
    review(lifecycle, sample.id, {1: "normal"}, "dr", "looked again", done=True)
    first, second = revisions(lifecycle, sample)
    assert (first.revision, first.stage, first.reviewed_cells, first.reviewed_sickle) == (1, "review", 0, None)
    assert (second.revision, second.stage, second.reviewed_cells) == (2, "final", 2)
    assert (first.sample_id, first.sample) == (second.sample_id, "K-1042")
    # One sickle is normal after all, one that was not named is a sickle; the automatic counts stand as they were.
    assert (second.sickle, second.normal, second.abstained) == (first.sickle, first.normal, first.abstained)
    assert (second.reviewed_sickle, second.reviewed_normal) == (first.sickle, first.normal + 1)
    assert (second.reviewed_abstained, second.reviewed_red_cells) == (first.abstained - 1, first.red_cells + 1)
    assert second.reviewed_fraction == pytest.approx(first.sickle / (first.red_cells + 1))
    assert "After review of 2 cells: 37 of 1198 (95 % interval" in second.text
    by_number = {one.number: one for one in lifecycle.store.cells(sample.id)}
    assert (by_number[1].class_name, by_number[1].reviewed, by_number[1].reviewed_reason) == (
        "sickle", "normal", "looked again",
    )  # fmt: skip
    waiting = [json.loads(row.payload) for row in Outbox(database).pending()]
    assert [(one["id"], one["revision"]) for one in waiting] == [(str(first.id), 1), (str(second.id), 2)]
    assert [(row["state"], row["by"]) for row in lifecycle.store.history(sample.id)] == [
        ("scanning", "nurse"), ("review", "device"), ("final", "dr"),
    ]  # fmt: skip


def test_one_sample_at_a_time_and_a_code_once_a_day(lifecycle: Lifecycle, clock: Clock) -> None:
    first = begun(lifecycle, "A")
    with pytest.raises(SampleError, match=r"sample A is being scanned\. Stop it first"):
        begun(lifecycle, "B")
    lifecycle.end(first, lifecycle.record(first), [], "incomplete", "")
    with pytest.raises(
        SampleError, match=r"sample code A was used on 20\d\d-\d\d-\d\d already\. Give another, such as A-2"
    ):
        begun(lifecycle, "A")
    lifecycle.discard(lifecycle.store.find(first.id), "nurse", "wrong slide")
    again = begun(lifecycle, "A")
    lifecycle.discard(lifecycle.store.find(again.id), "nurse", "")
    clock.pass_s(86_400)
    assert begun(lifecycle, "A").id not in (first.id, again.id)


def test_a_discarded_sample_says_so_to_whoever_has_its_result(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    lifecycle.discard(lifecycle.store.find(sample.code), "nurse", "wrong slide")
    assert [(one.stage, one.reason) for one in revisions(lifecycle, sample)][-1] == ("discarded", "wrong slide")
    with pytest.raises(SampleError, match="is discarded and cannot be signed"):
        review(lifecycle, sample.id, {}, "dr", "", done=True)
    assert lifecycle.reopen(lifecycle.store.find(sample.id), "nurse", "it was the right one").state == "incomplete"
    scanned = begun(lifecycle, "B")
    lifecycle.discard(lifecycle.store.find(scanned.id), "nurse", "")
    assert lifecycle.store.results(scanned.id) == []


def test_reopening_goes_a_step_back(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    review(lifecycle, sample.id, {1: "normal"}, "dr", "", done=True)
    assert lifecycle.reopen(lifecycle.store.find(sample.id), "dr", "").state == "review"
    assert revisions(lifecycle, sample)[-1].reviewed_cells == 1
    further = lifecycle.reopen(lifecycle.store.find(sample.id), "dr", "more cells")
    assert (further.state, further.interruptions) == ("scanning", 1)
    assert lifecycle.store.next_number(sample.id) == 4
    with pytest.raises(SampleError, match="is scanning and cannot be reopened; stop it first"):
        lifecycle.reopen(lifecycle.store.find(sample.id), "dr", "")
    with pytest.raises(SampleError, match="K-1042 is being scanned"):
        begun(lifecycle, "other")


def test_a_review_of_what_is_not_there_changes_nothing(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    with pytest.raises(SampleError, match="no cell 99"):
        review(lifecycle, sample.id, {1: "normal", 99: "sickle"}, "dr", "", done=True)
    with pytest.raises(SampleError, match="drepanocyte is no class; expected one of normal, sickle"):
        review(lifecycle, sample.id, {1: "drepanocyte"}, "dr", "", done=True)
    assert reviewed(lifecycle.database, sample.id) == Counter()
    assert lifecycle.store.find(sample.id).state == "review"
    with pytest.raises(SampleError, match="there is no such sample"):
        review(lifecycle, "nobody", {}, "dr", "", done=True)


def test_state_and_waiting_result_are_one(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = begun(lifecycle)

    def full(*_: object) -> None:
        raise StorageError("database or disk is full")

    monkeypatch.setattr(Outbox, "put", full)
    with pytest.raises(StorageError):
        lifecycle.end(sample, lifecycle.record(sample), [CHANGES], "review", "")
    assert lifecycle.store.find(sample.id).state == "scanning"
    assert lifecycle.store.results(sample.id) == []
    assert lifecycle.store.cells(sample.id) == []


def test_a_sample_goes_on_soon_after_and_on_the_same_boot_only(lifecycle: Lifecycle, clock: Clock) -> None:
    sample = begun(lifecycle)
    clock.pass_s(RESUME_S - 1)
    assert lifecycle.recover("another") is None  # and is incomplete, for another sample is asked for
    sample = begun(lifecycle, "B")
    clock.pass_s(RESUME_S - 1)
    found = lifecycle.recover()
    assert found is not None
    assert (found.id, found.state, found.interruptions) == (sample.id, "scanning", 1)
    clock.pass_s(RESUME_S + 1)
    assert lifecycle.recover() is None
    sample = begun(lifecycle, "C")
    clock.now = Moment(clock.now.made_ms - 3650 * DAY_MS, False, "boot-2", 20.0)
    assert lifecycle.recover() is None
    kept = lifecycle.store.find(sample.id)
    assert (kept.state, kept.reason) == ("incomplete", "the power or the program failed while it was scanned")
    (result,) = revisions(lifecycle, sample)
    assert (result.stage, result.cells_seen, result.sample) == ("incomplete", COUNTS.cells_seen, "C")


def test_a_sample_that_no_service_can_go_on_with_is_stopped_with_what_was_counted(
    lifecycle: Lifecycle, database: Database
) -> None:
    sample = begun(lifecycle)
    answer = perform(Stop(command="stop", by="nurse"), lifecycle, NoScanner(lifecycle))
    assert (answer["id"], answer["state"]) == (sample.id, "incomplete")
    (result,) = revisions(lifecycle, sample)
    assert [json.loads(row.payload)["id"] for row in Outbox(database).pending()] == [str(result.id)]
    assert lifecycle.store.history(sample.id)[-1]["by"] == "nurse"
    with pytest.raises(SampleError, match="no sample is being scanned"):
        perform(Stop(command="stop", by="nurse"), lifecycle, NoScanner(lifecycle))


def test_cells_that_prove_to_be_one_are_one(lifecycle: Lifecycle) -> None:
    sample = begun(lifecycle)
    lifecycle.save(sample, lifecycle.record(sample), [CHANGES])
    # 3 goes on as 0; 2 as 7, which was never seen whole and so has no row; 1 is now normal, and needs no picture.
    changes = CellChanges(((0, 3), (7, 2)), (cell(1),), ((0, "sickle", (0.1,) * 6),), {}, needless=(1,))
    lifecycle.save(sample, lifecycle.record(sample), [changes])
    kept = {one.number: (one.class_name, one.pictured) for one in lifecycle.store.cells(sample.id)}
    assert kept == {0: ("sickle", False), 1: ("normal", False), 7: ("abstained", True)}
    assert lifecycle.store.crop(sample.id, 7) == b"two"
    assert lifecycle.store.crop(sample.id, 1) is None


def test_a_cell_that_counts_no_longer_is_forgotten_with_its_picture_and_may_come_back(lifecycle: Lifecycle) -> None:
    sample = begun(lifecycle)
    lifecycle.save(sample, lifecycle.record(sample), [CHANGES])
    lifecycle.save(sample, lifecycle.record(sample), [CellChanges((), (), (), {}, gone=(1, 9))])
    assert [one.number for one in lifecycle.store.cells(sample.id)] == [0, 2, 3]
    assert lifecycle.store.crop(sample.id, 1) is None
    lifecycle.save(sample, lifecycle.record(sample), [CellChanges((), (cell(1, "sickle"),), (), {1: b"again"})])
    assert [one.number for one in lifecycle.store.cells(sample.id)] == [0, 1, 2, 3]
    assert lifecycle.store.crop(sample.id, 1) == b"again"


def test_an_erased_sample_leaves_a_tombstone_and_no_trace(lifecycle: Lifecycle, database: Database) -> None:
    code = "SECRET-17"
    sample = ended(lifecycle, code=code)
    ended(lifecycle, code="stays")
    review(lifecycle, sample.id, {1: "other"}, "dr-grey", "folded-like-a-letter", done=True)
    lifecycle.erase(lifecycle.store.find(sample.id), "nurse", "asked by the person")
    for file in database.path.parent.iterdir():
        content = file.read_bytes()
        for trace in (code.encode(), b"dr-grey", b"folded-like-a-letter"):
            assert trace not in content, (trace, file.name)
    assert database.read("SELECT sample_id, by, reason FROM tombstones") == [
        (sample.id, "nurse", "asked by the person")
    ]
    assert [json.loads(row.payload)["sample"] for row in Outbox(database).pending()] == ["stays"]
    assert [one.code for one in lifecycle.store.newest()] == ["stays"]


def big(number: int) -> CellChanges:
    return CellChanges((), (cell(0, "sickle"),), (), {0: bytes([number]) * 400_000})


def aged(lifecycle: Lifecycle, clock: Clock, codes: str) -> dict[str, StoredSample]:
    """Read a sample for each letter, a day each, with a picture of 0.4 MB."""
    found = {}
    for number, code in enumerate(codes):
        clock.pass_s(86_400)
        sample = begun(lifecycle, code)
        lifecycle.end(sample, lifecycle.record(sample), [big(number)], "review", "")
        found[code] = sample
    return found


def test_pictures_keep_a_budget_and_the_oldest_reviewed_go_first(lifecycle: Lifecycle, clock: Clock) -> None:
    found = aged(lifecycle, clock, "ABCD")
    review(lifecycle, "C", {}, "dr", "", done=True)
    for _ in range(2):
        sweep(lifecycle, RetentionConfig(images_mb=1), clock())
        pictured = [code for code, sample in found.items() if lifecycle.store.crop(sample.id, 0)]
        assert pictured == ["B", "D"], "C is reviewed; of the others A is the oldest"
    assert all(lifecycle.store.results(sample.id) for sample in found.values())


def test_pictures_and_samples_go_after_their_days_by_a_clock_that_is_right(
    lifecycle: Lifecycle, database: Database, clock: Clock
) -> None:
    found = aged(lifecycle, clock, "ABC")
    limits = RetentionConfig(images_days=1, samples_days=2)
    clock.pass_s(86_400)
    leap = replace(clock.now, made_ms=clock.now.made_ms + 3650 * DAY_MS, clock_synchronised=False)
    sweep(lifecycle, limits, leap)
    assert all(lifecycle.store.crop(sample.id, 0) for sample in found.values())
    clock.pass_s(1)
    sweep(lifecycle, limits, clock())
    assert [code for code, sample in found.items() if lifecycle.store.crop(sample.id, 0)] == []
    assert {one.code for one in lifecycle.store.newest()} == {"A", "B", "C"}, "their results still wait for the broker"
    for row in Outbox(database).pending():
        Outbox(database).delete(row.id)
    sweep(lifecycle, limits, clock())
    assert {one.code for one in lifecycle.store.newest()} == {"C"}
    assert {reason for (reason,) in database.read("SELECT reason FROM tombstones")} == {"kept for 2 days"}


def test_many_old_samples_are_erased_a_part_at_a_time(
    lifecycle: Lifecycle, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: work that grows with what is kept, in the reading thread. 0.6.0 rewrote the whole file for each sample."""
    aged(lifecycle, clock, "ABCDE")
    for row in Outbox(database).pending():
        Outbox(database).delete(row.id)
    clock.pass_s(30 * 86_400)
    monkeypatch.setattr("edge.sample.retention.SWEEP_S", 0.0)
    left = [sweep(lifecycle, RetentionConfig(samples_days=2), clock()) for _ in range(5)]
    assert left == [True, True, True, True, False]
    assert lifecycle.store.newest() == []
    assert bytes([1]) * 5000 not in database.path.read_bytes()


@given(st.text(max_size=80) | st.from_regex(r"[A-Z]{1,50}-[0-9]{1,10}", fullmatch=True))
def test_any_text_is_a_sample_code_or_a_sample_error(text: str) -> None:
    if re.fullmatch(r"[A-Z]{1,50}-[0-9]{1,10}", text):
        assert sample_code(text, r"[A-Z]+-\d+") == text
    else:
        with pytest.raises(SampleError, match="never a patient's name"):
            sample_code(text, r"[A-Z]+-\d+")


def reading_of(number: int, before: int, label: int) -> FieldReading:
    """Return the reading of a frame that shows one cell; before: numbers given before it."""
    ids, prob = np.array([number]), np.full((1, 6), 1 / 6, np.float32)
    placement = Placement(0, 10.0, 0.0, 90.0, None, ids, (), before, 1, 1.0, 1)
    return FieldReading(
        frame_index=0, name="", width=100, height=100, scale=Scale(0.25, "configured", 0.0), rejected=None,
        boxes=np.array([[60, 40, 80, 60]], np.float32), score=np.ones(1, np.float32), prob=prob,
        label=np.array([label], np.int8), kind=np.zeros(1, np.int8), novelty=np.zeros(1, np.float32), border=0,
        area_mm2=0.0, placement=placement, change=Change({}, 0, 0, ids, prob, np.array([label], np.int8)), ids=ids,
    )  # fmt: skip


def test_a_picture_is_taken_once_and_again_of_another_cell_that_falls_on_its_memory() -> None:
    recorder, pixels = CellRecorder("sample", first_number=7), np.zeros((100, 100, 3), np.uint8)

    def pictured(number: int, before: int, name: str) -> bool:
        changes = recorder.changes(reading_of(number, before, CLASSES.index(name)), pixels, 0)
        assert changes is not None
        (cell,) = changes.cells
        # 20 px to the right of the middle, turned by 90 degrees: downwards.
        assert (cell.number, cell.x_um, cell.y_um, cell.prob[0]) == (number + 7, 10.0, 5.0, 0.1667)
        return number + 7 in changes.crops

    assert pictured(3, 0, "sickle")
    assert not pictured(3, 4, "sickle")
    assert not pictured(3, 4, "other")
    assert pictured(3, 4, "sickle")
    assert pictured(CELLS_KEPT + 3, CELLS_KEPT, "sickle")
    nothing = replace(reading_of(3, 4, 0), change=Change({}, 0, 0, gone=np.array([CELLS_KEPT + 3])))
    changes = recorder.changes(nothing, pixels, 0)
    assert changes is not None
    assert changes.gone == (CELLS_KEPT + 10,)
    assert pictured(CELLS_KEPT + 3, CELLS_KEPT, "sickle")


# With the real service.


def stored(config: Config) -> tuple[StoredSample, list[Result], Counter[str]]:
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, composer())
        (sample,) = lifecycle.store.newest()
        classes = Counter(one.class_name for one in lifecycle.store.cells(sample.id))
        return sample, [Result.model_validate_json(text or "") for text in lifecycle.store.results(sample.id)], classes


def test_every_counted_cell_is_stored_with_its_place(tmp_path: Path) -> None:
    camera = CameraConfig(kind="virtual", width=480, height=360, frames=12, overlap=0.5)
    config = configured(tmp_path, 1, camera)
    outcome = Service(config, "P-1").run()
    assert outcome is not None
    sample, (result,), classes = stored(config)
    assert (sample.state, result.reason) == ("incomplete", "the camera's pictures ended before its target")
    counted = {**outcome.counts.by_class, "abstained": outcome.counts.excluded["abstained"]}
    assert classes == Counter({name: number for name, number in counted.items() if number})
    truth = VirtualCamera(camera)
    shown = {cell.identity for index in range(12) for cell in truth.truth(index) if cell.fully_visible}
    with Database(database_path(config)) as database:
        store = Lifecycle(config, database, composer()).store
        cells = store.cells(sample.id)
        # Two cells are never at one place: they would be one that was counted twice.
        places = sorted((one.x_um, one.y_um) for one in cells if one.island == 0)
        assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) > 1.0 for a, b in pairwise(places))
        pictured = [one for one in cells if one.pictured]
        assert {one.class_name for one in pictured} == {"sickle", "abstained", "normal"}
        normals = min(classes["normal"], NORMALS_PICTURED)
        assert len(pictured) == classes["sickle"] + classes["abstained"] + normals
        assert classes["sickle"] + classes["abstained"] > 0
        fields = fields_of_cells(database, sample.id)
        assert {one.number for one in cells if one.class_name in ("sickle", "abstained")} <= set(fields)
        assert all((store.crop(sample.id, one.number) or b"").startswith(b"\xff\xd8\xff") for one in pictured)
    assert len(cells) == pytest.approx(len(shown), rel=0.05)
    setup = json.loads(sample.setup)
    assert setup["classifier_sha256"] == result.classifier_sha256
    assert setup["screening"]["target_red_cells"] == 1000


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (StopConfig(), "the target of 150 red cells was reached"),
        (StopConfig(at_target=False, fields=3), "3 fields were read"),
        (StopConfig(at_target=False, minutes=0.001), "0.001 minutes were over"),
    ],
)
def test_a_rule_ends_the_scanning_and_the_sample_is_to_be_reviewed(
    tmp_path: Path, stop: StopConfig, reason: str
) -> None:
    camera = CameraConfig(kind="virtual", width=320, height=240, frames=200)
    rules = ScreeningConfig(start="at_once", target_red_cells=150, min_red_cells=100, stop=stop)
    config = configured(tmp_path, 1, camera).model_copy(update={"screening": rules})
    outcome = Service(config, "R-1").run()
    assert outcome is not None
    assert outcome.frames < 200
    sample, _, _ = stored(config)
    assert (sample.state, sample.reason) == ("review", reason)


def test_a_killed_service_finds_its_sample_where_it_was(start_mosquitto: Start, tmp_path: Path) -> None:
    broker = start_mosquitto()
    (tmp_path / "sicklescope.toml").write_text(
        f'[device]\nsite = "lab"\ndevice = "one"\nstate_dir = "{tmp_path}/state"\n[optics]\num_per_px = 0.25\n'
        '[camera]\nkind = "virtual"\nwidth = 320\nheight = 240\nframes = 10000\nfps = 25\noverlap = 0.5\n'
        "[screening]\nstore_interval_s = 0.2\nstop.at_target = false\n"
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ninterval_s = 0.05\n'
    )
    with Listener(broker.host, broker.port) as dashboard, ExitStack() as ended:
        program = Program(tmp_path, "run", "--sample", "K-9")
        ended.callback(program.process.kill)
        config = configured(tmp_path / "state", broker.port)
        wait_for(lambda: dashboard.of("progress"), 50)  # there is a sample
        told = wait_for(lambda: json.loads(stored(config)[0].draft)["fields_read"], 50)
        program.process.send_signal(signal.SIGKILL)
        program.process.wait()
        assert dashboard.of("result") == []
        before, results, _ = stored(config)
        kept = json.loads(before.draft)
        assert (before.state, results) == ("scanning", [])
        assert kept["fields_read"] >= told, "what was kept before the kill is there"
        again = Program(tmp_path, "run", "--sample", "K-9")
        ended.callback(again.process.kill)
        # Of both lives: what the first one counted after it was last kept is gone.
        wait_for(lambda: json.loads(stored(config)[0].draft)["fields_read"] > kept["fields_read"] + 2, 50)
        again.process.send_signal(signal.SIGTERM)
        assert again.end(60) == 0
        (result,) = wait_for(lambda: dashboard.of("result"))
    sample, (own,), classes = stored(config)
    assert (sample.id, sample.state, sample.interruptions) == (before.id, "incomplete", 1)
    assert (result["id"], result["sample_id"]) == (str(own.id), before.id)
    assert result["fields_read"] > kept["fields_read"]
    assert result["islands"] == kept["islands"] + 1
    assert "interrupted" in result["flags"]
    assert sum(classes.values()) == result["cells_seen"] - result["border"]
