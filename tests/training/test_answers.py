"""Answers by eye: what is kept, what is refused, and that nothing is left half-written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.training_parts import write
from training.data import answers
from training.data.answers import Place, keep, numbers, read_index, sheet, with_answers, write_index
from training.data.datasets import DataError, LabelledField, digest

PLACES = [Place("krd_wbc", "aaaa", 10.0, 20.0, 0.1), Place("krd_wbc", "bbbb", 30.0, 40.0, 0.1)]


def field(path: Path, dataset: str = "krd_wbc") -> LabelledField:
    boxes = np.zeros((0, 4), np.float32)
    return LabelledField(dataset, path, "k0", 0, "negative", boxes, np.zeros(0, int), np.zeros(0, bool),
                         np.zeros((0, 3), np.float32))  # fmt: skip


def test_answers_are_kept_and_a_later_one_replaces_an_earlier(tmp_path: Path) -> None:
    file = tmp_path / "artefacts.csv"
    assert keep(PLACES, numbers("none 1-2"), file) == 2
    assert keep(PLACES, numbers("cell 2"), file) == 2
    assert file.read_text() == "set,picture,x,y,answer\nkrd_wbc,aaaa,10.0,20.0,none\nkrd_wbc,bbbb,30.0,40.0,cell\n"


@pytest.mark.parametrize("said", ["none 3", "dirt 1", "none 1 x", "none 0"])
def test_an_answer_that_cannot_be_changes_nothing(tmp_path: Path, said: str) -> None:
    file = tmp_path / "artefacts.csv"
    keep(PLACES, {1: "open"}, file)
    before = file.read_bytes()
    with pytest.raises(DataError, match="expected"):
        keep(PLACES, numbers(said), file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["artefacts.csv"]


def test_an_unknown_word_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "artefacts.csv"
    file.write_text("set,picture,x,y,answer\nkrd_wbc,aaaa,1.0,2.0,dirt\n")
    with pytest.raises(DataError, match=r"krd_wbc,aaaa,1\.0,2\.0,dirt"):
        answers.answers(file)


def test_answers_reach_the_field_of_their_very_file(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((9, 9, 3), 7, np.uint8))
    one, file = field(tmp_path / "a.png"), tmp_path / "artefacts.csv"
    keep([replace(PLACES[0], picture=digest(one.path)[:16])], {1: "none"}, file)
    assert with_answers([one], file)[0].answers == ((10.0, 20.0, "none"),)
    assert with_answers([field(tmp_path / "a.png", "uganda_scd")], file)[0].answers == ()


def test_answers_for_a_picture_that_is_gone_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((9, 9, 3), 7, np.uint8))
    keep(PLACES, {1: "none"}, tmp_path / "artefacts.csv")
    with pytest.raises(DataError, match="1 pictures that their sets do not hold, the first aaaa of krd_wbc"):
        with_answers([field(tmp_path / "a.png")], tmp_path / "artefacts.csv")


def test_a_sheet_shows_each_place_at_one_scale_and_its_index_names_them(tmp_path: Path) -> None:
    pixels = np.full((200, 200, 3), 255, np.uint8)
    pixels[90:110, 90:110] = (200, 0, 0)
    write(tmp_path / "a.png", pixels)
    places = [Place("krd_wbc", "a", 100.0, 100.0, um) for um in (0.25, 0.5)]
    drawn = sheet(places, {("krd_wbc", "a"): tmp_path / "a.png"})
    red = [(drawn[:120, x : x + 120, 1] < 60) & (drawn[:120, x : x + 120, 0] > 150) for x in (0, 124)]
    assert red[1].sum() == pytest.approx(4 * red[0].sum(), rel=0.2)
    write_index(places, tmp_path / "a.json")
    assert read_index(tmp_path / "a.json") == places
