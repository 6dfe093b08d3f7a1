"""The bench's readers: each layout from a drawn copy, what a damaged one gets, and twins on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch not installed (make test-training)")
pytest.importorskip("imagehash", reason="imagehash not installed (make test-training)")

from training.bench.datasets import cell_images, registry, splits
from training.bench.datasets.near_duplicates import check_leaks, twins
from training.data.datasets import DataError

pytestmark = pytest.mark.training


def draw(path: Path, seed: int, side: int = 40) -> Path:
    """Write a picture that no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
    return path


def test_idb1_as_published_and_with_folds(tmp_path: Path) -> None:
    for i, label in enumerate(("circular", "elongated", "other")):
        draw(tmp_path / f"pub/individual cells/{label}/{i}.jpg", i)
        draw(tmp_path / f"ours/color/{label}/c{i}.jpg", i)
        draw(tmp_path / f"ours/mask/{label}/c{i}.tif", i)
    published = registry.read("erythrocytes_idb1", tmp_path / "pub")
    assert [(s.label, s.fold) for s in published.samples] == [("circular", -1), ("elongated", -1), ("other", -1)]
    rows = "".join(f"color/{label}/c{i}.jpg,{label},{i}\n" for i, label in enumerate(published.classes))
    (tmp_path / "ours/cells.csv").write_text("path,label,fold\n" + rows)
    ours = registry.read("erythrocytes_idb1", tmp_path / "ours")
    assert [s.fold for s in ours.samples] == [0, 1, 2]
    assert all(s.mask is not None and s.mask.is_file() for s in ours.samples)
    (tmp_path / "ours/color/other/c2.jpg").unlink()
    with pytest.raises(DataError, match=r"names 1 pictures that are not there: .*c2\.jpg"):
        registry.read("erythrocytes_idb1", tmp_path / "ours")


def test_idb2_takes_contours_and_else_masks(tmp_path: Path) -> None:
    for name in ("01erythrocytesIDB2", "37erythrocytesIDB2"):
        draw(tmp_path / name / "source.jpg", 1, 80)
        (tmp_path / name / "ground.csv").write_text("0,10,10,30,10,30,30\n1,40,40,60,45,50,70\n")
    found = registry.read("erythrocytes_idb2", tmp_path).samples
    assert [(s.label, s.box) for s in found[:2]] == [
        ("circular", (10, 10, 31, 31)),
        ("elongated", (40, 40, 61, 71)),
    ]
    (tmp_path / "37erythrocytesIDB2/ground.csv").write_text("7,1,2,3,4,5,6\n")
    with pytest.raises(DataError, match="line 1: a class 0 to 2"):
        registry.read("erythrocytes_idb2", tmp_path)


def test_donors_are_the_folds_of_xu2017(tmp_path: Path) -> None:
    for i, donor in enumerate(("A1", "A1", "B2")):
        draw(tmp_path / f"oval/{donor}_Im1_subImg{i}.png", i)
    assert [(s.group, s.fold) for s in registry.read("sickle_rbc_xu2017", tmp_path).samples] == [
        ("A1", 0),
        ("A1", 0),
        ("B2", 1),
    ]


def test_white_cells_of_two_types_are_left_out(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / f"Original_Images/BloodImage_{i:05d}.jpg", i)
    (tmp_path / "labels.csv").write_text('Image,Category\n0,EOSINOPHIL\n1,"EOSINOPHIL, MONOCYTE"\n2,MONOCYTE\n')
    assert [s.label for s in registry.read("wbc_four_types", tmp_path).samples] == ["eosinophil", "monocyte"]


def test_a_white_cell_is_cut_out_round_its_nucleus(tmp_path: Path) -> None:
    for i, (x, y) in enumerate([(60, 40), (250, 180)]):
        field = np.full((240, 320, 3), 220, np.uint8)
        cv2.circle(field, (320 - x, 120), 12, (150, 150, 200), -1)  # a red cell, BGR
        cv2.circle(field, (x, y), 15, (190, 60, 110), -1)
        (tmp_path / "Original_Images").mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / f"Original_Images/BloodImage_{i:05d}.jpg"), field)
    (tmp_path / "labels.csv").write_text("Image,Category\n0,EOSINOPHIL\n1,MONOCYTE\n")
    boxes = [s.box for s in registry.read("wbc_four_types", tmp_path).samples]
    assert boxes == [pytest.approx((22, 2, 98, 78), abs=2), pytest.approx((212, 142, 288, 218), abs=2)]


