"""What a scan leaves out: leftovers and copies. No cell counts twice, and each file that is not read is named."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from edge.batch.inputs import copies_apart, find_files
from edge.batch.scan import scan
from edge.camera.image_files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from edge.camera.input_files import _OTHER_PICTURES, Leftover, search
from edge.cli.main import app
from edge.config.model import Config
from edge.system.spreadsheet import inert_text
from tests.edge.batch.test_scan import lines, smear, video

FIELDS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of three different fields."""
    folder = tmp_path / "slide"
    folder.mkdir()
    for i in range(FIELDS):
        cv2.imwrite(str(folder / f"IMG_{i}.png"), smear(i))
    return folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".thumbnails/17.png", "system_folder"), (".Trash-1000/files/IMG.png", "system_folder"),
        ("@eaDir/IMG.png/SYNOFILE_THUMB_M.png", "system_folder"), ("#recycle/IMG.png", "system_folder"),
        ("$RECYCLE.BIN/S-1/IMG.png", "system_folder"), ("__MACOSX/IMG.png", "system_folder"),
        ("@Recycle/IMG.png", "system_folder"), ("LOST.DIR/IMG.png", "system_folder"),
        ("System Volume Information/IMG.png", "system_folder"), ("Thumbs/IMG.png", "system_folder"),
        ("Cestino/IMG.png", "system_folder"), ("ゴミ箱/IMG.png", "system_folder"),
        ("iPod Photo Cache/F00/IMG.png", "system_folder"), ("AVCHD/THMBNL/IMG.png", "system_folder"),
        ("TRASH/IMG.png", "system_folder"), (".trashed-1700-IMG.png", "hidden"), ("._IMG.png", "hidden"),
        (".stversions/IMG.png", "hidden"), ("IMG.png.crdownload", "partial_download"),
        ("IMG.png.part", "partial_download"),
        ("IMG.zip", "archive"), ("IMG.CR2", "unsupported_picture"), ("notes.txt", "no_picture"),
    ],
)  # fmt: skip
def test_leftovers_of_devices_and_programs_are_left_out_and_named(tmp_path: Path, name: str, reason: str) -> None:
    """Leftovers in folders: deleted pictures, previews, bookkeeping, unfinished downloads."""
    (tmp_path / "IMG_1.png").touch()
    leftover = tmp_path / name
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.touch()
    found = search([tmp_path])
    assert list(found.files) == [tmp_path / "IMG_1.png"]
    assert [(one.path, one.reason) for one in found.left_out] == [(leftover, Leftover(reason))]
    # The folder or file itself, given by name, is meant.
    assert list(search([leftover]).files) == [leftover]


def test_links_are_read_once_and_named(folder: Path) -> None:
    """Copies in folders: the same file under another name."""
    (folder / "link.png").symlink_to(folder / "IMG_0.png")
    (folder / "broken.png").symlink_to(folder / "gone.png")
    (folder / "sub").symlink_to(folder.parent)
    found = search([folder])
    assert len(found.files) == FIELDS
    assert {one.path.name: one.reason.value for one in found.left_out} == {
        "link.png": "link", "broken.png": "not_accessible", "sub": "link"
    }  # fmt: skip


def test_the_same_bytes_are_read_once(folder: Path, tmp_path: Path) -> None:
    """Copies in folders: byte-identical files, hard links too."""
    shutil.copy(folder / "IMG_0.png", folder / "IMG_0 (1).png")
    os.link(folder / "IMG_1.png", folder / "IMG_1 (1).png")
    summary = scan([folder], tmp_path / "a", Config(), no_quality_gate=True)
    assert (summary.inputs, summary.left_out["duplicate"]) == (FIELDS, 2)
    assert {Path(str(one.instead)).name for one in summary.left_out_files} == {"IMG_0.png", "IMG_1.png"}
    both = scan([folder], tmp_path / "b", Config(), no_quality_gate=True, keep_duplicates=True)
    assert both.inputs == FIELDS + 2


