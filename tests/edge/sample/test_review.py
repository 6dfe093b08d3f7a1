"""The review: what people are shown, what they say, who may sign, and what leaves then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config.model import Config, RetentionConfig
from edge.errors import DamagedSampleError, SampleError
from edge.sample.cell_records import CellChanges, CellRecorder, LocatedCell
from edge.sample.lifecycle import Lifecycle, now
from edge.sample.retention import sweep
from edge.sample.review.field_pictures import field_picture, load_picture, pictured_fields
from edge.sample.review.known_cells import KnownAnswers, is_known
from edge.sample.review.random_order import Draw
from edge.sample.review.review import SampleReview
from edge.sample.review.rows import answers, marks, notes
from edge.sample.sample_row import Moment, StoredSample
from edge.screening.verdict import without_fraction
from edge.storage.database import Database
from edge.types import CLASSES, Change, FieldReading, Placement, Scale
from tests.edge.publish.publish_parts import composer
from tests.edge.sample.review_parts import BOXES, PIXELS, counted, do, ended, result


@pytest.fixture
def lifecycle(tmp_path: Path) -> Iterator[Lifecycle]:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        yield Lifecycle(Config(), database, composer())


def test_the_gallery_mixes_called_cells_with_random_normal_ones_and_hides_what_they_are(lifecycle: Lifecycle) -> None:
    sample, review = ended(lifecycle), SampleReview(lifecycle)
    gallery = review.gallery(sample)
    numbers = [cell.number for cell in gallery.cells]
    assert len(numbers) == 125
    assert {number for number in numbers if number >= 620} == set(range(620, 645))
    assert all(cell.class_name is None and cell.p_sickle is None for cell in gallery.cells)
    assert numbers == [cell.number for cell in review.gallery(sample).cells], "the order stays"
    called = [at for at, number in enumerate(numbers) if number >= 620]
    assert called[0] < 40 and called[-1] > 85, "mixed in, and not at the end"  # noqa: PT018
    assert [cell.field for cell in gallery.cells if cell.number == 620] == [0]
    do(lifecycle, sample, cells={"620": "normal"})
    (answered,) = [cell for cell in review.gallery(sample).cells if cell.answer is not None]
    assert (answered.number, answered.answer, answered.class_name, answered.p_sickle) == (620, "normal", "sickle", 0.9)
    assert review.gallery(sample).answered == 1
    shown = review.gallery(sample, blind=False).cells
    assert [cell.class_name for cell in shown[:20]] == ["sickle"] * 20, "by setting: shown, the most sickle-like first"
    assert all(cell.class_name is None for cell in review.gallery(sample, "second", blind=False).cells)


def test_normal_cells_are_drawn_at_random_while_their_number_is_not_known() -> None:
    """Each of 1,000 cells is drawn as often as any other, wherever it comes in the stream."""
    drawn: Counter[int] = Counter()
    for seed in range(400):
        draw = Draw(f"sample-{seed}", 100)
        kept: set[int] = set()
        for number in range(1000):
            taken, gone = draw.offer(number)
            kept |= {number} if taken else set()
            kept -= {gone} if gone is not None else set()
        assert len(kept) == 100
        drawn.update(kept)
    tenths = [sum(drawn[number] for number in range(start, start + 100)) for start in range(0, 1000, 100)]
    assert min(tenths) > 3600
    assert max(tenths) < 4400, "4,000 each, standard deviation 57"


def reading_of(number: int, label: int, share: float = 1.0) -> FieldReading:
    ids, prob, labels = np.array([number]), np.full((1, 6), 1 / 6, np.float32), np.array([label], np.int8)
    placement = Placement(0, 0.0, 0.0, 0.0, None, ids, (), number, 1, share, 1)
    return FieldReading(
        frame_index=0, name="", width=80, height=60, scale=Scale(0.25, "configured", 0.0), rejected=None,
        boxes=BOXES, score=np.ones(1, np.float32), prob=prob, label=labels, kind=np.zeros(1, np.int8),
        novelty=np.zeros(1, np.float32), border=0, area_mm2=0.0, placement=placement,
        change=Change({}, 0, 0, ids, prob, labels), ids=ids,
    )  # fmt: skip


def test_fields_are_kept_for_each_called_cell_once_and_for_some_others() -> None:
    recorder = CellRecorder("sample")
    normal, sickle = CLASSES.index("normal"), CLASSES.index("sickle")

    def kept(number: int, label: int) -> bool:
        changes = recorder.changes(reading_of(number, label), PIXELS, number)
        assert changes is not None
        return changes.picture is not None

    assert [kept(1, sickle), kept(1, sickle), kept(2, -1), kept(2, -1)] == [True, False, True, False]
    assert 20 < sum(kept(number, normal) for number in range(10, 260)) < 85, "a fifth of 250"


def test_pictures_of_fields_keep_a_daily_budget_and_go_before_those_of_cells(tmp_path: Path) -> None:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        one = Lifecycle(Config(retention=RetentionConfig(pictures_mb_per_day=1)), database, composer())
        found = counted("K-1", 0, 0, 0)
        sample = one.start(found, "{}", "nurse")
        big = [replace(field_picture(PIXELS, i, 0.25, [], BOXES[:0]), jpeg=bytes([i]) * 400_000) for i in range(4)]
        one.save(sample, found, [CellChanges((), (), (), {}, picture=picture) for picture in big])
        assert pictured_fields(database, sample.id) == [0, 1]
        cell = LocatedCell(0, 0, 0.0, 0.0, 0, 0.8, "sickle", (0.1,) * 6)
        one.end(sample, found, [CellChanges((), (cell,), (), {0: b"crop" * 100_000})], "review", "")
        sweep(one, RetentionConfig(images_mb=1), now())
        assert pictured_fields(database, sample.id) == []
        assert one.store.crop(sample.id, 0) is not None


def test_the_daily_budget_does_not_hang_on_a_clock_that_nobody_set(tmp_path: Path) -> None:
    """Kind: a clock that stands still over boots, leaps by years, and is set right in between."""
    day_s = 86_400
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        one = Lifecycle(Config(retention=RetentionConfig(pictures_mb_per_day=1)), database, composer())
        sample, numbers = one.start(counted("K-1", 0, 0, 0), "{}", "nurse"), count()

        def stored(moment: Moment) -> int:
            """Return how many of three pictures of 400 kB are kept then."""
            nonlocal sample
            made = [replace(field_picture(PIXELS, next(numbers), 0.25, [], BOXES[:0]), jpeg=bytes(400_000))
                    for _ in range(3)]  # fmt: skip
            before, one.clock = len(pictured_fields(database, sample.id)), lambda: moment
            sample = one.save(sample, counted("K-1", 0, 0, 0), [CellChanges((), (), (), {}, picture=p) for p in made])
            return len(pictured_fields(database, sample.id)) - before

        unset, right = Moment(0, False, "boot 1", 10.0), Moment(1_800_000_000_000, True, "boot 1", 20.0)
        assert stored(unset) == 2
        assert stored(replace(unset, made_ms=40 * 365 * day_s * 1000)) == 0, "a leap gives no new budget"
        assert stored(right) == 2
        assert stored(replace(unset, uptime_s=30.0)) == 0, "nor does a clock that is set and unset"
        assert stored(replace(right, uptime_s=40.0)) == 0
        assert stored(replace(unset, uptime_s=day_s + 1.0)) == 2, "a day later"
        assert stored(replace(unset, boot_id="boot 2")) == 2, "a device that begins in 1970 each morning"


def test_answers_are_only_added_and_an_undo_is_a_further_one(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    do(lifecycle, sample, cells={"620": "normal", "3": "sickle"}, reason="folded")
    do(lifecycle, sample, undo=[620], reason="slipped")
    do(lifecycle, sample, by="Dr B", cells={"3": "other"}, note="stain is pale")
    told = [(one.number, one.old, one.class_name, one.by, one.reason) for one in answers(lifecycle.database, sample.id)]
    assert told == [
        (620, "sickle", "normal", "Dr A", "folded"), (3, "normal", "sickle", "Dr A", "folded"),
        (620, "normal", None, "Dr A", "slipped"), (3, "sickle", "other", "Dr B", ""),
    ]  # fmt: skip
    assert [(note.text, note.by) for note in notes(lifecycle.database, sample.id)] == [("stain is pale", "Dr B")]
    with pytest.raises(SampleError, match="no answer on cell 620 to take back"):
        do(lifecycle, sample, undo=[620])
    do(lifecycle, sample, done=True)
    final = result(lifecycle, sample)
    assert (final.reviewed_cells, final.reviewed_sickle, final.reviewed_normal, final.reviewed_other) == (1, 20, 619, 1)
    assert (final.above_blank, final.sickle, final.verdict) == (None, 20, "reported"), "the limit is not a person's"


def test_a_missed_cell_is_marked_on_its_field_and_counts(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    missed = {"field": 0, "x": 0.25, "y": 0.5, "class_name": "sickle"}
    do(lifecycle, sample, missed=[missed, {**missed, "x": 0.75}])
    do(lifecycle, sample, unmark=[1], reason="dirt")
    with pytest.raises(SampleError, match="no picture of field 7 is kept"):
        do(lifecycle, sample, missed=[{**missed, "field": 7}])
    with pytest.raises(SampleError, match="no mark 9"):
        do(lifecycle, sample, unmark=[9])
    do(lifecycle, sample, done=True)
    found = [(one.mark, one.x, one.class_name) for one in marks(lifecycle.database, sample.id)]
    assert found == [(1, 0.25, None), (2, 0.75, "sickle")]
    final = result(lifecycle, sample)
    assert (final.reviewed_cells, final.reviewed_missed, final.reviewed_sickle, final.reviewed_red_cells) == (
        0,
        1,
        21,
        641,
    )
    assert "After review of 0 cells, with 1 that the detector missed: 21 of 641" in final.text
    picture = load_picture(lifecycle.database, sample.id, 0)
    assert picture is not None
    assert (picture.width, picture.height, picture.boxes) == (80, 60, {620: (0.1, 0.1, 0.2, 0.2)})
    assert cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize("table", ["marks", "reviews"])
def test_a_changed_bit_in_what_a_person_said_is_damage(lifecycle: Lifecycle, table: str) -> None:
    sample = ended(lifecycle)
    do(lifecycle, sample, cells={"3": "sickle"}, missed=[{"field": 0, "x": 0.25, "y": 0.5, "class_name": "sickle"}])
    for change in ("class = 'other'", "sample_id = 'x' || sample_id"):
        lifecycle.database.read("PRAGMA foreign_keys = OFF")
        lifecycle.database.write(f"UPDATE {table} SET {change}")  # noqa: S608
        with pytest.raises(DamagedSampleError):
            lifecycle.record(lifecycle.store.find(sample.id))


def test_a_second_reader_is_another_person_and_a_third_settles(lifecycle: Lifecycle) -> None:
    sample, review = ended(lifecycle), SampleReview(lifecycle)
    first = {str(number): "sickle" if number >= 630 else "normal" for number in range(600, 640)}
    second = {**first, "630": "other", "600": "sickle", "601": "other"}
    do(lifecycle, sample, by="Dr A", cells=first)
    with pytest.raises(SampleError, match=r"dr  a is first reader of sample K-1 and cannot be its second one"):
        do(lifecycle, sample, by="dr  a", cells={"600": "sickle"}, reading="second")
    do(lifecycle, sample, by="Dr B", cells=second, reading="second")
    assert answers(lifecycle.database, sample.id, "second")[0].old == "normal", "and not what the first reader said"
    found = review.agreement(sample)
    assert found is not None
    assert (found.both, found.first_only, found.second_only, found.neither) == (9, 1, 1, 29)
    assert found.kappa == pytest.approx(0.8667, abs=1e-3)
    assert review.unsettled(sample) == (600, 601, 630)
    with pytest.raises(SampleError, match="the two readers do not differ on cell 631"):
        do(lifecycle, sample, by="Dr C", cells={"631": "normal"}, reading="third")
    with pytest.raises(SampleError, match="differ on 3 cells that no third person settled"):
        do(lifecycle, sample, by="Dr A", done=True)
    do(lifecycle, sample, by="Dr C", cells={"630": "other", "600": "normal", "601": "normal"}, reading="third")
    assert review.unsettled(sample) == ()
    assert [cell.number for cell in review.gallery(sample, "third").cells if cell.answer] != []
    with pytest.raises(SampleError, match="DR B is the second reader of sample K-1 and cannot sign it"):
        do(lifecycle, sample, by="DR B", done=True)
    do(lifecycle, sample, by="Dr A", done=True)
    final = result(lifecycle, sample)
    # 620–629 are normal after all; 630 is `other` by the third reader; 635–639 stay what the classifier said.
    assert (final.reviewed_sickle, final.reviewed_other) == (9, 1)
    assert review.readers(sample) == {"first": ("Dr A",), "second": ("Dr B",), "third": ("Dr C",)}


def test_random_normal_cells_bound_the_missed_ones_pooled_over_samples(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = SampleReview(lifecycle)
    assert review.normals_of_device().at_most is None
    for code in ("K-1", "K-2"):
        sample = ended(lifecycle, code)
        normals = [cell.number for cell in review.gallery(sample).cells if cell.number < 620]
        do(lifecycle, sample, cells={str(number): "normal" for number in normals})
        found = review.normals(sample)
        assert (found.looked, found.sickle) == (100, 0)
        assert found.at_most == pytest.approx(0.0295, abs=1e-4)
    pooled = review.normals_of_device()
    assert (pooled.looked, pooled.samples) == (200, 2)
    assert pooled.at_most == pytest.approx(0.0149, abs=1e-4)
    monkeypatch.setattr("edge.sample.review.review.POOLED", 1)
    assert (review.normals_of_device().looked, review.normals_of_device().samples) == (100, 1), "the newest"
    lifecycle.discard(sample, "nurse", "wrong slide")
    assert (review.normals_of_device().looked, review.normals_of_device().samples) == (100, 1), "the one before"


def test_a_signed_sample_is_locked_and_reopening_it_says_so(lifecycle: Lifecycle) -> None:
    sample, review = ended(lifecycle), SampleReview(lifecycle)
    assert review.signed_by(sample) is None
    do(lifecycle, sample, by="Dr A", done=True)
    signed = lifecycle.store.find(sample.id)
    signature = review.signed_by(signed)
    assert signature is not None
    assert (signed.state, signature["by"]) == ("final", "Dr A")
    for said in ({"cells": {"3": "sickle"}}, {"note": "late"}, {"done": True}):
        with pytest.raises(SampleError, match=r"is final and cannot be .* signed and locked"):
            do(lifecycle, sample, **said)
    opened = lifecycle.reopen(signed, "Dr B", "a cell was overlooked")
    assert (opened.state, opened.reason) == ("review", "a signed result was reopened: a cell was overlooked")
    assert result(lifecycle, sample).stage == "review"


def test_an_incomplete_sample_is_signed_with_a_reason_and_stays_insufficient_below_the_minimum(
    lifecycle: Lifecycle,
) -> None:
    """Kind: a command that does nothing and says nothing. In 0.6.0 `review --done` left it incomplete, exit code 0."""
    enough = ended(lifecycle, "K-1", stage="incomplete", reason="it was stopped before its target")
    with pytest.raises(SampleError, match=r"is incomplete .* 640 red cells\)\. To sign it all the same give a reason"):
        do(lifecycle, enough, done=True)
    assert do(lifecycle, enough, done=True, reason="the slide broke")["state"] == "final"
    assert (result(lifecycle, enough).verdict, result(lifecycle, enough).fraction) == ("reported", 20 / 640)
    few = ended(lifecycle, "K-2", normal=300, sickle=9, stage="incomplete", reason="it was stopped before its target")
    do(lifecycle, few, done=True, reason="no more blood")
    final = result(lifecycle, few)
    assert (final.stage, final.verdict, final.fraction, final.fraction_high, final.above_blank) == (
        "final", "insufficient", None, None, None,
    )  # fmt: skip
    assert final.text.startswith(
        "Insufficient: 309 red cells counted, at least 500 needed. Sickle-like cells 9 of 309."
    )
    assert lifecycle.reopen(lifecycle.store.find(few.id), "Dr A", "").state == "incomplete", "as it was before"


def test_cells_that_a_person_takes_away_can_leave_too_few(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle, normal=490, sickle=20)
    do(lifecycle, sample, cells={str(490 + i): "artefact" for i in range(15)}, done=True)
    final = result(lifecycle, sample)
    assert (final.verdict, final.reviewed_red_cells, final.reviewed_fraction, final.fraction) == (
        "insufficient", 495, None, None,
    )  # fmt: skip
    assert "insufficient" in final.flags.split(",")


def test_other_samples_of_the_same_code_and_day_are_told(lifecycle: Lifecycle) -> None:
    first = ended(lifecycle, "K-1")
    lifecycle.discard(lifecycle.store.find(first.id), "nurse", "too few sickle cells")
    second = ended(lifecycle, "K-1", stage="incomplete")
    lifecycle.reopen(lifecycle.store.find(second.id), "nurse", "scan on")
    found = SampleReview(lifecycle).attempts(lifecycle.store.find(second.id))
    assert [(one.what, one.state, one.reason, one.by) for one in found] == [
        ("other sample", "discarded", "too few sickle cells", "nurse"), ("went on", "scanning", "scan on", "nurse"),
    ]  # fmt: skip


def test_nobody_sees_a_fraction_before_scanning_has_ended(lifecycle: Lifecycle) -> None:
    sample = lifecycle.start(counted("K-1", 620, 20, 5), "{}", "nurse")
    draft = lifecycle.described(sample)["draft"]
    told = {name: draft[name] for name in draft if "fraction" in name or name == "above_blank"}
    assert len(told) >= 6
    assert set(told.values()) == {None}
    assert "interval" not in draft["text"]
    shown = without_fraction(counted("K-1", 620, 20, 5).verdict)
    assert (shown.fraction, shown.low, shown.above_blank, shown.sickle, shown.red_cells) == (None, None, None, 20, 640)
    assert "%" not in shown.text


def test_erasing_a_sample_reaches_marks_notes_and_fields(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle, "SECRET-9")
    missed = [{"field": 0, "x": 0.25, "y": 0.5, "class_name": "sickle"}]
    do(lifecycle, sample, by="Dr Grey", note="a telling note", missed=missed, cells={"3": "other"}, reason="folded-so")
    picture = load_picture(lifecycle.database, sample.id, 0)
    assert picture is not None
    lifecycle.erase(lifecycle.store.find(sample.id), "nurse", "asked for")
    kept = b"".join(file.read_bytes() for file in lifecycle.database.path.parent.iterdir() if file.is_file())
    for trace in (b"SECRET-9", b"Dr Grey", b"a telling note", b"folded-so", picture.jpeg[100:160]):
        assert trace not in kept


def settled(lifecycle: Lifecycle, code: str) -> StoredSample:
    """Return a signed sample of which two people named ten cells alike, five of them sickle-like."""
    sample = ended(lifecycle, code)
    given = {str(number): "normal" if number < 5 else "sickle" for number in [*range(5), *range(620, 625)]}
    do(lifecycle, sample, by="Dr A", cells=given)
    do(lifecycle, sample, by="Dr B", cells={**given, "0": "artefact"}, reading="second")
    do(lifecycle, sample, by="Dr C", cells={"0": "normal"}, reading="third")
    do(lifecycle, sample, by="Dr A", done=True)
    return sample


def test_known_cells_are_mixed_in_and_tell_how_right_a_reader_is(lifecycle: Lifecycle) -> None:
    """Kind: speed without accuracy. Settled cells of other samples are asked again, and count in no result."""
    review = SampleReview(lifecycle)
    source = settled(lifecycle, "K-1")
    sample = ended(lifecycle, "K-2")
    known = [cell for cell in review.gallery(sample).cells if is_known(cell.number)]
    assert len(known) == 10
    assert {(cell.class_name, cell.field, cell.answer) for cell in known} == {(None, None, None)}, "like any other"
    assert all(review.crop(sample, cell.number) == b"jpeg" for cell in known)
    order = [is_known(cell.number) for cell in review.gallery(sample).cells]
    assert order[-10:] != [True] * 10, "they are mixed in"
    before = lifecycle.reviewed(sample, lifecycle.record(sample))

    do(lifecycle, sample, by="Dr D", cells={str(cell.number): "sickle" for cell in known})
    found = review.known_answers(sample)
    assert (found.answered, found.right) == (10, 5)
    assert lifecycle.reviewed(sample, lifecycle.record(sample)) == before, "they count in no result"
    wrong = next(cell for cell in review.gallery(sample).cells if is_known(cell.number) and cell.class_name == "normal")
    do(lifecycle, sample, by="Dr D", undo=[wrong.number])
    assert review.known_answers(sample) == KnownAnswers(9, 5)
    do(lifecycle, sample, by="Dr D", cells={str(wrong.number): "normal"})
    assert review.known_answers(sample) == KnownAnswers(10, 6)
    assert review.last_answered(sample, "first", "Dr D") == wrong.number
    do(lifecycle, sample, by="Dr D", cells={"1": "normal"})
    assert review.last_answered(sample, "first", "Dr D") == 1
    do(lifecycle, sample, by="Dr D", done=True)
    assert result(lifecycle, sample).reviewed_cells == 1

    with pytest.raises(SampleError, match="no cell"):
        do(lifecycle, ended(lifecycle, "K-3"), cells={str((1 << 39) + 7): "normal"})
    lifecycle.erase(lifecycle.store.find(source.id), "nurse", "asked for")
    assert review.known_answers(sample).answered == 0, "nothing of an erased sample is kept"


def test_a_sample_has_no_known_cells_where_nobody_settled_any(lifecycle: Lifecycle) -> None:
    review = SampleReview(lifecycle)
    done = ended(lifecycle, "K-1")
    do(lifecycle, done, cells={"620": "sickle"}, done=True)  # one reader settles nothing
    sample = ended(lifecycle, "K-2")
    assert not any(is_known(cell.number) for cell in review.gallery(sample).cells)
    settled(lifecycle, "K-3")
    lifecycle.discard(lifecycle.store.find("K-3"), "nurse", "wrong slide")
    assert not any(is_known(cell.number) for cell in review.gallery(sample).cells)
