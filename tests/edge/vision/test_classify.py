"""What a cell is called, when nobody says, and that it does not matter which way it lies."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import ModelsConfig
from edge.runtime.base import Network
from edge.runtime.registry import open_network
from edge.screening.calls import SICKLE, calibrated_probabilities, called
from edge.types import ABSTAINED, CLASSES, KIND_UNKNOWN, Cells, Field, Floats, Pixels
from edge.vision import classify
from edge.vision.classify import CellClassifier, agreed, crops

NORMAL, OTHER, WBC = (CLASSES.index(name) for name in ("normal", "other", "wbc"))


def prob(**shares: float) -> Floats:
    return np.array([[shares.get(name, 0.0) for name in CLASSES]], np.float32)


probabilities = st.lists(st.floats(0.01, 1), min_size=6, max_size=6).map(
    lambda shares: (np.array([shares]) / sum(shares)).astype(np.float32)
)


@given(probabilities, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_a_cell_is_sickle_from_the_threshold_on_and_never_below_it(p: Floats, sickle: float, abstain: float) -> None:
    label = int(called(p, sickle, abstain)[0])
    assert (label == SICKLE) == bool(p[0, SICKLE] >= np.float32(sickle))
    assert (label == ABSTAINED) == bool(np.float32(abstain) <= p[0, SICKLE] < np.float32(sickle))
    if label not in (SICKLE, ABSTAINED):
        assert label == np.where(np.arange(6) == SICKLE, 0, p[0]).argmax()


@pytest.mark.parametrize(
    ("given_prob", "label"),
    [
        (prob(normal=0.9, sickle=0.1), NORMAL),
        (prob(sickle=0.6, normal=0.4), SICKLE),
        (prob(sickle=0.5, normal=0.3, other=0.2), ABSTAINED),  # may be sickle, but not probably enough
        (prob(sickle=0.4, normal=0.39, other=0.21), NORMAL),
        (prob(normal=0.4, other=0.38, wbc=0.22), NORMAL),
        (prob(wbc=0.45, platelet=0.3, artefact=0.25), WBC),
        (prob(), ABSTAINED),  # too strange to be named
        (prob(normal=0.45, other=0.05), ABSTAINED),  # mean of two observations, one of them too strange
        (prob(normal=0.6, other=0.06), NORMAL),
    ],
)
def test_who_is_called_what(given_prob: Floats, label: int) -> None:
    found = called(given_prob, sickle=0.55, abstain=0.5)
    assert found.tolist() == [label]
    assert found.dtype == np.int8


@given(st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=2, max_size=5), st.floats(0.2, 5),
       st.floats(-5, 5))  # fmt: skip
def test_a_chance_keeps_the_order_of_cells_and_the_shares_of_the_other_classes(
    shares: list[list[float]], factor: float, shift: float
) -> None:
    given_prob = np.array(shares, np.float32)
    given_prob /= np.maximum(given_prob.sum(1, keepdims=True), 1e-3)
    given_prob[given_prob.sum(1) < 0.99] = 0  # too strange to be named
    named = given_prob.any(1)
    told = calibrated_probabilities(given_prob, (factor, shift))
    assert told.dtype == np.float32
    assert not told[~named].any()
    assert told[named].sum(1) == pytest.approx(1, abs=1e-4)
    order = np.argsort(given_prob[named, SICKLE], kind="stable")
    assert (np.diff(told[named, SICKLE][order]) >= -1e-6).all()  # but for rounding
    others = np.delete(given_prob, SICKLE, 1)
    assert np.delete(told, SICKLE, 1) * others.sum(1, keepdims=True) == pytest.approx(
        others * np.delete(told, SICKLE, 1).sum(1, keepdims=True), abs=1e-4
    )


def test_a_chance_is_by_platt() -> None:
    assert calibrated_probabilities(prob(sickle=0.8, normal=0.15, wbc=0.05), (1.0, 0.0)) == pytest.approx(
        prob(sickle=0.8, normal=0.15, wbc=0.05), abs=1e-6
    )
    # Odds of 4, squared, and then a hundredth of it.
    odds = 16 / 100
    found = calibrated_probabilities(prob(sickle=0.8, normal=0.15, wbc=0.05), (2.0, -float(np.log(100))))
    p = odds / (1 + odds)
    assert found == pytest.approx(prob(sickle=p, normal=0.75 * (1 - p), wbc=0.25 * (1 - p)), abs=1e-6)


def test_a_look_that_named_nothing_leaves_chances_that_make_one() -> None:
    whole = prob(sickle=0.98, normal=0.02)
    assert calibrated_probabilities((whole / 2).astype(np.float32), (1.2, -3.0)) == pytest.approx(
        calibrated_probabilities(whole, (1.2, -3.0)), abs=1e-6
    )


def test_a_chance_is_told_and_the_class_follows_from_what_the_network_says() -> None:
    network = OneSided(0.3)
    network.contract.log_odds = (1.2, -3.0)
    given_prob = np.concatenate([prob(sickle=0.6, normal=0.4), prob(sickle=0.25, normal=0.75)])
    told, label = CellClassifier(network).rule.classified(given_prob)  # type: ignore[arg-type]
    assert label.tolist() == [SICKLE, NORMAL]
    assert (told[:, SICKLE] < 0.1).all()


def test_a_crop_is_the_picture_round_the_cell_mirrored_where_it_ends() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    boxes = np.array([[20, 10, 40, 30], [0, 0, 4, 4], [66, 46, 70, 50]], np.float32)
    middle, corner, end = crops(pixels, boxes, 16)
    assert np.array_equal(middle, pixels[12:28, 22:38])
    assert np.array_equal(corner[6:, 6:], pixels[:10, :10])
    assert np.array_equal(corner[:6, 6:], pixels[:6, :10][::-1])  # row -1 shows row 0
    assert np.array_equal(end[:10, :10], pixels[40:, 60:])
    assert crops(pixels, np.zeros((0, 4), np.float32), 16).shape == (0, 16, 16, 3)


class OneSided:
    """A network that sees a sickle where the upper left quarter is brightest: its answer hangs on how a cell lies."""

    def __init__(self, second_look: float) -> None:
        thresholds = {"sickle": 0.5, "abstain": 0.3, "second_look": second_look}
        self.contract = SimpleNamespace(size=16, thresholds=thresholds, log_odds=(1.0, 0.0))
        self.seen = 0

    def __call__(self, batch: Pixels) -> dict[str, np.ndarray]:
        self.seen += len(batch)
        out = np.zeros((len(batch), len(CLASSES)), np.float32)
        out[:, SICKLE] = batch[:, :8, :8].mean((1, 2, 3)) / 255
        out[:, NORMAL] = 1 - out[:, SICKLE]
        return {"prob": out}


@given(st.integers(0, 2**32 - 1))
def test_a_doubtful_suspect_is_judged_alike_whichever_way_it_lies(seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    ways = [np.rot90(p, k, (1, 2)) for p in (picture, picture[:, :, ::-1]) for k in range(4)]
    network = OneSided(second_look=0.0)
    found, label = CellClassifier(network).name(np.concatenate(ways))  # type: ignore[arg-type]
    assert np.allclose(found, found[0], atol=1e-6)
    assert len(set(label.tolist())) == 1
    assert found.sum(1) == pytest.approx(1, abs=1e-5)


def test_only_suspects_are_looked_at_again() -> None:
    pictures = np.zeros((50, 16, 16, 3), np.uint8)
    pictures[[3, 41], :8, :8] = 200
    network = OneSided(second_look=0.3)
    found, label = CellClassifier(network).name(pictures)  # type: ignore[arg-type]
    assert network.seen == 50 + 2 * 7
    # The bright quarter is in the upper left in two of the eight views.
    assert found[[3, 41], SICKLE] == pytest.approx(200 / 255 / 4, abs=1e-5)
    assert (label == NORMAL).all()
    assert (found[np.delete(np.arange(50), [3, 41]), SICKLE] == 0).all()


def test_a_plain_suspect_is_looked_at_twice_and_a_doubtful_one_eight_times() -> None:
    pictures = np.zeros((4, 16, 16, 3), np.uint8)
    pictures[0] = 250  # a sickle cell from every side
    pictures[1, :8, :8] = 90  # from its first side alone, and not surely
    pictures[2] = 140  # near the threshold from every side
    network = OneSided(second_look=0.3)
    found, label = CellClassifier(network).name(pictures)  # type: ignore[arg-type]
    assert network.seen == 4 + 3 + 6
    assert found[:, SICKLE] == pytest.approx([250 / 255, 45 / 255, 140 / 255, 0], abs=1e-5)
    assert label.tolist() == [SICKLE, NORMAL, SICKLE, NORMAL]


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    opened = open_network("classifier", ModelsConfig(threads=1))
    yield opened
    opened.close()


def unsaid(boxes: Floats, kind: int = KIND_UNKNOWN) -> Cells:
    n = len(boxes)
    return Cells(boxes, np.ones(n, np.float32), np.zeros(n, bool), np.full(n, kind, np.int8))


def test_the_detectors_kind_decides_where_the_classifier_wavers(network: Network) -> None:
    prob = np.array([[0.3, 0.1, 0.1, 0.4, 0.05, 0.05], [0.02, 0.95, 0.02, 0.01, 0, 0], [0, 0, 0, 0, 0, 0]], np.float32)
    as_red, as_white, as_nothing = (agreed(prob, np.full(3, kind, np.int8)) for kind in (0, 1, KIND_UNKNOWN))
    assert as_red[0].argmax() == 0
    assert as_white[0].argmax() == CLASSES.index("wbc")
    assert as_red[1, SICKLE] == pytest.approx(0.96, abs=0.01)
    assert not as_red[2].any()  # a cell that is unlike all others has no probability, whatever its kind
    assert np.allclose(as_nothing, prob)
    for each in (as_red, as_white):
        assert each[:2].sum(1) == pytest.approx(1, abs=1e-5)


def test_a_cell_is_called_the_same_alone_and_in_a_crowd(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = Slide(SlideSpec(seed=4))
    boxes = np.array([cell.box for cell in slide.truth(0)], np.float32)[:40]
    field = Field(slide.render(0), None, (0.0, 0.0), 1.0)
    classifier, cells = CellClassifier(network), unsaid(boxes)
    together, _ = classifier(field, cells)
    monkeypatch.setattr(classify, "BATCH", 1)
    alone, _ = classifier(field, cells)
    assert np.allclose(together, alone, atol=1e-4)
    assert together.sum(1) == pytest.approx(1, abs=1e-4)


def test_a_field_without_cells_is_classified(network: Network) -> None:
    field = Field(np.zeros((64, 64, 3), np.uint8), None, (0.0, 0.0), 1.0)
    found, label = CellClassifier(network)(field, unsaid(np.zeros((0, 4), np.float32)))
    assert found.shape == (0, len(CLASSES))
    assert len(label) == 0


def test_the_other_views_are_the_seven_turns_and_mirror_images() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    mirrored = pictures[:, :, ::-1]
    expected = [np.rot90(pictures, k, (1, 2)) for k in (1, 2, 3)]
    expected += [mirrored, *(np.rot90(mirrored, k, (1, 2)) for k in (1, 2, 3))]
    assert np.array_equal(classify._other_views(pictures), np.concatenate(expected))