EDITS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "jpeg.jpg": lambda a: a,
    "webp.webp": lambda a: a,
    "half.png": lambda a: cv2.resize(a, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "small.jpg": lambda a: cv2.resize(a, (160, 120), interpolation=cv2.INTER_AREA),
    "turned.png": lambda a: np.rot90(a).copy(),
    "mirrored.png": lambda a: a[:, ::-1].copy(),
    "grey.png": lambda a: cv2.cvtColor(a, cv2.COLOR_BGR2GRAY),
    "brighter.png": lambda a: cv2.convertScaleAbs(a, alpha=0.9, beta=10),
}


def test_a_copy_of_a_picture_counts_nothing_and_is_told(folder: Path, tmp_path: Path) -> None:
    """Copies in folders: re-encoded, resized, turned and edited pictures."""
    for name, edit in EDITS.items():
        cv2.imwrite(str(folder / f"copy {name}"), edit(smear(0)))
    found = copies_apart(find_files([folder]), 64, by_picture=True)
    assert {path.name for path in (*found.copies, *found.copies.values())} == {
        "IMG_0.png", *(f"copy {name}" for name in EDITS)
    }  # fmt: skip
    plain = scan([folder / f"IMG_{i}.png" for i in range(FIELDS)], tmp_path / "a", Config(), no_quality_gate=True)
    copied = scan([folder], tmp_path / "b", Config(), no_quality_gate=True)
    assert copied.by_class == plain.by_class
    assert copied.area_mm2 == plain.area_mm2
    assert copied.fields_repeated == len(EDITS) - sum(copied.rejected.values()) >= len(EDITS) - 1
    assert "copies" in copied.verdict.flags
    assert copied.fields_repeated == sum(line["copy_of"] is not None for line in lines(tmp_path / "b"))


def test_a_copy_counts_where_its_larger_one_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    """Copies in folders: of a picture that is refused, the next one counts, and no cell is lost."""
    large = cv2.resize(smear(0), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(folder / "IMG_0_blurred.png"), cv2.GaussianBlur(large, (0, 0), 5))
    plain = scan([folder / f"IMG_{i}.png" for i in range(FIELDS)], tmp_path / "a", Config())
    copied = scan([folder], tmp_path / "b", Config())
    assert copied.rejected["out_of_focus"] == plain.rejected["out_of_focus"] + 1
    assert copied.by_class == plain.by_class
    assert copied.fields_repeated == 0


def test_no_copy_lifts_a_result_that_is_insufficient(folder: Path, tmp_path: Path) -> None:
    """Copies in folders: smaller copies of too few cells are still too few."""
    for i in range(FIELDS):
        for quality in (60, 90):
            small = cv2.resize(smear(i), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"sent_{i}_{quality}.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    config = Config.model_validate({"screening": {"min_red_cells": 150, "target_red_cells": 200}})
    assert scan([folder], tmp_path / "a", config, no_quality_gate=True).verdict.status == "insufficient"
    counted = scan([folder], tmp_path / "b", config, no_quality_gate=True, keep_duplicates=True)
    assert counted.verdict.status == "reported"


def test_what_is_left_out_does_not_hang_on_the_order_of_the_files(folder: Path, tmp_path: Path) -> None:
    """Copies in folders: the largest is read wherever it stands."""
    small = cv2.resize(smear(0), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "A.png"), small)
    cv2.imwrite(str(folder / "Z.jpg"), smear(0))
    given = sorted(folder.iterdir())
    forwards = scan(given, tmp_path / "a", Config(), no_quality_gate=True)
    backwards = scan(given[::-1], tmp_path / "b", Config(), no_quality_gate=True)
    assert forwards.by_class == backwards.by_class
    assert forwards.fields_repeated == backwards.fields_repeated == 2
    for out in (tmp_path / "a", tmp_path / "b"):
        found = {Path(line["image"]).name: line["copy_of"] and Path(line["copy_of"]).name for line in lines(out)}
        assert found == {"IMG_0.png": None, "A.png": "IMG_0.png", "Z.jpg": "IMG_0.png", "IMG_1.png": None,
                         "IMG_2.png": None}  # fmt: skip


