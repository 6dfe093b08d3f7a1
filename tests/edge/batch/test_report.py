"""The report is one honest page: nothing from the net, the words that must be there, the right cells in the gallery."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.batch.annotate import Gallery, annotated, jpeg
from edge.batch.scan import scan
from edge.camera.input_files import Leftover
from edge.config.model import Config
from edge.report.reasons import LEFT_OUT, REASONS
from edge.screening.verdict import RESEARCH_USE
from edge.types import ABSTAINED, CLASSES, FieldReading, Pixels, Reason, Rejection, unread
from edge.vision.outline import COLOURS
from tests.edge.batch.test_scan import smear, video


def reading(
    p_sickle: list[float], boxes: Sequence[Sequence[float]], labels: list[int], name: str = "f"
) -> FieldReading:
    prob = np.zeros((len(boxes), len(CLASSES)), np.float32)
    prob[:, 1] = p_sickle
    return replace(
        unread(name, 0, Rejection(Reason.EMPTY, 0.0, 1.0)),
        rejected=None,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        score=np.ones(len(boxes), np.float32),
        prob=prob,
        label=np.array(labels, np.int8),
    )


def decoded(data: bytes) -> Pixels:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)


@pytest.fixture
def page(tmp_path: Path) -> str:
    slides = tmp_path / "slides"
    slides.mkdir()
    cv2.imwrite(str(slides / "field.png"), smear())
    cv2.imwrite(str(slides / "dark.png"), (smear(1) * 0.05).astype(np.uint8))
    (slides / "torn <i>&.jpg").write_bytes(b"no picture")
    scan([slides], tmp_path / "out", Config(), um_per_px=0.25)
    return (tmp_path / "out" / "report.html").read_text("utf-8")


def text(page: str) -> str:
    shown = re.sub(r"<style.*?</style>", " ", page, flags=re.DOTALL)
    shown = re.sub(r'<wbr>|<span class="w">|</span>', "", shown)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", shown)))


def test_page_takes_nothing_from_anywhere(page: str) -> None:
    assert not re.search(r"<script|<link|<iframe|@import|url\(|https?:|//\w|style=", re.sub(r"base64,[^\"]*", "", page))
    sources = re.findall(r'src="([^"]*)"', page)
    assert sources
    for source in sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert decoded(b64decode(data)).shape == (112, 112, 3)


def test_page_says_what_must_be_said(page: str) -> None:
    said = text(page)
    for one in (
        RESEARCH_USE,
        "Not a diagnosis: does not exclude sickle-cell disease or trait; confirm by HPLC or electrophoresis.",
        "Insufficient:",
        "digest of its file (SHA-256)",
        "known because set in the configuration",
        f"1 field not read: {REASONS['unreadable']}.",
        f"1 field not read: {REASONS['under_exposed']}.",
        "name slides",
        "site ", "device ", "scan begun ",
        "Where the pictures lie on the slide is not known: there is no map.",
    ):  # fmt: skip
        assert one in said
    assert "torn &lt;i&gt;&amp;." in page
    assert 'name="viewport"' in page


def test_page_speaks_no_python_and_draws_nothing_for_zero(page: str) -> None:
    """Kind: a page for people made of a program's parts. In 0.6.0 it held dicts, and zeros had bars."""
    said = text(page)
    assert not re.search(r"\bNone\b|\bTrue\b|\bFalse\b|[{}]|under_exposed", said)
    assert not re.search(r"\b1 (fields|files|cells|red cells|samples)\b", said)
    rows = re.findall(
        r'<tr><th scope="row">[^\n]*</th><td class="n">(\d+)</td>\s*<td class="bars">(.*?)</td>', page, re.DOTALL
    )
    assert len(rows) == 8
    assert {bool(int(count)) == ("<rect" in bar) for count, bar in rows} == {True}
    assert "green" not in page
    assert "#009e73" not in page


def test_every_reason_has_its_words() -> None:
    assert set(REASONS) == {reason.value for reason in Reason}
    assert set(LEFT_OUT) == set(Leftover)


