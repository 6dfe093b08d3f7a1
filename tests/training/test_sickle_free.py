"""The sets without labels of single cells: what is read, and what is wrong with them, by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.training.training_parts import write
from training.data.datasets import DataError, LabelledField
from training.data.sickle_free import each_picture_once, read_chula_diseases, read_chula_unlabelled, read_krd

TABLES = {
    "krd_wbc/fields.csv": "path,colour_group,fold,wbc\nimages/a.jpg,k0,0,Monocyte\nimages/b.jpg,k1,2,Neutrophil\n",
    "chula_rbc12/diseases.csv": "path,disease,series_group,fold\ndiseases/a.jpg,spherocytosis,d_hs,0\n",
    "chula_rbc12/unlabelled.csv": "path,series_group,fold\nunlabelled/a.jpg,s001,0\n",
}
PICTURES = (
    "krd_wbc/images/a.jpg",
    "krd_wbc/images/b.jpg",
    "chula_rbc12/diseases/a.jpg",
    "chula_rbc12/unlabelled/a.jpg",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of the three sets, each picture another grey."""
    for grey, name in enumerate(PICTURES, start=1):
        write(tmp_path / name, np.full((8, 8, 3), 20 * grey, np.uint8))
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def everything(root: Path) -> list[LabelledField]:
    return [*read_krd(root), *read_chula_diseases(root), *read_chula_unlabelled(root)]


def test_every_picture_is_read_with_its_group_fold_and_label(root: Path) -> None:
    found = [(f.dataset, f.path.name, f.group, f.fold, f.label) for f in each_picture_once(everything(root))]
    assert found == [
        ("krd_wbc", "a.jpg", "k0", 0, "negative"),
        ("krd_wbc", "b.jpg", "k1", 2, "negative"),
        ("chula_diseases", "a.jpg", "d_hs", 0, "spherocytosis"),
        ("chula_unlabelled", "a.jpg", "s001", 0, "negative"),
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "said", "reader"),
    [
        ("krd_wbc/fields.csv", "Monocyte", "Monozyt", "'Monozyt'; expected one of Basophil", read_krd),
        ("krd_wbc/fields.csv", "k1,2", ",2", "b.jpg of krd_wbc has no group", read_krd),
        ("krd_wbc/fields.csv", "k1,2", "k1,two", "fold is no number", read_krd),
        ("krd_wbc/fields.csv", "images/b.jpg", "images/gone.jpg", "gone.jpg is named by the labels", read_krd),
        ("chula_rbc12/diseases.csv", "spherocytosis", "hs", "'hs'; expected one of ellipto", read_chula_diseases),
        ("chula_rbc12/unlabelled.csv", "series_group", "series", "series_group expected", read_chula_unlabelled),
    ],
)
def test_what_is_wrong_with_a_table_is_named(
    root: Path, name: str, old: str, new: str, said: str, reader: Callable[[Path], list[LabelledField]]
) -> None:
    (root / name).write_text(TABLES[name].replace(old, new))
    with pytest.raises(DataError, match=said):
        reader(root)


def test_a_picture_in_two_sets_is_refused_by_name(root: Path) -> None:
    shutil.copy(root / PICTURES[0], root / PICTURES[2])
    with pytest.raises(DataError, match=r"diseases/a\.jpg of group d_hs is the same picture as .*images/a\.jpg"):
        each_picture_once(everything(root))


def test_a_picture_twice_in_one_group_is_read_once(root: Path) -> None:
    (root / "krd_wbc/fields.csv").write_text(TABLES["krd_wbc/fields.csv"].replace("k1,2", "k0,0"))
    shutil.copy(root / PICTURES[0], root / PICTURES[1])
    assert [f.path.name for f in each_picture_once(read_krd(root))] == ["a.jpg"]


def test_a_picture_listed_twice_or_called_two_names_is_refused(root: Path) -> None:
    table = root / "chula_rbc12/diseases.csv"
    table.write_text(TABLES["chula_rbc12/diseases.csv"] + "diseases/a.jpg,spherocytosis,d_hs,0\n")
    with pytest.raises(DataError, match=r"a\.jpg is listed twice"):
        each_picture_once(read_chula_diseases(root))
    shutil.copy(root / PICTURES[2], root / "chula_rbc12/diseases/b.jpg")
    table.write_text(TABLES["chula_rbc12/diseases.csv"] + "diseases/b.jpg,elliptocytosis,d_hs,0\n")
    with pytest.raises(DataError, match=r"b\.jpg is called elliptocytosis, and .*a\.jpg, the same picture, sphero"):
        each_picture_once(read_chula_diseases(root))


@pytest.mark.parametrize("text", [b"path,series_group,fold\n", b"path,series_group,fold\n\xe9.jpg,s001,0\n"])
def test_a_table_without_pictures_or_of_another_encoding_is_named(root: Path, text: bytes) -> None:
    (root / "chula_rbc12/unlabelled.csv").write_bytes(text)
    with pytest.raises(DataError, match=r"unlabelled\.csv (names no picture|no UTF-8 text)"):
        read_chula_unlabelled(root)


def test_a_group_in_two_folds_is_refused(root: Path) -> None:
    (root / "krd_wbc/fields.csv").write_text(TABLES["krd_wbc/fields.csv"].replace("k1,2", "k0,2"))
    with pytest.raises(DataError, match="of group k0 and of folds 2 and 0"):
        each_picture_once(read_krd(root))