def test_a_shifted_second_shot_is_no_copy(tmp_path: Path) -> None:
    for i, shift in enumerate((0, 12)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.roll(smear(), shift, axis=1))
    assert scan([tmp_path], tmp_path / "out", Config(), no_quality_gate=True).inputs == 2


def test_the_film_of_a_live_photo_is_left_out(folder: Path, tmp_path: Path) -> None:
    """Copies in folders: a phone keeps a short film beside a still picture."""
    video(folder / "clip.avi", 3).rename(folder / "img_0.mov")
    video(folder / "clip.avi", 3)
    summary = scan([folder], tmp_path / "out", Config(), no_quality_gate=True)
    assert [(Path(one.file).name, one.reason.value) for one in summary.left_out_files] == [("img_0.mov", "live_photo")]


def test_each_input_has_its_cause_in_words_in_every_place(folder: Path, tmp_path: Path) -> None:
    """Reasons: a file that is not counted is named with its cause in terminal, report, lines and summary."""
    (folder / "empty.jpg").touch()
    (folder / "gif.jpg").write_bytes(b"GIF89a" + bytes(400))
    (folder / "IMG_0.png.part").touch()
    shutil.copy(folder / "IMG_1.png", folder / "copy.png")
    out = tmp_path / "out"
    answer = CliRunner().invoke(app, ["scan", str(folder), "--out", str(out), "--no-quality-gate"])
    causes = {Path(line["image"]).name: line["rejected"]["cause"] for line in lines(out) if line["rejected"]}
    assert causes["empty.jpg"] == "it is empty (0 bytes)"
    assert "it is a GIF" in causes["gif.jpg"]
    summary = json.loads((out / "summary.json").read_text())
    assert {Path(one["file"]).name for one in summary["left_out_files"]} == {"copy.png", "IMG_0.png.part"} or (
        {Path(one["file"]).name for one in summary["left_out_files"]} == {"IMG_1.png", "IMG_0.png.part"}
    )
    page = (out / "report.html").read_text("utf-8")
    for words in ("it is empty", "it is a GIF", "a download or copy that has not ended", "a copy of a picture"):
        assert words in " ".join(answer.stderr.split()), answer.stderr
        assert words in page


def test_what_libraries_say_of_a_file_stands_with_its_name_alone(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Reasons: a library's line without the name of the file helps nobody."""
    whole = {suffix: cv2.imencode(suffix, smear(9))[1].tobytes() for suffix in (".png", ".jp2", ".webp", ".jpg")}
    for suffix, data in whole.items():
        (folder / f"cut{suffix}").write_bytes(data[: len(data) // 2])
    (folder / "img_0.mov").write_bytes(b"no film, beside a picture of that name")
    scan([folder], tmp_path / "out", Config(), no_quality_gate=True)
    assert capfd.readouterr().err == ""
    causes = {
        Path(line["image"]).name: line["rejected"]["cause"] for line in lines(tmp_path / "out") if line["rejected"]
    }
    assert causes.keys() == {"cut.png", "cut.jp2", "cut.webp", "cut.jpg"}  # The film is left out beside its picture.
    assert causes["cut.png"].endswith(": libpng error: PNG input buffer is incomplete")
    assert causes["cut.jp2"].endswith(": OpenJPEG2000: Decoding is failed")


def test_no_kind_is_both_read_and_left_out() -> None:
    """Reasons: a kind that is read is not called one that is not."""
    assert not _OTHER_PICTURES & (IMAGE_SUFFIXES | VIDEO_SUFFIXES)


@pytest.mark.parametrize("name", ["=cmd.png", "+1.png", "-1.png", "@SUM.png", "\tx.png", "\uff1dx.png", " =x.png"])
def test_no_name_is_a_formula_in_cells_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Formulas in CSV files: names of pictures that a table program would run (CWE-1236)."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite(str(tmp_path / "x.png"), smear())
    Path("x.png").rename(name)
    scan([name], tmp_path / "out", Config(), no_quality_gate=True)
    with (tmp_path / "out" / "cells.csv").open(newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {f"'{name}"}
    assert inert_text("slides/=x.png") == "slides/=x.png"