def test_bccd_boxes_of_pascal_voc(tmp_path: Path) -> None:
    draw(tmp_path / "BCCD/JPEGImages/a.jpg", 1)
    xml = tmp_path / "BCCD/Annotations/a.xml"
    xml.parent.mkdir()
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    xml.write_text(f"<annotation><object><name>RBC</name>{box}</object></annotation>")
    (cell,) = registry.read("bccd", tmp_path).samples
    assert (cell.label, cell.box) == ("RBC", (1, 2, 9, 8))
    xml.write_text("<annotation>")
    with pytest.raises(DataError, match="no Pascal VOC file"):
        registry.read("bccd", tmp_path)


def test_own_folder_takes_its_groups_from_folders_and_names(tmp_path: Path) -> None:
    draw(tmp_path / "sickle/slide7/1.png", 1)
    draw(tmp_path / "sickle/slide8_001.png", 2)
    draw(tmp_path / "normal/slide7_2.png", 3)
    found = {s.path.name: s.group for s in registry.find(str(tmp_path)).samples}
    assert found == {"1.png": "slide7", "slide8_001.png": "slide8", "slide7_2.png": "slide7"}


@pytest.mark.parametrize("name", sorted(registry.READERS))
def test_a_folder_that_holds_something_else_is_told_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("sea")
    with pytest.raises(DataError):
        registry.read(name, tmp_path)


def slides(root: Path, *, classes: int = 2, groups: int = 6) -> Path:
    for kind in range(classes):
        for group in range(groups):
            for i in range(2):
                draw(root / f"class{kind}/slide{group}/{i}.png", 100 * kind + 10 * group + i)
    return root


def test_no_group_is_on_two_sides_of_a_fold(tmp_path: Path) -> None:
    read = cell_images.load(str(slides(tmp_path)))
    parts = splits.divided(read, 0.2, 0)
    assert sorted(i for p in parts for i in p.test.tolist()) == list(range(24))
    for part in parts:
        sides = [set(read.groups[rows].tolist()) for rows in (part.train, part.check, part.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 6


def test_one_class_or_one_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two classes or more"):
        cell_images.load(str(slides(tmp_path / "a", classes=1)))
    with pytest.raises(DataError, match="one group"):
        cell_images.load(str(slides(tmp_path / "b", groups=1)))


def test_a_copy_on_the_other_side_of_a_split_is_named(tmp_path: Path) -> None:
    root = slides(tmp_path)
    assert twins(s.path for s in registry.find(str(root)).samples) == []
    original = cv2.imread(str(root / "class0/slide0/0.png"))
    copy = root / "class0/slide1/copy.png"
    assert original is not None
    cv2.imwrite(str(copy), np.rot90(original))
    read = cell_images.load(str(root))
    parts = splits.divided(read, 0.2, 0)
    apart = [p for p in parts if len({i in p.test for i, s in enumerate(read.source.samples)
             if s.path in (copy, root / "class0/slide0/0.png")}) == 2]  # fmt: skip
    if not apart:
        pytest.fail("the seed puts both slides on one side")
    with pytest.raises(DataError, match=r"slide0/0\.png and .*slide1/copy\.png"):
        check_leaks(read.source.name, read.source.samples, apart)


def through_an_eyepiece(path: Path, seed: int, light: float = 1.0) -> Path:
    rng = np.random.default_rng(seed)
    field = np.full((240, 240, 3), (230, 225, 235), np.uint8)
    for x, y in rng.integers(0, 240, (160, 2)).tolist():
        cv2.circle(field, (x, y), 3, (190, 150, 170), -1)
    seen = cv2.ellipse(np.zeros((240, 240), np.uint8), ((118, 100), (235, 260), 0), 1, -1)
    assert cv2.imwrite(str(path), (field * seen[..., None] * light).astype(np.uint8))
    return path


def test_fields_through_one_eyepiece_are_no_twins_for_its_disc(tmp_path: Path) -> None:
    fields = [through_an_eyepiece(tmp_path / f"{seed}.png", seed) for seed in range(12)]
    assert twins(fields) == []
    again = through_an_eyepiece(tmp_path / "again.png", 3, light=0.8)
    assert [(pair.first.name, pair.second.name) for pair in twins([*fields, again])] == [("3.png", "again.png")]
