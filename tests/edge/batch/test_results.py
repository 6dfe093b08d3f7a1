"""Results read again: Parquet holds the lines of the JSON, and one report is made of any of the outputs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from edge.batch.parquet import read_parquet
from edge.batch.results import find_results
from edge.batch.scan import scan, scan_folders
from edge.cli.main import app
from edge.config.model import Config
from edge.errors import InputError
from tests.edge.batch.test_scan import lines, smear


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the results of two slides, one with a file that cannot be read, as JSON and Parquet."""
    folder = tmp_path_factory.mktemp("archive")
    for slide in ("a", "b"):
        (folder / "slides" / slide).mkdir(parents=True)
        cv2.imwrite(str(folder / "slides" / slide / "=field.png"), smear(ord(slide)))
    (folder / "slides" / "b" / "torn.jpg").write_bytes(b"no picture")
    scan_folders([folder / "slides"], folder / "results", Config(), no_quality_gate=True, parquet=True)
    return folder / "results"


def test_parquet_holds_what_the_json_holds(results: Path) -> None:
    summary, fields = read_parquet(results / "b" / "fields.parquet")
    assert summary.model_dump(mode="json", by_alias=True) == json.loads((results / "b" / "summary.json").read_text())
    told = [{**line, "cells": []} for line in lines(results / "b")]
    assert [field.model_dump(mode="json", by_alias=True) for field in fields] == told
    assert fields[1].rejected is not None
    cells = pq.read_table(results / "b" / "cells.parquet").to_pylist()
    with (results / "b" / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(cells) == len(rows) > 0
    for cell, row in zip(cells, rows, strict=True):
        assert str(cell["image"]).endswith("b/=field.png")
        assert {name: str(cell[name]) for name in ("cell", "x0", "score", "p_sickle")} == {
            name: row[name] for name in ("cell", "x0", "score", "p_sickle")
        }


def test_a_later_scan_without_parquet_leaves_none_of_an_earlier_one(results: Path, tmp_path: Path) -> None:
    """Two results in one folder, of which a program reads the old one."""
    out = tmp_path / "out"
    shutil.copytree(results / "a", out)
    scan([results.parent / "slides" / "b"], out, Config(), no_quality_gate=True)
    assert not list(out.glob("*.parquet"))


def test_one_report_over_many_scans(results: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", "--from", str(results), str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count('<tr><th scope="row">a<') == page.count('<tr><th scope="row">b<') == 1
    assert "the file is no image that can be read" in page
    assert "there is no figure over all of them" in page
    assert "http" not in page


@pytest.mark.parametrize("given", ["a", "a/fields.parquet"])
def test_the_report_of_one_scan_is_made_again(results: Path, tmp_path: Path, given: str) -> None:
    done = CliRunner().invoke(app, ["report", "--from", str(results / given), str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    page, first = (tmp_path / "page.html").read_text("utf-8"), (results / "a" / "report.html").read_text("utf-8")
    assert page.partition("<h2>Cells</h2>")[0] == first.partition("<h2>Cells</h2>")[0]
    assert page.partition("Each field")[2] == first.partition("Each field")[2]


def test_results_that_do_not_belong_together_are_refused(results: Path, tmp_path: Path) -> None:
    """A copy that was cut short, or files of two scans in one folder: counts that nobody made."""
    shutil.copytree(results / "b", tmp_path / "mixed")
    shutil.copy(results / "a" / "fields.jsonl", tmp_path / "mixed")
    with pytest.raises(InputError, match="has 1 fields and its summary tells of 2"):
        find_results(tmp_path / "mixed")
    (tmp_path / "mixed" / "fields.jsonl").unlink()
    with pytest.raises(InputError, match=r"summary.json without fields.jsonl"):
        find_results(tmp_path / "mixed")
    torn = tmp_path / "fields.parquet"
    torn.write_bytes((results / "a" / "fields.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"is not the fields\.parquet of a scan"):
        find_results(torn)
    with pytest.raises(InputError, match="holds no results of a scan"):
        find_results(results.parent / "slides")
