"""Each cell once: on paths over a smear whose every cell has a name, whatever the overlap, the turn and the gaps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.slidepaths import Eye, Walk, jittered, looked
from edge.camera.virtual.layout import SlideSpec, View
from edge.camera.virtual.specimen import Specimen
from edge.screening.verdict import wilson
from edge.types import CLASSES, RED_CELLS, Cells, Field, Placement, Reason, Rejection
from edge.vision.registration.correlation import search
from edge.vision.registration.field_map import FACTORS
from edge.vision.registration.matching import matched
from edge.vision.registration.point_pattern import PointPattern, Similarity
from edge.vision.registration.registrar import DOUBT, Registrar

SPEC = SlideSpec(seed=3)
EYE = Eye()
FIELD = Field(np.broadcast_to(np.uint8(0), (480, 640, 3)), None, (0.0, 0.0), 1.0)
SMEAR = Specimen(SPEC)


def cells(view: View, seed: int = 0, smear: Specimen = SMEAR) -> Cells:
    return looked(smear.truth(view), SPEC, EYE, np.random.default_rng(seed))[1]


def placed(registrar: Registrar, view: View, seed: int = 0) -> Placement:
    found = registrar.place(FIELD, cells(view, seed))
    assert isinstance(found, Placement), found
    return found


def walked(views: list[View], rejected: float, seed: int, eye: Eye = EYE) -> Walk:
    rng = np.random.default_rng(seed)
    walk = Walk(replace(SPEC, seed=seed), eye)
    for view in views:
        if rng.random() >= rejected:
            walk.read(view, rng)
    return walk


@pytest.mark.parametrize("overlap", [0.0, 0.05, 0.1, 0.2, 0.5, 0.9])
def test_each_cell_counts_once_whatever_the_overlap(overlap: float) -> None:
    spec = replace(SPEC, n_fields=20)
    walk = walked(jittered(spec, overlap, np.random.default_rng(1)), 0.2, seed=1)
    counts = walk.counts()
    true = dict(walk.true_by_class())
    assert sum(counts.by_class.values()) == pytest.approx(sum(true.values()), rel=0.01)
    red = sum(true[name] for name in RED_CELLS)
    low, high = wilson(true["sickle"], red)
    assert low <= counts.by_class["sickle"] / counts.red_cells <= high
    assert counts.by_class["sickle"] == pytest.approx(true["sickle"], abs=2)


def of_a_stage(says: str) -> tuple[int, float]:
    """Return how many frames of a path of hardly any overlap are not placed, and what is counted of what was shown."""
    spec, rng, error = replace(SPEC, n_fields=12), np.random.default_rng(1), np.random.default_rng(2)
    walk, not_placed = Walk(spec), 0
    for view in jittered(spec, 0.05, rng):
        true = complex(view.x_um, view.y_um) + complex(*error.normal(0, 5, 2))
        stage_um = {"nothing": None, "truth": true, "nonsense": -true}[says]
        not_placed += isinstance(walk.read(view, rng, stage_um), Rejection)
    return not_placed, sum(walk.counts().by_class.values()) / len(walk.shown)


def test_a_stage_helps_to_place_what_hardly_overlaps_and_one_that_lies_does_no_harm() -> None:
    without, truth, nonsense = (of_a_stage(says) for says in ("nothing", "truth", "nonsense"))
    assert truth[0] < without[0]
    assert nonsense[0] <= without[0] + 1
    for _, counted in (without, truth, nonsense):
        assert counted == pytest.approx(1.0, abs=0.01)


def test_a_frame_is_placed_to_two_micrometres_and_says_how_it_is_turned() -> None:
    registrar = Registrar()
    placed(registrar, View(0, 0))
    for seed, (x, y, turn) in enumerate([(40, 10, 0), (90, -20, 2), (130, 30, -2), (100, 70, 1), (20, 60, -1)]):
        found = placed(registrar, View(x, y, turn), seed)
        assert found.island == 0
        assert [found.x_um, found.y_um] == [pytest.approx(x, abs=2), pytest.approx(y, abs=2)]
        assert found.turned_deg == pytest.approx(-turn, abs=0.4)  # the frame against the slide
        assert found.evidence is not None
        assert found.evidence > 10


def test_a_view_that_stands_still_adds_nothing_and_is_not_kept() -> None:
    registrar = Registrar()
    first = placed(registrar, View(0, 0))
    whole = ~cells(View(0, 0)).border
    for seed in range(30):
        again = registrar.place(FIELD, cells(View(0, 0)) if seed % 2 else cells(View(0, 0), 0))
        assert isinstance(again, Placement)
        assert (again.found, again.new_share, again.islands) == (0, 0.0, 1)
        assert np.array_equal(again.ids[whole], first.ids[whole])
    assert registrar._map.count == 1


def test_what_flickers_in_a_still_view_is_numbered_once() -> None:
    registrar, numbers = Registrar(), set()
    for seed in range(40):
        found = placed(registrar, View(0.1 * (seed % 3), 0), seed)
        numbers |= set(found.ids[found.ids >= 0].tolist())
    assert len(numbers) <= len({cell.identity for x in (0, 0.1, 0.2) for cell in SMEAR.truth(View(x, 0))}) + 2
    assert registrar._map.count < 5


def test_a_frame_that_meets_two_islands_joins_them_and_their_doubles() -> None:
    walk, rng = Walk(SPEC, Eye(missed=0.0)), np.random.default_rng(0)
    for x, islands in ((0, 1), (500, 2), (390, 2), (265, 2), (130, 1)):
        found = walk.read(View(x, 0), rng)
        assert isinstance(found, Placement)
        assert found.islands == islands
    assert sum(walk.counts().by_class.values()) == pytest.approx(len(walk.shown), abs=1)


def drawn_again(turn_deg: float, zoom: float, mirrored: bool) -> Cells:
    """Return the cells of the place at 0, 0 as another picture of it shows them: turned, zoomed and mirrored."""
    found = cells(View(0, 0, turn_deg), 1)
    middle = np.array([320, 240, 320, 240], np.float32)
    boxes = (found.boxes - middle) * np.float32(zoom) + middle
    if mirrored:
        boxes[:, [0, 2]] = 640 - boxes[:, [2, 0]]
    shown = (boxes.reshape(-1, 2, 2) >= 0).all((1, 2)) & (boxes[:, 2] <= 640) & (boxes[:, 3] <= 480)
    return Cells(boxes[shown], found.score[shown], found.border[shown], found.kind[shown])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("zoom", [0.7, 0.9, 1.0, 1.2, 1.4])
@pytest.mark.parametrize("turn_deg", [0, 10, 45, 90, 137, 180, 271])
def test_a_place_is_known_again_turned_mirrored_and_zoomed(turn_deg: float, zoom: float, mirrored: bool) -> None:
    """Kind: the same place in another picture, which counted its cells twice from a turn of 8 degrees on."""
    registrar = Registrar()
    for x in (3000, 0, 2000, 4000):
        placed(registrar, View(x, 0))
    again = drawn_again(turn_deg, zoom, mirrored)
    found = registrar.place(FIELD, again)
    assert isinstance(found, Placement)
    assert found.evidence is not None
    assert found.islands == 4
    shown_before = np.abs(again.boxes.reshape(-1, 2, 2).mean(1) - (320, 240)) < np.array([225, 225]) * zoom
    assert (found.ids[shown_before.all(1)] < found.numbered_before).mean() > 0.9


def test_frames_after_a_turned_one_are_placed_by_it() -> None:
    """Kind: a slide that is laid back turned, and read on from there."""
    walk, rng = Walk(SPEC, Eye(missed=0.0)), np.random.default_rng(0)
    for x, turn in ((0, 0), (60, 0), (60, 130), (110, 130), (170, 130)):
        found = walk.read(View(x, 0, turn), rng)
        assert isinstance(found, Placement)
        assert found.islands == 1
    assert sum(walk.counts().by_class.values()) == pytest.approx(len(walk.shown), rel=0.02)


def test_a_motion_that_is_mirrored_can_be_undone_and_chained() -> None:
    one, two = Similarity(1j, 3 + 2j, mirrored=True), Similarity(0.5 - 0.5j, -1j)
    places = np.array([1 + 2j, -3 + 0.5j])
    assert np.allclose(one.inverse()(one(places)), places)
    assert np.allclose(two.after(one)(places), two(one(places)))
    assert np.allclose(one.after(two)(places), one(two(places)))
    assert np.allclose(one.after(one)(places), one(one(places)))


def test_islands_that_overlap_unseen_are_counted_twice_until_they_join() -> None:
    walk, rng = Walk(SPEC, Eye(missed=0.0)), np.random.default_rng(0)
    walk.read(View(0, 0), rng)
    walk.registrar._map._hash._field[:] = -1
    walk.registrar._last = None
    walk.read(View(70, 0), rng)
    assert walk.counts().islands == 2
    assert sum(walk.counts().by_class.values()) > 1.3 * len(walk.shown)
    walk.read(View(35, 0), rng)
    counts = walk.counts()
    assert counts.islands == 1
    assert sum(counts.by_class.values()) == pytest.approx(len(walk.shown), abs=1)


def test_a_cell_cut_in_one_frame_and_whole_in_another_counts_once_when_whole() -> None:
    walk, rng = Walk(SPEC, Eye(missed=0.0, error_px=0.5)), np.random.default_rng(0)
    walk.read(View(0, 0), rng)
    before = walk.counts()
    walk.read(View(12, 0), rng)
    after = walk.counts()
    assert before.excluded["border"] > 0
    assert sum(after.by_class.values()) == len(walk.shown)
    cut = {c.identity for x in (0, 12) for c in SMEAR.truth(View(x, 0))} - walk.shown.keys()
    assert after.excluded["border"] == pytest.approx(len(cut), abs=1)


def test_after_a_jump_an_old_place_is_known_again() -> None:
    registrar = Registrar()
    for x in range(0, 3000, 600):
        placed(registrar, View(x, 0))
    back = placed(registrar, View(1225, 20, 2, 0.7), 9)
    assert (back.island, back.islands) == (2, 5)
    assert [back.x_um, back.y_um] == [pytest.approx(25, abs=2), pytest.approx(20, abs=2)]


def test_a_field_with_hardly_a_cell_is_not_placed_and_leaves_no_trace() -> None:
    registrar = Registrar()
    for few in (0, 1, 5):
        one = cells(View(0, 0))
        bare = registrar.place(FIELD, Cells(one.boxes[:few], one.score[:few], one.border[:few], one.kind[:few]))
        assert isinstance(bare, Rejection)
        assert bare.reason is Reason.NOT_PLACED
    assert placed(registrar, View(0, 0)).numbered_before == 0


def test_a_likeness_that_is_neither_sure_nor_chance_is_a_rejection(monkeypatch: pytest.MonkeyPatch) -> None:
    registrar = Registrar()
    placed(registrar, View(0, 0))
    monkeypatch.setattr("edge.vision.registration.field_map.SURE", 1000.0)
    monkeypatch.setattr("edge.vision.registration.field_map.sure", lambda match, limit=0: False)
    doubtful = registrar.place(FIELD, cells(View(130, 0), 4))
    assert isinstance(doubtful, Rejection)
    assert (doubtful.reason, doubtful.limit) == (Reason.NOT_PLACED, 10.0)
    assert doubtful.value >= 8


def test_frames_of_another_slide_are_an_island_and_every_cell_of_theirs_is_new() -> None:
    registrar, other = Registrar(), Specimen(replace(SPEC, seed=8))
    for x in (0, 60, 120):
        placed(registrar, View(x, 0))
    strange = registrar.place(FIELD, cells(View(0, 0), 1, other))
    assert isinstance(strange, Placement)
    assert (strange.islands, strange.found) == (2, len(strange.ids))


@pytest.mark.parametrize("turn", [14, 25])
@pytest.mark.parametrize("first_seen", [True, False])
def test_the_hand_that_holds_a_telephone_may_turn_and_zoom_it(turn: float, first_seen: bool) -> None:
    # first_seen: whether the eyepiece was seen in the first picture, or only in the second.
    disc = np.hypot(*np.meshgrid(np.arange(640) - 320, np.arange(480) - 240)) < 235
    field = replace(FIELD, visible=disc)
    one = cells(View(0, 0), 1)
    turned = cells(View(0, 0, turn), 2)
    at = (turned.boxes[:, :2] + turned.boxes[:, 2:]) / 2
    inside = np.hypot(*(at - (320, 240)).T) < 225
    here = (one.boxes[:, :2] + one.boxes[:, 2:]) / 2
    first = np.hypot(*(here - (320, 240)).T) < 225
    registrar = Registrar()
    before = field if first_seen else FIELD
    registrar.place(before, Cells(one.boxes[first], one.score[first], one.border[first], one.kind[first]))
    found = registrar.place(
        field, Cells(*(part[inside] for part in (turned.boxes, turned.score, turned.border, turned.kind)))
    )
    assert isinstance(found, Placement)
    assert found.islands == 1
    assert found.turned_deg == pytest.approx(-turn, abs=1)


def test_narrow_strips_hold_a_path_together() -> None:
    walk, not_placed = Walk(SPEC), 0
    rng = np.random.default_rng(1)
    for view in jittered(replace(SPEC, n_fields=20), 0.07, rng):
        not_placed += isinstance(walk.read(view, rng), Rejection)
    assert (walk.counts().islands, not_placed) == (1, 0)


def test_fields_that_have_nothing_in_common_show_no_evidence() -> None:
    disc = np.hypot(*np.meshgrid(np.arange(720) - 360, np.arange(720) - 360)) < 355
    spec = replace(SPEC, width=720, height=720, cells_per_mm2=9000.0, pair_share=0.4)
    field = Field(np.broadcast_to(np.uint8(0), (720, 720, 3)), disc, (0.0, 0.0), 1.0)
    views = []
    for seed in range(6):
        crowd = Specimen(replace(spec, seed=seed)).truth(View(0, 0))
        views.append(PointPattern.of(field, looked(crowd, spec, EYE, np.random.default_rng(seed))[1]))
    found = [
        matched(two.turned(factor), one, motion)
        for at, one in enumerate(views)
        for two in views[:at]
        for factor in FACTORS
        for motion in search(two.turned(factor), one, 4)
    ]
    assert max((match.evidence for match in found), default=0.0) < DOUBT


def test_a_bent_picture_of_a_known_field_shows_no_new_cells() -> None:
    registrar, one = Registrar(), cells(View(0, 0))
    first = registrar.place(FIELD, one)
    middle = (one.boxes[:, :2] + one.boxes[:, 2:]) / 2 - (320, 240)
    u = (middle[:, 0] + 1j * middle[:, 1]) / 240
    by = 14 * u**2 + 6 * np.abs(u) ** 2  # as a telephone held aslant shows it: 2 to 9 µm at the edges
    boxes = one.boxes + np.stack([by.real, by.imag] * 2, 1).astype(np.float32)
    again = registrar.place(FIELD, Cells(boxes, one.score, one.border, one.kind))
    assert isinstance(first, Placement)
    assert isinstance(again, Placement)
    assert (again.islands, again.found) == (1, 0)
    assert np.array_equal(again.ids[~one.border], first.ids[~one.border])


@settings(max_examples=25)
@given(
    x=st.floats(-110, 110), y=st.floats(-75, 75), turn=st.floats(-2, 2), seed=st.integers(0, 1000)
)  # fmt: skip
def test_the_motion_between_two_views_is_found_both_ways(x: float, y: float, turn: float, seed: int) -> None:
    one, two = (
        PointPattern.of(FIELD, cells(View(0, 0), seed)),
        PointPattern.of(FIELD, cells(View(x, y, turn), seed + 1)),
    )
    best = max((matched(two, one, motion) for motion in search(two, one, 4)), key=lambda match: match.evidence)
    assert best.evidence > 10
    assert abs(best.motion(0j) - complex(x, y)) < 2
    back = matched(one, two, best.motion.inverse())
    assert abs(back.motion(best.motion(50 + 30j)) - (50 + 30j)) < 0.5


@given(
    turn=st.complex_numbers(min_magnitude=0.5, max_magnitude=2), shift=st.complex_numbers(max_magnitude=1e4),
    z=st.complex_numbers(max_magnitude=1e3),
)  # fmt: skip
def test_a_motion_and_its_inverse_cancel(turn: complex, shift: complex, z: complex) -> None:
    motion = Similarity(turn, shift)
    assert motion.inverse()(motion(z)) == pytest.approx(z, abs=1e-6)
    assert motion.after(motion.inverse())(z) == pytest.approx(z, abs=1e-6)


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.floats(0, 640), st.floats(0, 480)] * 2), max_size=60), st.integers(0, 3))
def test_any_boxes_are_placed_or_rejected_and_numbers_are_given_once(
    corners: list[tuple[float, float, float, float]], times: int
) -> None:
    boxes = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners], np.float32)
    odd = Cells(boxes.reshape(-1, 4), np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.bool_),
                np.zeros(len(boxes), np.int8))  # fmt: skip
    registrar, given_so_far = Registrar(), 0
    for _ in range(times + 1):
        found = registrar.place(FIELD, odd)
        if isinstance(found, Placement):
            own = found.ids[found.ids >= 0]
            assert len(np.unique(own)) == len(own)
            assert found.numbered_before == given_so_far
            given_so_far += found.found
            assert own.max(initial=-1) < given_so_far


class Still:
    """A view that stands still, whose middle cell is found in some frames only."""

    def __init__(self) -> None:
        self.walk = Walk(SPEC, Eye(missed=0.0, error_px=0.3))
        self.found, self.seen = looked(SMEAR.truth(View(0, 0)), SPEC, self.walk.eye, np.random.default_rng(0))
        middle = (self.seen.boxes[:, :2] + self.seen.boxes[:, 2:]) / 2
        self.doubtful = int(np.abs(middle - [320, 240]).sum(1).argmin())
        self.number = -1

    def show(self, with_it: bool) -> int:
        """Show a frame; returns the cells seen so far."""
        which = np.ones(len(self.found), np.bool_)
        which[self.doubtful] = with_it
        shown = [cell for cell, there in zip(self.found, which, strict=True) if there]
        seen = Cells(self.seen.boxes[which], self.seen.score[which], self.seen.border[which], self.seen.kind[which])
        placement = self.walk.count(shown, seen)
        assert isinstance(placement, Placement)
        if with_it:
            self.number = int(placement.ids[self.doubtful])
        return self.walk.counts().cells_seen

    def told(self, of: str) -> bool:
        """Whether the last frame told of the cell, among those that are `gone` or named (`numbers`)."""
        assert self.walk.change is not None
        return self.number in getattr(self.walk.change, of)


@pytest.mark.parametrize(
    ("found_in", "counts"), [((0,), 0), ((4,), 0), ((1, 2, 3), 0), ((0, 2, 4, 6), 1), ((4, 5, 6, 7), 1)]
)
def test_what_most_frames_do_not_find_is_no_cell(found_in: tuple[int, ...], counts: int) -> None:
    still = Still()
    seen = [still.show(frame in found_in) for frame in range(8)]
    assert seen[-1] == len(still.found) - 1 + counts


def test_a_cell_goes_when_most_frames_miss_it_and_is_back_when_they_find_it() -> None:
    still = Still()
    every = len(still.found)
    expected = [(True, every), (False, every), (False, every - 1), (False, every - 1), (True, every - 1), (True, every)]
    for at, (with_it, cells_seen) in enumerate(expected):
        assert still.show(with_it) == cells_seen
        assert still.told("gone") == (at == 2)
        assert still.told("numbers") == (at in (0, 5))


@pytest.mark.parametrize("missed", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_told_of_each_frame_adds_up_to_the_cells_that_count(missed: float, seed: int) -> None:
    """As the database follows it: a row moves where two cells prove to be one, and is made by a whole look only."""
    rng, rows = np.random.default_rng(seed), set[int]()
    walk = Walk(replace(SPEC, seed=seed), Eye(missed=missed, error_px=1.0))
    at = np.zeros(2)
    for _ in range(60):  # it dwells, drifts, jumps to new islands, and comes back between them
        step = rng.random()
        at = at + rng.normal(0, 3, 2) if step < 0.6 else rng.uniform(-250, 250, 2) if step < 0.8 else at
        found, cells = looked(walk.specimen.truth(View(*at)), walk.spec, walk.eye, rng)
        placed = walk.count(found, cells)
        if isinstance(placed, Rejection) or walk.change is None:
            continue
        for kept, dropped in placed.joined:
            if dropped in rows:
                rows.remove(dropped)
                rows.add(kept)
        rows -= set(walk.change.gone.tolist())
        whole = set(placed.ids[~cells.border].tolist())
        assert set(walk.change.numbers.tolist()) <= rows | whole
        rows |= set(walk.change.numbers.tolist())
        assert len(rows) == sum(walk.counts().by_class.values()) + walk.counts().excluded["abstained"]


def test_where_two_pictures_do_not_lie_on_each_other_nothing_is_missed() -> None:
    registrar = Registrar()
    first = placed(registrar, View(0, 0))
    found = cells(View(0, 0))
    left = found.boxes[:, 0] < 200
    apart = found.boxes + np.where(left, 24, 0)[:, None].astype(np.float32)  # as where a picture is bent
    second = registrar.place(FIELD, Cells(apart, found.score, found.border, found.kind))
    assert isinstance(second, Placement)
    missed = np.isin(first.ids, second.absent)
    assert not missed[found.boxes[:, 0] < 120].any()


def test_classes_follow_the_mean_of_all_looks() -> None:
    walk = Walk(SPEC, Eye(missed=0.0, error_px=0.3))
    found, seen = looked(SMEAR.truth(View(0, 0)), SPEC, walk.eye, np.random.default_rng(0))
    normal = next(i for i, cell in enumerate(found) if cell.class_name == "normal" and cell.fully_visible)
    for name, expected in (("sickle", "sickle"), ("normal", None), ("normal", "normal"), ("sickle", None)):
        shown = [replace(cell, class_name=name) if i == normal else cell for i, cell in enumerate(found)]
        placement = walk.count(shown, seen)
        assert isinstance(placement, Placement)
        _, label = walk.registry.calibrated_probabilities(placement.ids[[normal]])
        if expected:
            assert CLASSES[label[0]] == expected
    assert isinstance(placement, Placement)
    assert walk.registry.known(placement)[normal]
    assert sum(walk.counts().by_class.values()) == len(walk.shown)


def test_two_boxes_that_went_by_one_number_both_take_the_older_one_that_it_is_joined_to() -> None:
    """Else the second goes by a number that nothing is known of any more, and its chances are no numbers."""
    registrar = Registrar()
    registrar._same[:10] = np.arange(10)
    known = {n: SimpleNamespace(ids=np.array(ids)) for n, ids in ((0, [7, 7]), (1, [3]))}
    registrar._map = SimpleNamespace(fields=known)  # type: ignore[assignment]
    links = [SimpleNamespace(number=n, match=SimpleNamespace(pairs=np.array(pairs)))
             for n, pairs in ((0, [[0, 0], [1, 1]]), (1, [[0, 0]]))]  # fmt: skip
    joined: list[tuple[int, int]] = []
    assert registrar._recognised(3, links, joined).tolist() == [3, 3, -1]  # type: ignore[arg-type]
    assert joined == [(3, 7)]
