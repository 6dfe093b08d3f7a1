"""A training that is stopped goes on where it was, and ends with the very weights of one that was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch not installed (make test-training)")

from edge.errors import ModelError  # noqa: E402
from tests.training.training_parts import one_thread, rendered  # noqa: E402, F401  one_thread is a fixture
from training.data.crops import STREAMS, Patches, allowed, not_sickle  # noqa: E402
from training.data.datasets import LabelledField  # noqa: E402
from training.data.fields import TrainingField  # noqa: E402
from training.fit import classifier, detector  # noqa: E402
from training.fit.unfinished import NOTHING_KEPT, Unfinished, forget_stages, stage  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

STEPS, STOPPED_AT = 5, 4


class StoppedError(Exception):
    """Somebody pressed Ctrl-C."""


def stop(step: int, _: float) -> None:
    if step == STOPPED_AT:
        raise StoppedError


def cells() -> Patches:
    rng = np.random.default_rng(0)
    names = ("sickle", "negative", "artefact")
    n = len(names) * 4
    may = np.stack([allowed("sickle"), not_sickle(), allowed("artefact")] * 4)
    stream = np.array([STREAMS.index(name) for name in names] * 4)
    return Patches(rng.integers(0, 255, (n, 96, 96, 3), dtype=np.uint8), may, stream, np.ones(n, np.float32),
                   np.zeros(n, int), np.arange(n))  # fmt: skip


def fields() -> list[TrainingField]:
    pixels, found = rendered(1, 160)
    boxes = np.array([cell.box for cell in found], np.float32)
    none = np.zeros((0, 4), np.float32)
    source = LabelledField("txl_pbc", Path("a"), "a", -1, "train", boxes, np.zeros(len(boxes), int),
                           np.zeros(len(boxes), bool), np.zeros((0, 3), np.float32))  # fmt: skip
    return [TrainingField(source, pixels, boxes, np.zeros(len(boxes), int), none, 1.0)]


def taught_classifier(progress: Callable[[int, float], None], unfinished: Unfinished) -> Any:
    shares = dict.fromkeys(STREAMS, 2)
    return classifier.train(cells(), STEPS, 3, shares=shares, progress=progress, twice=2, unfinished=unfinished)


def taught_detector(progress: Callable[[int, float], None], unfinished: Unfinished) -> Any:
    return detector.train([fields()], [1], STEPS, 3, progress=progress, unfinished=unfinished)


@pytest.mark.parametrize("train", [taught_classifier, taught_detector])
def test_a_stopped_training_ends_as_one_that_was_never_stopped(
    train: Callable[[Callable[[int, float], None], Unfinished], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (classifier, detector):
        monkeypatch.setattr(module, "KEPT_EVERY", 2)
    monkeypatch.setattr(classifier, "MINED_EVERY", 1)
    kept, steps = Unfinished(tmp_path / "unfinished.pt"), list[int]()
    with pytest.raises(StoppedError):
        train(stop, kept)
    again = train(lambda step, _: steps.append(step), kept).state_dict()
    whole = train(lambda *_: None, NOTHING_KEPT).state_dict()
    assert steps[0] > 1
    for name, weight in whole.items():
        assert torch.equal(weight, again[name]), name


def test_a_stage_that_is_finished_is_not_trained_again(tmp_path: Path) -> None:
    def never(_: Unfinished) -> Any:
        raise AssertionError

    def load(path: Path) -> Any:
        net = torch.nn.Linear(1, 1)
        net.load_state_dict(torch.load(path, weights_only=True))
        return net

    made = stage(tmp_path, "a-first", lambda _: torch.nn.Linear(1, 1), load)
    assert torch.equal(stage(tmp_path, "a-first", never, load).weight, made.weight)
    forget_stages(tmp_path, "a")
    assert not list(tmp_path.iterdir())


def test_a_damaged_state_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "unfinished.pt").write_bytes(b"cut short")
    with pytest.raises(ModelError, match=r"unfinished\.pt cannot be taken up: .* Delete it"):
        taught_detector(lambda *_: None, Unfinished(tmp_path / "unfinished.pt"))
