"""`scan` from files to files: what is written, what is refused, and that nothing is ever half-written."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.batch.scan import scan
from edge.config.model import Config
from edge.errors import ConfigError, InputError, StorageError
from edge.types import CLASSES
from tests.schemas import check_written

FILES = {"fields.jsonl", "cells.csv", "summary.json", "report.html"}


def smear(seed: int = 0, discs: int = 40) -> np.ndarray:
    """Draw a field at 0.25 µm/px, BGR: round red cells 30 px wide on a bright ground, with a little noise."""
    rng = np.random.default_rng(seed)
    picture = np.full((480, 640, 3), (225, 228, 235), np.uint8)
    places = rng.permutation([(x, y) for x in range(30, 640, 46) for y in range(30, 480, 46)])[:discs]
    for x, y in places.tolist():
        cv2.circle(picture, (x, y), 15, (120, 110, 190), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, y), 5, (165, 160, 210), -1, cv2.LINE_AA)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        assert cv2.imwrite(str(folder / f"field{i}.png"), smear(i))
    return folder


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "fields.jsonl").read_text("utf-8").splitlines()]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder, hidden or not: files with their bytes, folders with None."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def test_files_are_the_public_contract(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (images / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    summary = scan([images], out, Config(), no_quality_gate=True)
    assert {path.name for path in out.iterdir()} == FILES
    for line in lines(out):
        check_written(line, "field")
    written = json.loads((out / "summary.json").read_text())
    check_written(written, "summary")
    assert written == summary.model_dump(mode="json", by_alias=True)
    assert list(lines(out)[0]) == [
        "image", "width", "height", "um_per_px", "scale_source", "rejected", "cells", "counts", "rbc",
        "sickle_fraction", "field_score", "copy_of",
    ]  # fmt: skip
    assert list(lines(out)[0]["cells"][0]) == ["box", "score", "class", "prob"]


def test_everything_adds_up_between_the_files(images: Path, tmp_path: Path) -> None:
    summary = scan([images], tmp_path / "out", Config(), no_quality_gate=True)
    read = lines(tmp_path / "out")
    assert len(read) == summary.fields_read == 3
    for line in read:
        named = [cell["class"] for cell in line["cells"]]
        assert line["counts"] == {
            **{name: named.count(name) for name in CLASSES},
            "abstained": named.count(None),
            "border": line["counts"]["border"],
        }
        assert line["rbc"] == sum(line["counts"][name] for name in ("normal", "sickle", "other"))
    assert summary.cells_seen == sum(sum(line["counts"].values()) for line in read) > 0
    assert summary.red_cells == sum(line["rbc"] for line in read)
    with (tmp_path / "out" / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells = [(line["image"], cell) for line in read for cell in line["cells"]]
    assert [(row["image"], row["class"], float(row["p_sickle"]), float(row["x0"])) for row in rows] == [
        (image, cell["class"] or "", cell["prob"]["sickle"], cell["box"][0]) for image, cell in cells
    ]


def test_boxes_are_in_pixels_of_the_given_image(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    cv2.imwrite(str(small), smear())
    cv2.imwrite(str(large), cv2.resize(smear(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    scan([small], tmp_path / "a", Config(), no_quality_gate=True, um_per_px=0.25)
    scan([large], tmp_path / "b", Config(), no_quality_gate=True, um_per_px=0.125)
    a, b = lines(tmp_path / "a")[0], lines(tmp_path / "b")[0]
    assert (a["scale_source"], a["um_per_px"], b["um_per_px"]) == ("configured", 0.25, 0.125)
    assert len(b["cells"]) == pytest.approx(len(a["cells"]), rel=0.15)  # drawn discs are no cells: a few are unsure
    widths = [np.median([cell["box"][2] - cell["box"][0] for cell in line["cells"]]) for line in (a, b)]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.1)


def test_what_cannot_be_read_is_a_line_and_the_scan_goes_on(images: Path, tmp_path: Path) -> None:
    (images / "field1b.jpg").write_bytes(b"no picture")
    seen: list[tuple[str, int, int]] = []
    summary = scan([images], tmp_path / "out", Config(), report=lambda *at: seen.append(at), no_quality_gate=True)
    line = lines(tmp_path / "out")[2]
    assert line["image"].endswith("field1b.jpg")
    assert line["rejected"]["reason"] == "unreadable"
    assert (line["width"], line["um_per_px"], line["cells"], line["field_score"]) == (0, None, [], 0.0)
    assert (summary.fields_read, summary.rejected["unreadable"], summary.complete) == (3, 1, True)
    assert seen[-1][1:] == (4, 4)


def test_when_nothing_could_be_read_the_files_say_why_and_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"text")
    with pytest.raises(InputError, match="none of the 2 files could be read") as caught:
        scan([tmp_path / "a.png", tmp_path / "b.jpg"], tmp_path / "out", Config())
    assert caught.value.exit_code == 3
    assert [line["rejected"]["reason"] for line in lines(tmp_path / "out")] == ["unreadable"] * 2


def test_a_folder_without_images_makes_no_output(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image or video"):
        scan([tmp_path / "empty"], tmp_path / "out", Config())
    assert not (tmp_path / "out").exists()


def test_a_second_scan_reads_no_drawings_of_the_first_and_leaves_none_of_them(images: Path) -> None:
    out = images / "results"
    scan([images], out, Config(), annotate=True)
    (out / "notes.txt").write_text("mine")
    (out / "annotated" / "mine.jpg").write_bytes(b"mine")
    drawn = sorted(path.name for path in (out / "annotated").iterdir())
    assert drawn == ["00001_field0.png.jpg", "00002_field1.png.jpg", "00003_field2.png.jpg", "mine.jpg"]
    assert scan([images], out, Config()).inputs == 3
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in (out / "annotated").iterdir()] == ["mine.jpg"]
    with pytest.raises(InputError, match="only pictures that an earlier scan drew"):
        scan([out / "annotated"], images / "other", Config())


def test_files_that_no_scan_wrote_are_not_overwritten(images: Path) -> None:
    (images / "cells.csv").write_text("labels of years")
    with pytest.raises(InputError, match=r"holds cells\.csv, which no scan wrote"):
        scan([images], images, Config())
    assert (images / "cells.csv").read_text() == "labels of years"


def test_out_that_is_a_file_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(StorageError, match="is a file; expected a folder"):
        scan([images], tmp_path / "out", Config())


@pytest.fixture
def keyboard() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Ignored where pytest runs in the background.
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("keyboard")
def test_ctrl_c_ends_the_scan_with_whole_results_of_what_was_read(images: Path, tmp_path: Path) -> None:
    def press(what: str, done: int, total: int) -> None:
        if what.endswith("field1.png") and done == 1:
            signal.raise_signal(signal.SIGINT)

    summary = scan([images], tmp_path / "out", Config(), report=press, no_quality_gate=True)
    assert (summary.complete, summary.inputs_done, summary.inputs, summary.fields_read) == (False, 2, 3, 2)
    assert [Path(line["image"]).name for line in lines(tmp_path / "out")] == ["field0.png", "field1.png"]
    assert "stopped early, after 2 of 3 files" in (tmp_path / "out" / "report.html").read_text()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("keyboard")
def test_a_scan_that_is_stopped_at_a_file_that_cannot_be_read_is_not_whole(images: Path, tmp_path: Path) -> None:
    """Stopped before any other was read, it said that no file could be read, and gave no result to go on from."""
    (images / "broken.png").write_bytes(b"")

    def press(what: str, done: int, total: int) -> None:
        if what.endswith("broken.png") and done == 0:
            signal.raise_signal(signal.SIGINT)

    summary = scan([images], tmp_path / "out", Config(), report=press, no_quality_gate=True)
    assert (summary.complete, summary.inputs_done, summary.inputs, summary.fields_read) == (False, 1, 4, 0)
    assert lines(tmp_path / "out")[0]["rejected"]["reason"] == "unreadable"


@pytest.mark.usefixtures("keyboard")
@pytest.mark.parametrize("earlier", [False, True])
def test_a_second_ctrl_c_leaves_everything_as_it_was(images: Path, tmp_path: Path, earlier: bool) -> None:
    def press(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    out = tmp_path / "out"
    if earlier:
        scan([images / "field2.png"], out, Config())
    before = tree(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        scan([images], out, Config(), report=press, annotate=True)
    assert tree(tmp_path) == before
    assert out.exists() == earlier


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse that a file grows beyond `size`, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 200, 9000, 20_000])
def test_a_full_disk_is_an_error_and_nothing_is_half_written(images: Path, tmp_path: Path, size: int) -> None:
    out = tmp_path / "out"
    scan([images / "field2.png"], out, Config())
    before = tree(tmp_path)
    with largest_file(size), pytest.raises(StorageError, match=r"out.* cannot be written: File too large") as caught:
        scan([images], out, Config(), annotate=True, no_quality_gate=True)
    assert caught.value.exit_code == 7
    assert tree(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_an_error(images: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        scan([images], images / "field0.png" / "out", Config())


def video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for i in range(frames):
        writer.write(smear(i))
    writer.release()
    return path


def test_frames_of_a_video_are_fields_of_one_sample(tmp_path: Path) -> None:
    summary = scan([video(tmp_path / "slide.avi", 4)], tmp_path / "out", Config(), no_quality_gate=True)
    read = lines(tmp_path / "out")
    assert [line["image"].rsplit("/", 1)[1] for line in read] == [f"slide.avi#{i}" for i in range(4)]
    assert [line["scale_source"] for line in read] == ["estimated", "locked", "locked", "locked"]
    assert len({line["um_per_px"] for line in read}) == 1
    assert summary.islands > 0


def test_each_image_has_a_scale_of_its_own(images: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(images / "large.png"), cv2.resize(smear(9), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    summary = scan([images], tmp_path / "out", Config(), no_quality_gate=True)
    assert [line["scale_source"] for line in lines(tmp_path / "out")] == ["estimated"] * 4
    assert summary.scale is not None
    assert summary.scale.highest == pytest.approx(2 * summary.scale.lowest, rel=0.15)
    assert {"scale_estimated", "insufficient"} <= set(summary.verdict.flags)
    assert summary.islands == summary.fields_repeated == 0


def test_a_video_that_breaks_gives_its_frames_and_one_rejected_field(tmp_path: Path) -> None:
    whole = video(tmp_path / "slide.avi", 12)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    summary = scan([whole], tmp_path / "out", Config(), no_quality_gate=True)
    assert summary.fields_read >= 3
    assert summary.rejected["unreadable"] == 1
    assert lines(tmp_path / "out")[-1]["image"] == str(whole)


def test_crops_are_one_cell_each(tmp_path: Path) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"cell{i}.png"), smear(i)[10:50, 10:50])
    summary = scan([tmp_path], tmp_path / "out", Config(), cells=True, um_per_px=0.25)
    for line in lines(tmp_path / "out"):
        assert [cell["box"] for cell in line["cells"]] == [[0, 0, 40, 40]]
        assert line["counts"]["border"] == 0
    assert summary.cells_seen == 3
    assert summary.settings["reading"] == "one cell an image"


def test_border_cells_are_excluded_unless_asked_for(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "cut.png"), np.ascontiguousarray(smear(discs=130)[30:400, 30:500]))
    config = Config.model_validate({"quality": {"gate": False}, "optics": {"um_per_px": 0.25}})
    without = scan([tmp_path / "cut.png"], tmp_path / "a", config)
    kept = scan([tmp_path / "cut.png"], tmp_path / "b", config, keep_border=True)
    assert without.excluded["border"] > 10
    assert kept.excluded["border"] == 0
    assert kept.cells_seen == without.cells_seen


def test_rejected_fields_are_read_when_the_gate_is_off(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "dark.png"), (smear() * 0.05).astype(np.uint8))
    gated = scan([tmp_path / "dark.png"], tmp_path / "a", Config(), um_per_px=0.25)
    assert (gated.fields_read, gated.rejected["under_exposed"]) == (0, 1)
    assert lines(tmp_path / "a")[0]["rejected"]["value"] < lines(tmp_path / "a")[0]["rejected"]["limit"]
    ungated = scan([tmp_path / "dark.png"], tmp_path / "b", Config(), um_per_px=0.25, no_quality_gate=True)
    assert ungated.fields_read == 1


@pytest.mark.parametrize("value", [0.0, 7.5, float("nan")])
def test_a_scale_that_cannot_be_is_refused_before_writing(images: Path, tmp_path: Path, value: float) -> None:
    with pytest.raises(ConfigError, match="expected 'auto' or micrometres per pixel between"):
        scan([images], tmp_path / "out", Config(), um_per_px=value)
    assert not (tmp_path / "out").exists()


def test_any_file_name_is_written_as_text(tmp_path: Path) -> None:
    data = cv2.imencode(".png", smear())[1].tobytes()
    for name in (b"caf\xe9.png", b'<b>a, "b"\n.png'):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(data)
    summary = scan([tmp_path], tmp_path / "out", Config(), annotate=True, keep_duplicates=True)
    assert summary.inputs == 2
    assert {Path(line["image"]).name for line in lines(tmp_path / "out")} == {"caf\ufffd.png", '<b>a, "b"\n.png'}
    assert len(list((tmp_path / "out" / "annotated").iterdir())) == 2
    assert "<b>a," not in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_images_of_one_sample_count_each_cell_once(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.convertScaleAbs(smear(), alpha=1 - 0.05 * number))
    apart = scan([tmp_path], tmp_path / "apart", Config(), no_quality_gate=True, keep_duplicates=True)
    together = scan(
        [tmp_path / f"{n}.png" for n in range(3)], tmp_path / "one", Config(), no_quality_gate=True, one_sample=True
    )
    assert apart.red_cells > 2.5 * together.red_cells > 0
    assert (together.fields_read, together.islands, apart.islands) == (3, 1, 0)
    assert together.area_mm2 == pytest.approx(apart.area_mm2 / 3, rel=0.15)
    with pytest.raises(ConfigError, match="one_sample"):
        scan([tmp_path], tmp_path / "no", Config(), cells=True, one_sample=True)


@pytest.mark.parametrize("zoom", [0.6, 1.6, 2.0])
def test_a_folder_in_which_the_magnification_changes_midway_is_not_read_at_the_given_scale(
    images: Path, tmp_path: Path, zoom: float
) -> None:
    """Pixel size changes inside a sample: the given scale is verified on every picture, wherever the change is."""
    for i in range(3, 5):
        cv2.imwrite(str(images / f"field{i}.png"), cv2.resize(smear(i), None, fx=zoom, fy=zoom))
    cv2.imwrite(str(images / "field5.png"), smear(5))
    scan([images], tmp_path / "out", Config(), um_per_px=0.25)
    reasons = [line["rejected"] and line["rejected"]["reason"] for line in lines(tmp_path / "out")]
    assert reasons == [None, None, None, "magnification", "magnification", None]
