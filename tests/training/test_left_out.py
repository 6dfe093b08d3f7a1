"""Figures of sets that a pair never saw: frozen denominator, pasted cells, other forms, and which half is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="torch not installed (make test-training)")

from edge.types import CLASSES, Floats
from tests.training.training_parts import rendered, write
from training.cli import app
from training.data.datasets import DataError, LabelledField
from training.evaluate.estimates import Figure
from training.evaluate.predictions import PredictedCells, Prediction
from training.evaluate.unseen import reference
from training.evaluate.unseen.left_out import Pair, in_half, log_look, of_negatives, of_pasted
from training.evaluate.unseen.reference import Paster, counted, freeze, name_of
from training.evaluate.unseen.robustness import compared

pytestmark = pytest.mark.training

NORMAL, SICKLE, DOUBT = (1.0, 0, 0, 0, 0, 0), (0, 1.0, 0, 0, 0, 0), (0.2, 0.6, 0.1, 0.1, 0, 0)


def field(path: Path, dataset: str = "krd_wbc", group: str = "k0", label: str = "negative") -> LabelledField:
    boxes = np.zeros((0, 4), np.float32)
    return LabelledField(dataset, path, group, 0, label, boxes, np.zeros(0, int), np.zeros(0, bool),
                         np.zeros((0, 3), np.float32))  # fmt: skip


def reading(*cells: tuple[tuple[float, ...], tuple[float, float]], gated: str | None = None) -> PredictedCells:
    """Return cells of 30 pixels, each with its probabilities and middle, in a picture of 300."""
    centres = np.array([at for _, at in cells], np.float32).reshape(-1, 2)
    prob = np.array([p for p, _ in cells], np.float32).reshape(-1, len(CLASSES))
    n = len(cells)
    return PredictedCells("a", (300, 300), 0.25, None, gated, np.concatenate([centres - 15, centres + 15], 1),
                          np.ones(n, np.float32), prob, np.zeros(n, bool), np.zeros(n, np.int8),
                          np.zeros(n, np.float32))  # fmt: skip


def same(points: Floats) -> Floats:
    return points


def test_rates_are_of_the_frozen_red_cells_whatever_is_found_now(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((9, 9, 3), 7, np.uint8))
    one = field(tmp_path / "a.png")
    seen = [Prediction(one, reading((SICKLE, (50, 50)), (DOUBT, (90, 90)), (NORMAL, (130, 130)), gated="blurred"))]
    figures = of_negatives(seen, {name_of(one): 2000}, 0.7)
    assert figures["false_calls"].value == 1 / 2000
    assert figures["false_calls_k0"].counted == "1 of 2000"
    assert figures["abstained"].counted == "1 of 2000"
    assert figures["red_cells"].counted == "3 of 2000"
    assert figures["fields_refused"].value == 1.0


def test_elliptocytosis_is_counted_apart(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((9, 9, 3), 7, np.uint8))
    write(tmp_path / "b.png", np.full((9, 9, 3), 8, np.uint8))
    ill = field(tmp_path / "a.png", "chula_diseases", "s037", "elliptocytosis")
    other = field(tmp_path / "b.png", "chula_rbc12", "s000")
    seen = [Prediction(ill, reading((SICKLE, (50, 50)))), Prediction(other, reading((NORMAL, (50, 50))))]
    figures = of_negatives(seen, {name_of(ill): 10, name_of(other): 40}, 0.7)
    assert figures["false_calls"].counted == "0 of 40"
    assert figures["false_calls_elliptocytosis"].counted == "1 of 10"


def test_a_picture_without_a_frozen_count_is_named(tmp_path: Path) -> None:
    write(tmp_path / "new.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"new\.png has no reference count"):
        counted([field(tmp_path / "new.png")], {})


def test_a_pasted_cell_is_called_offered_or_neither(tmp_path: Path) -> None:
    boxes = np.array([[30, 30, 70, 70], [100, 100, 140, 140], [200, 200, 240, 240]], np.float32)
    there = replace(field(tmp_path / "a.png"), boxes=boxes, partial=np.zeros(3, bool))
    seen = [Prediction(there, reading((SICKLE, (50, 50)), (DOUBT, (120, 120)), (NORMAL, (220, 220))))]
    figures = of_pasted(seen, 0.7)
    assert (figures["pasted_called"].counted, figures["pasted_offered"].counted) == ("1 of 3", "2 of 3")


def test_of_two_forms_of_a_picture_gone_new_and_missing_calls_count() -> None:
    first = reading((SICKLE, (50, 50)), (SICKLE, (120, 50)), (SICKLE, (190, 50)), (NORMAL, (50, 150)))
    second = reading((SICKLE, (50, 50)), (DOUBT, (120, 50)), (SICKLE, (50, 150)))
    assert compared(first, second, 0.7, same) == (2, 1, 4, 3)


def test_a_cell_that_the_edge_cuts_in_one_form_is_no_change() -> None:
    first = reading((SICKLE, (26, 50)))
    second = reading((SICKLE, (26, 50)))
    second.border[:] = True
    assert compared(first, second, 0.7, same) == (0, 0, 1, 1)
    assert compared(reading((SICKLE, (16, 50))), reading(), 0.7, same) == (0, 0, 0, 0)


def test_halves_share_no_field_and_hold_all() -> None:
    fields = [field(Path(f"images/{i}.jpg")) for i in range(200)]
    chosen, judged = ({f.path for f in fields if in_half(f, half)} for half in ("choose", "judge"))
    assert not chosen & judged
    assert len(chosen | judged) == 200
    assert 70 < len(chosen) < 130


def test_frozen_cells_are_pasted_at_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "COUNTS", tmp_path / "counts.csv")
    monkeypatch.setattr(reference, "PASTED", tmp_path / "pasted.csv")
    pixels, cells = rendered(3, 300, sickle_fraction=1.0, cells_per_mm2=4000)
    write(tmp_path / "home.png", pixels)
    write(tmp_path / "empty.png", np.full((300, 300, 3), pixels.max((0, 1)), np.uint8))
    sickle = [c for c in cells if c.class_name == "sickle" and c.fully_visible]
    boxes = np.array([c.box for c in sickle], np.float32)
    home = replace(field(tmp_path / "home.png", "uganda_scd", "g0", "positive"), boxes=boxes,
                   partial=np.zeros(len(sickle), bool))  # fmt: skip
    sources = [Prediction(home, reading(*((SICKLE, (c.x, c.y)) for c in sickle)))]
    target = field(tmp_path / "empty.png")
    faint = replace(reading((NORMAL, (150, 150))), score=np.array([0.3], np.float32))
    freeze([Prediction(target, faint)], sources, 0.7)
    paster = Paster([home])
    (labelled,) = paster.labelled([target])
    there = paster.picture(labelled)
    assert len(labelled.boxes) == 3
    for x0, y0, x1, y1 in labelled.boxes.astype(int):
        assert np.ptp(there[y0:y1, x0:x1].astype(int), axis=(0, 1)).max() > 15
        there[y0:y1, x0:x1] = there[0, 0]
    assert np.ptp(there.astype(int), axis=(0, 1)).max() == 0
    with pytest.raises(DataError, match="which uganda_scd does not hold"):
        Paster([]).labelled([target])


def test_the_frozen_files_are_of_the_same_pictures() -> None:
    counts = reference.reference_counts()
    pasted = reference.pasted_cells()
    assert len(counts) > 1000
    assert set(pasted) <= set(counts)


def test_the_half_that_judges_is_looked_at_only_with_a_log(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["left-out", "--out", str(tmp_path), "--half", "judge"])
    assert result.exit_code != 0
    assert "--log" in result.output
    result = CliRunner().invoke(app, ["left-out", "--out", str(tmp_path), "--models", str(tmp_path)])
    assert "detector.int8.cpu.onnx" in result.output


def test_every_look_is_a_line(tmp_path: Path) -> None:
    for role in ("d", "c"):
        (tmp_path / role).write_text(role)
    pair, page = Pair(tmp_path / "d", tmp_path / "c"), tmp_path / "log.md"
    figures = {"krd_wbc": {"false_calls": Figure(0.01, 0.0, 0.02, "1 of 100")}}
    for _ in range(2):
        log_look(page, pair, ["krd_wbc"], "judge", figures)
    lines = [line for line in page.read_text().splitlines() if "1.00 % (1 of 100)" in line]
    assert len(lines) == 2
    assert "krd_wbc, judge" in lines[0]
