"""One result for each folder: what a slide's folder holds is told there and counted there alone."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from edge.batch.scan import scan, scan_folders
from edge.cli.main import app
from edge.config.model import Config
from edge.errors import InputError
from tests.edge.batch.reading.test_resume import timeless
from tests.edge.batch.test_scan import FILES, smear


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Make three slides: two folders of two pictures, and one of one within the second."""
    slides = tmp_path / "slides"
    for number, name in enumerate(("A/1.png", "A/2.png", "B/1.png", "B/2.png", "B/deep/1.png")):
        (slides / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(slides / name), smear(number))
    (slides / "notes.txt").write_text("of all slides")
    (slides / "B" / "IMG.png.part").touch()
    return slides


def test_each_folder_has_the_result_that_a_scan_of_it_alone_has(slides: Path, tmp_path: Path) -> None:
    """One folder for each slide: nothing of one counts in another, a copy in another folder is none."""
    shutil.copy(slides / "A" / "1.png", slides / "B" / "3.png")
    out = tmp_path / "out"
    answer = CliRunner().invoke(
        app, ["scan", str(slides), "--out", str(out), "--sample-per", "folder", "--no-quality-gate"]
    )
    assert answer.exit_code == 0, answer.output
    assert {str(path.parent.relative_to(out)) for path in out.rglob("summary.json")} == {"A", "B", "B/deep"}
    alone = scan(sorted((slides / "B").glob("*.png")), tmp_path / "alone", Config(), no_quality_gate=True)
    found = json.loads((out / "B" / "summary.json").read_text())
    assert (found["by_class"], found["inputs"]) == (alone.by_class, 3)
    assert found["name"] == "B"
    assert {path.name for path in (out / "B").iterdir()} >= FILES
    left_out = {}
    for path in out.rglob("summary.json"):
        files = json.loads(path.read_text())["left_out_files"]
        left_out[str(path.parent.relative_to(out))] = [Path(one["file"]).name for one in files]
    assert sorted(name for names in left_out.values() for name in names) == ["IMG.png.part", "notes.txt"]
    assert left_out["B"] in (["IMG.png.part"], ["IMG.png.part", "notes.txt"])
    with (out / "samples.csv").open(newline="") as file:
        rows = {row["folder"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["A", "B", "B/deep"]
    assert int(rows["B"]["red_cells"]) == alone.red_cells
    for name in ("A: 2 fields read", "B: 3 fields read", "B/deep: 1 fields read", "notes.txt"):
        assert name in " ".join(answer.output.split())


def test_a_stop_between_folders_leaves_whole_ones_and_goes_on(slides: Path, tmp_path: Path) -> None:
    """One folder for each slide: stopped and resumed, with the same bytes in the end."""
    out = tmp_path / "out"

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("reading") and done == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stopped = scan_folders([slides], out, Config(), no_quality_gate=True, report=stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not stopped.complete
    assert [one.summary.complete for one in stopped.samples] == [True]
    assert not (out / "B").exists()
    assert scan_folders([slides], out, Config(), no_quality_gate=True, resume=True).complete
    scan_folders([slides], tmp_path / "plain", Config(), no_quality_gate=True)
    assert timeless(out) == timeless(tmp_path / "plain")


def test_a_table_that_no_scan_wrote_is_not_overwritten(slides: Path, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text("patient,age\n")
    with pytest.raises(InputError, match=r"samples\.csv was written by no scan"):
        scan_folders([slides], tmp_path, Config())
