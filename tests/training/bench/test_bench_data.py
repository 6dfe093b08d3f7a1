"""Pages that show a set before anything learns from it: what it holds, what leaks, how its cells are altered."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("torch", reason="torch not installed (make test-training)")
pytest.importorskip("imagehash", reason="imagehash not installed (make test-training)")

from tests.training.bench.test_bench_sets import draw, slides
from training.cli import app

pytestmark = pytest.mark.training


def said(result: Result) -> str:
    return " ".join(result.output.split())


def describe(what: Path, page: Path, *words: str) -> tuple[Result, str]:
    result = CliRunner().invoke(app, ["data", str(what), "--page", str(page), *words])
    return result, page.read_text() if page.is_file() else ""


def cells_of_table(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.S)
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", r, re.S)] for r in rows]


def whole_in_itself(page: str) -> bool:
    """Tell whether a browser would fetch nothing."""
    return not re.search(r"(?:src|href)=\"(?!data:)|url\(|@import", page)


def test_a_set_is_described(tmp_path: Path) -> None:
    root = slides(tmp_path / "my & set", groups=4)
    draw(root / "class1/slide9/1.png", 999, side=60)
    result, page = describe(root, tmp_path / "set.html")
    assert result.exit_code == 0, result.output
    assert "17 cells in 17 pictures of 5 groups, 0 near-duplicates, 0 of them leaks" in said(result)
    rows = cells_of_table(page)
    assert ["class0", "8", "47.06", "4", "8"] in rows
    assert ["class1", "9", "52.94", "5", "9"] in rows
    assert ["width of the pictures, px", "40", "40", "60"] in rows
    assert ["cells of a group", "1", "4", "4"] in rows
    assert page.count("data:image/jpeg") == 17
    assert "my &amp; set" in page
    assert "Licence: your own" in page
    assert "leaks.</b>" not in page
    assert whole_in_itself(page)


def test_a_leak_is_told_first_and_by_both_names(tmp_path: Path) -> None:
    root = slides(tmp_path / "set")
    picture = cv2.imread(str(root / "class0/slide0/0.png"))
    assert picture is not None
    cv2.imwrite(str(root / "class0/slide0/inside.png"), picture)
    cv2.imwrite(str(root / "class1/slide3/across.png"), np.rot90(picture))
    result, page = describe(root, tmp_path / "set.html")
    assert "3 near-duplicates, 2 of them leaks" in said(result)
    pairs = [row for row in cells_of_table(page) if row[-2:] and row[-2] in ("two groups", "one group")]
    assert [row[-2] for row in pairs] == ["two groups", "two groups", "one group"]
    assert all("across.png" in row[0] + row[1] and row[-1] == "labelled differently" for row in pairs[:2])
    assert "This set leaks." in page


def test_folds_and_the_scale_of_a_set_in_its_own_layout(tmp_path: Path) -> None:
    rows = []
    for i, (label, fold) in enumerate((("circular", 0), ("circular", 1), ("elongated", 0), ("other", 1))):
        draw(tmp_path / f"idb/color/{label}/c{i}.jpg", i)
        draw(tmp_path / f"idb/mask/{label}/c{i}.tif", i)
        rows.append(f"color/{label}/c{i}.jpg,{label},{fold}")
    (tmp_path / "idb/cells.csv").write_text("path,label,fold\n" + "\n".join(rows) + "\n")
    result, page = describe(tmp_path / "idb", tmp_path / "set.html", "--layout", "erythrocytes_idb1")
    assert result.exit_code == 0, result.output
    assert ["circular", "2", "50.00", "2", "1", "1"] in cells_of_table(page)
    assert "0.15 for 4 cells" in page
    assert "Masks: 4." in page


def test_one_class_is_described_and_said_to_teach_nothing(tmp_path: Path) -> None:
    result, page = describe(slides(tmp_path / "set", classes=1), tmp_path / "set.html")
    assert result.exit_code == 0, result.output
    assert "Nothing can be learnt from one class" in page


@pytest.mark.parametrize(
    ("harm", "words", "expected"),
    [
        (lambda root: (root / "class0/slide0/0.png").write_bytes(b"no picture"), (), "0.png cannot be read"),
        (lambda root: None, ("--layout", "bccd"), "looked for Annotations/*.xml and JPEGImages/*.jpg; found class0/"),
        (lambda root: None, ("--layout", "nothing"), "no reader for a data set 'nothing'"),
    ],
)
def test_a_wrong_or_damaged_folder_is_told_so(
    harm: object, words: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    root = slides(tmp_path / "set")
    harm(root)  # type: ignore[operator]
    result, page = describe(root, tmp_path / "set.html", *words)
    assert result.exit_code != 0
    assert expected in said(result)
    assert not page


def pictures_of(page: str) -> list[list[np.ndarray]]:
    rows = []
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.S):
        found = re.findall(r"base64,([^\"]+)", row)
        if found:
            decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(b), np.uint8), 1) for b in found]
            rows.append([picture.astype(int) for picture in decoded if picture is not None])
    return rows


def test_the_preview_shows_what_the_configuration_does(tmp_path: Path) -> None:
    root = slides(tmp_path / "set")
    still = "rotation = 0\nshift = 0\nflip = false\nzoom = 0\nshear = 0\n"
    pages = {}
    for name, brightness in (("plain", 0), ("lit", 0.9)):
        config, page = tmp_path / f"{name}.toml", tmp_path / f"{name}.html"
        config.write_text(f"side = 48\n[augmentation]\n{still}brightness = {brightness}\n")
        words = ["bench", "preview", "--set", root, "--config", config, "--cells", 4, "--times", 3, "--page", page]
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, result.output
        assert whole_in_itself(page.read_text())
        pages[name] = pictures_of(page.read_text())
    for name, rows in pages.items():
        assert [len(row) for row in rows] == [4] * 4, "four cells, each as it is and altered three times"
        assert rows[0][0].shape == (48, 48, 3)
        apart = [abs(look.mean() - row[0].mean()) for row in rows for look in row[1:]]
        assert max(apart) < 1 if name == "plain" else max(apart) > 10


def test_a_preview_of_a_wrong_augmentation_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[augmentation]\nrotation = 400\n")
    page = tmp_path / "page.html"
    words = ["bench", "preview", "--set", slides(tmp_path / "set"), "--config", tmp_path / "bad.toml", "--page", page]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code != 0
    assert "augmentation.rotation" in said(result)
    assert not page.exists()
