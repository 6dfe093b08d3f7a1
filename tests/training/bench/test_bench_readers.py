"""Readers of the bench on the layouts in which sets were published, and on label files that name what is not there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch not installed (make test-training)")
pytest.importorskip("imagehash", reason="imagehash not installed (make test-training)")

from tests.training.bench.test_bench_sets import draw
from training.bench.datasets import cell_images, registry
from training.data.datasets import DataError

pytestmark = pytest.mark.training


def test_elsafty_crops_belong_to_their_slide(tmp_path: Path) -> None:
    crops = tmp_path / "Elsafty_RBCs_for_Classification/Cropped images"
    for i, name in enumerate(("01 Normal/001-02-10_20_80_80.png", "01 Normal/1-3.png", "07 Sickle/Slide 12-1.png")):
        draw(crops / name, i)
    found = registry.read("elsafty", tmp_path).samples
    assert [(s.label, s.group) for s in found] == [
        ("01 Normal", "slide 1"),
        ("01 Normal", "slide 1"),
        ("07 Sickle", "slide 12"),
    ]
    draw(crops / "07 Sickle/nameless.png", 9)
    with pytest.raises(DataError, match=r"nameless\.png: the name of an Elsafty crop begins with the number"):
        registry.read("elsafty", tmp_path)


def test_chula_as_published(tmp_path: Path) -> None:
    draw(tmp_path / "Dataset/1.jpg", 1, 200)
    labels = tmp_path / "Label/1.txt"
    labels.parent.mkdir()
    labels.write_text("100 100 0\n20 30 9\n50 50 10\n")
    found = registry.read("chula_rbc12", tmp_path).samples
    assert [(s.label, s.group, s.fold, s.box) for s in found] == [
        ("normal", "1", -1, (52, 52, 148, 148)),
        ("schistocyte", "1", -1, (0, 0, 68, 78)),
    ]
    labels.write_text("100 100 13\n")
    with pytest.raises(DataError, match=r"1\.jpg hold class 13; 0 to 12 expected"):
        registry.read("chula_rbc12", tmp_path)
    labels.unlink()
    with pytest.raises(DataError, match=r"1\.txt"):
        registry.read("chula_rbc12", tmp_path)


def test_uganda_as_published_leaves_the_drawn_boxes_out(tmp_path: Path) -> None:
    for i, name in enumerate(("Positive/Unlabelled/1.jpg", "Positive/Labelled/1.jpg", "Negative/Clear/1.jpg")):
        draw(tmp_path / name, i)
    found = registry.read("uganda_scd", tmp_path).samples
    assert [(s.path.parent.name, s.label, s.group) for s in found] == [
        ("Unlabelled", "positive", "positive/1"),
        ("Clear", "negative", "negative/1"),
    ]


def idb_sample(folder: Path, patches: dict[str, tuple[int, int, int, int]]) -> None:
    """Write a sample of erythrocytesIDB: its picture, and a mask for each class that has a patch."""
    draw(folder / "source.jpg", 1, 120)
    whole = np.zeros((120, 120), np.uint8)
    for label, (x0, y0, x1, y1) in patches.items():
        mask = np.zeros_like(whole)
        mask[y0:y1, x0:x1] = whole[y0:y1, x0:x1] = 255
        assert cv2.imwrite(str(folder / f"mask-{label}.jpg"), mask)
    assert cv2.imwrite(str(folder / "mask.jpg"), whole)


@pytest.mark.parametrize("number", [2, 3])
def test_idb_fields_by_their_masks_and_sample_37_by_its_contours(number: int, tmp_path: Path) -> None:
    name, places = f"erythrocytes_idb{number}", tmp_path / f"erythrocytesIDB{number}"
    patches = {"circular": (8, 8, 40, 40), "elongated": (48, 48, 64, 96), "other": (80, 16, 104, 40)}
    idb_sample(places / f"01erythrocytesIDB{number}", patches)
    odd = places / f"37erythrocytesIDB{number}"
    idb_sample(odd, {k: v for k, v in patches.items() if k != "circular"})
    with pytest.raises(DataError, match=r"37.*mask-circular\.jpg cannot be read, and there is no ground\.csv"):
        registry.read(name, tmp_path)
    (odd / "ground.csv").write_text("0,8,8,39,8,39,39\n1,48,48,63,48,63,95\n")
    found = registry.read(name, tmp_path)
    by_mask = [s for s in found.samples if s.group.startswith("01")]
    assert [s.label for s in by_mask] == list(patches)
    for cell in by_mask:
        assert cell.box == pytest.approx(patches[cell.label], abs=1)  # a JPEG blurs the rim of a mask
    by_contour = [s for s in found.samples if s.group.startswith("37")]
    assert [(s.label, s.box) for s in by_contour] == [("circular", (8, 8, 40, 40)), ("elongated", (48, 48, 64, 96))]
    assert [s.mask.name for s in by_contour if s.mask] == ["mask.jpg", "mask-elongated.jpg"]
    read = cell_images.pictures(found.samples, 24)
    assert read.shape == (5, 24, 24, 3)


def test_labels_of_absent_pictures_are_named(tmp_path: Path) -> None:
    wbc = tmp_path / "wbc"
    draw(wbc / "Original_Images/BloodImage_00000.jpg", 1)
    (wbc / "labels.csv").write_text("Image,Category\n0,EOSINOPHIL\n7,MONOCYTE\n")
    with pytest.raises(DataError, match=r"labels\.csv names 1 pictures that are not there: .*BloodImage_00007\.jpg"):
        registry.read("wbc_four_types", wbc)
    xu = tmp_path / "xu"
    xu.mkdir()
    (xu / "cells.csv").write_text("path,label,donor\noval/a.png,oval,A\n")
    with pytest.raises(DataError, match=r"cells\.csv names 1 pictures that are not there: .*a\.png"):
        registry.read("sickle_rbc_xu2017", xu)
    uganda = tmp_path / "uganda"
    draw(uganda / "positive/1.jpg", 1)
    (uganda / "sickle_boxes.csv").write_text("path,x0,y0,x1,y1,partial\n")
    rows = "".join(f"{k}/1.jpg,{k},g{i},0\n" for i, k in enumerate(("positive", "negative")))
    (uganda / "fields.csv").write_text("path,label,field_group,fold\n" + rows)
    with pytest.raises(DataError, match=r"negative/1\.jpg is named by the labels of uganda_scd but not found"):
        registry.read("uganda_scd", uganda)