def test_long_lists_of_fields_are_cut_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.batch.report.FIELDS_SHOWN", 20)
    for i in range(22):
        (tmp_path / f"{i}.png").write_bytes(b"x%d" % i)
    cv2.imwrite(str(tmp_path / "good.png"), smear())
    scan([tmp_path], tmp_path / "out", Config())
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("the file is no image") + page.count("<td>cannot be") <= 22
    assert "And 3 more fields: see fields.jsonl." in page


def test_a_scan_without_one_readable_field_still_has_a_page(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "dark.png"), np.zeros((480, 640, 3), np.uint8))
    scan([tmp_path], tmp_path / "out", Config(), um_per_px=0.25)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "No cell was found." in page
    assert "unknown: no field was read" in page


def test_gallery_keeps_the_most_sickle_like_of_all_fields() -> None:
    gallery = Gallery(size=5)
    pixels = np.zeros((50, 50, 3), np.uint8)
    rng = np.random.default_rng(1)
    every = rng.random((20, 12)).astype(np.float32)
    for i, p in enumerate(every):
        gallery.offer(pixels, reading(p.tolist(), [[10, 10, 40, 40]] * 12, [0] * 12, f"field{i}"))
    kept = gallery.cells()
    assert [cell.p_sickle for cell in kept] == sorted(every.ravel().tolist(), reverse=True)[:5]
    for cell in kept:
        assert every[int(cell.image[5:]), cell.index] == np.float32(cell.p_sickle)


def test_gallery_shows_the_cell_itself_even_at_the_edge_of_the_image() -> None:
    pixels = np.full((100, 100, 3), 255, np.uint8)
    pixels[0:20, 80:100] = (200, 0, 0)
    gallery = Gallery()
    gallery.offer(pixels, reading([0.9], [[80, 0, 100, 20]], [1]))
    shown = decoded(gallery.cells()[0].picture)
    assert np.abs(shown[50:62, 50:62].astype(int) - (200, 0, 0)).max() < 12
    assert np.abs(shown[50:62, 2:14].astype(int) - 255).max() < 12
    assert np.abs(shown[2:10, 50:62].astype(int) - 128).max() < 12


def test_each_class_is_outlined_in_its_colour_and_the_given_pixels_stay() -> None:
    pixels = np.full((120, 700, 3), 200, np.uint8)
    pixels.setflags(write=False)
    labels = [ABSTAINED, *range(len(CLASSES))]
    boxes = [[20 + 90 * i, 40, 60 + 90 * i, 80] for i in range(len(labels))]
    picture = annotated(pixels, reading([0.1] * len(labels), boxes, labels))
    assert picture.shape[1] == 700
    assert picture.shape[0] > 120
    assert (pixels == 200).all()
    for box, label in zip(boxes, labels, strict=True):
        colour = COLOURS["abstained" if label == ABSTAINED else CLASSES[label]]
        around = picture[box[1] - 5 : box[3] + 5, box[0] - 5 : box[2] + 5].astype(int)
        assert (np.abs(around - colour).max(axis=2) < 30).sum() > 60
        assert (picture[box[1] + 10 : box[3] - 10, box[0] + 10 : box[2] - 10] == 200).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5000, 3), (6000, 40, 3)])
def test_any_size_of_image_can_be_drawn(shape: tuple[int, int, int]) -> None:
    picture = annotated(np.zeros(shape, np.uint8), reading([0.5], [[0, 0, shape[1], shape[0]]], [1]))
    assert max(picture.shape[1], 1) <= 4096
    assert jpeg(picture)


def test_annotated_fields_are_pictures_of_the_fields(tmp_path: Path) -> None:
    video(tmp_path / "slide.avi", 2)
    scan([tmp_path], tmp_path / "out", Config(), annotate=True, um_per_px=0.25, no_quality_gate=True, language="fr")
    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert '<html lang="fr">' in report
    assert '<svg class="map"' in report, "a video's fields are placed on the slide"
    drawn = sorted((tmp_path / "out" / "annotated").iterdir())
    assert [path.name for path in drawn] == ["00001_slide.avi_0.jpg", "00002_slide.avi_1.jpg"]
    picture = decoded(drawn[0].read_bytes())[..., ::-1]  # as OpenCV has it, and the smear
    assert picture.shape[1] == 640
    # Cells lie where they lay: the drawing differs from the field by its lines alone.
    assert np.median(np.abs(picture[:480].astype(int) - smear(0))) < 6
