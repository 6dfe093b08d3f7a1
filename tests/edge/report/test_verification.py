"""Manual counts against the device's: the page, and files that cannot be used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.main import app
from edge.config.model import Config
from edge.sample.lifecycle import Lifecycle
from edge.storage.database import Database, database_path
from tests.edge.publish.publish_parts import composer
from tests.edge.sample.review_parts import do, ended


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a device with slides K-1 to K-5, one too small, one discarded, and one code used twice."""
    (tmp_path / "sicklescope.toml").write_text(f'[device]\nstate_dir = "{tmp_path}/state"\n')
    monkeypatch.chdir(tmp_path)
    config = Config.model_validate({"device": {"state_dir": tmp_path / "state"}})
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, composer())
        for number, sickle in enumerate((5, 20, 40, 60, 10), 1):
            ended(lifecycle, f"K-{number}", sickle=sickle)
        do(lifecycle, lifecycle.store.find("K-1"), cells={"600": "sickle"})
        ended(lifecycle, "small", normal=90, sickle=10)
        lifecycle.discard(ended(lifecycle, "gone"), "Dr A", "torn")
        ended(lifecycle, "K-twice")
        database.write("UPDATE samples SET day = '2020-01-01' WHERE code = 'K-twice'")
        ended(lifecycle, "K-twice")
    return tmp_path


def verify(folder: Path, text: str, *more: str) -> tuple[int, str]:
    (folder / "counts.csv").write_bytes(text.encode())
    done = CliRunner().invoke(
        app, ["verify", "counts.csv", "page.html", "--cut-off", "3", "--signed-by", "Dr <A>", *more]
    )
    return done.exit_code, done.output


def test_the_page_has_every_slide_the_figures_and_who_signed(folder: Path) -> None:
    lines = ["\ufeffSlide;Reader;sickle;red_cells", "K-1;B;8;700", "K-2;B;30;1000", "K-3;B;35;800", "K-4;B;70;900",
             "K-5;B;9;500", "small;B;1;100", "", "gone;B;3;500"]  # fmt: skip
    code, said = verify(folder, "\r\n".join(lines))
    assert code == 0, said
    assert "5 of 7 slides are compared. Of 2 the device gives no fraction" in " ".join(said.split())
    page = (folder / "page.html").read_text("utf-8")
    assert not re.search(r"https?:|style=", page)
    assert "Dr &lt;A&gt;" in page
    assert "not compared: the device gives no fraction (insufficient)" in page
    found = json.loads(re.search(r'id="data">(.*)</script>', page)[1])  # type: ignore[index]
    assert found["slides"][0]["counts"] == {
        "manual_sickle": 8, "manual_red_cells": 700, "device_sickle": 5, "device_red_cells": 625,
    }, "the device's own count, without review"  # fmt: skip
    assert {key: found["agreement"][key] for key in ("both", "first_only", "second_only", "neither")} == {
        "both": 3, "first_only": 0, "second_only": 0, "neither": 2,
    }  # fmt: skip
    assert found["facts"]["signed by"] == "Dr <A>"
    assert len(found["facts"]["digest of the manual counts (SHA-256)"]) == 64
    assert found["networks"][0][1] == 5
    assert found["apart"]["mean"] == pytest.approx(
        (-0.0034286 + 0.00125 + 0.0168561 + 0.0104575 - 0.002127) / 5, abs=1e-6
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slide,sickle\nK-1,3\n", "line 1: no column red_cells; found slide, sickle"),
        ("slide,red_cells,sickle\nK-1,700,3\nunknown,700,3\n", "line 3: no such sample on this device"),
        ("slide,red_cells,sickle\nK-1,700,3\nK-2,700,3\nK-1,700,4\n", "line 4: the slide of line 2 again"),
        ("slide,red_cells,sickle\nK-1,7,30\n", "line 2: 30 sickle-like cells of 7 red cells"),
        ("slide,red_cells,sickle\nK-1,0,0\n", "line 2: red_cells is 0"),
        ("slide,red_cells,sickle\nK-1,-700,3\n", "line 2: red_cells is '-700'; expected a count"),
        ('slide;red_cells;sickle\nK-1;700;3,5\n', "line 2: sickle is '3,5', which has a decimal comma"),
        ("slide,red_cells,sickle\nK-1,700,3,5\n", "line 2: more fields than the first line has"),
        ("slide,red_cells,sickle\nK-1,700,4.1%\n", "line 2: sickle is '4.1%', which looks like a share"),
        ("slide,red_cells,sickle\n,700,4\n", "line 2: slide is empty"),
        ("slide,red_cells,sickle\nK-twice,700,4\n", "line 2: 2 samples have this code"),
        ("slide,red_cells,sickle\n", "line 2: no slide"),
        ("", "line 1: no column slide, red_cells, sickle; found nothing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line_and_no_page_is_written(folder: Path, text: str, expected: str) -> None:
    code, said = verify(folder, text)
    assert code == 3
    assert expected in " ".join(said.split())
    assert "unknown" not in said, "a name that is not known may be a person's"
    assert not (folder / "page.html").exists()


def test_a_share_is_no_cut_off_and_an_empty_name_no_signature(folder: Path) -> None:
    assert verify(folder, "slide,red_cells,sickle\nK-1,700,3\n", "--signed-by", " ")[0] == 8
    assert verify(folder, "slide,red_cells,sickle\nK-1,700,3\n", "--cut-off", "101")[0] == 2
