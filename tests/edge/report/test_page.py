"""The page in a real browser: on a phone, a small screen and a desk, and printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.language.languages import Language, language
from edge.report.page import Count, Fact, FieldLine, PictureOfCell, Report, render, style_source
from edge.report.slide_map import Square, slide_map
from edge.report.words import CLASS_WORDS, NOT_ABOVE, breakable, digest

WIDTHS = (360, 794, 800, 1280)

ENGLISH_LANGUAGE = language("en")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

JPEG = cv2.imencode(".jpg", np.full((112, 112, 3), (90, 120, 200), np.uint8))[1].tobytes()

MEASURE = """
const broken = [];
for (const frame of document.querySelectorAll('iframe')) {
  const page = frame.contentDocument, width = page.documentElement.clientWidth;
  const walk = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    for (const word of node.data.matchAll(/\\S+/g)) {
      const range = page.createRange();
      range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(r => Math.round(r.top)));
      if (lines.size > 1) broken.push([width, word[0]]);
    }
  }
  const wide = page.documentElement.scrollWidth;
  if (wide > width) broken.push([width, 'wider than the screen: ' + wide]);
}
document.body.textContent = JSON.stringify(broken);
"""


def report(say: Language = ENGLISH_LANGUAGE) -> Report:
    files = ("field_17.jpg", "IMG.20261130.084512.jpeg", "device: sickle-like")
    name = "slides/ward-3_2026-11-30/field_number-17_of_the.first.slide.jpg"
    return Report(
        language=say,
        name="K-1042",
        headline_in_english="" if say.reviewed else NOT_ABOVE,
        headline="Not above this device's blank. Does not exclude sickle-cell disease or trait.",
        figure="0.42 %",
        interval="95 % interval 0.18 to 0.98 %",
        sentences=("5 sickle-like cells of 1197 red cells.",) * 4,
        facts=(
            Fact("code", breakable("K-1042")),
            Fact("site", "mbarara"),
            Fact("first picture", "2026-11-30 08:12 UTC"),
        ),
        warnings=("Nearly all cells of a field are wider than high: its pixels are not square, and more.",) * 3,
        counts=tuple(Count(words, 37, 30) for words in CLASS_WORDS.values()),
        quality=("1370 cells seen in 24 fields, 0.461 mm² of slide.",) * 4,
        slide=slide_map(
            [Square(i % 2, i % 9, i // 9, 8, i % 7 == 0) for i in range(150)],
        ),
        gallery=tuple(
            PictureOfCell(JPEG, "other abnormal", "0.87", below) for below in (*files, "device: sickle-like") * 16
        ),
        gallery_words="Cells that were called sickle-like or not named.",
        read_with="sicklescope 0.7.0 · detector 3 12345678 · classifier 3 12345678",
        details=(
            ("Detector", (Fact("digest of its file (SHA-256)", digest("3f9c" * 16)), Fact("run by", "onnxruntime"))),
        ),
        fields=tuple(
            FieldLine(name, 50, 2, 1, "cells lie on each other: rouleaux" if i % 3 else "") for i in range(60)
        ),
        review=("40 cells looked at by Dr A.",) * 5,
        left_out=(Fact("a copy of a picture that is read", breakable(name)),),
    )


def chromium(*arguments: str) -> str:
    assert CHROMIUM is not None, "install Debian's chromium; .ci/run does"
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *arguments],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    return done.stdout


def test_no_word_is_broken_in_two_on_a_phone_or_a_screen(tmp_path: Path) -> None:
    """Kind: a layout that was seen at one width. In 0.6.0 a phone showed `dete-` over `ctor`."""
    page = escape(render(report()).replace("<details>", "<details open>"))
    frames = "".join(
        f'<iframe width="{width}" height="800" srcdoc="{page}"></iframe>' for width in (360, 794, 800, 1280)
    )
    file = tmp_path / "frames.html"
    file.write_text(f"<body>{frames}<script>window.onload = () => {{ {MEASURE} }}</script>", "utf-8")
    shown = chromium("--dump-dom", "--virtual-time-budget=20000", file.as_uri())
    found = re.search(r"<body>(\[.*\])</body>", shown, re.DOTALL)
    assert found is not None, shown[-500:]
    assert json.loads(unescape(found[1])) == []


def test_it_prints_on_one_page_of_a4(tmp_path: Path) -> None:
    """That of a language that nobody reviewed is the longer one: it has the verdict in English too."""
    file = tmp_path / "report.html"
    file.write_text(render(report(language("fr"))), "utf-8")
    chromium("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}", file.as_uri())
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    assert re.search(rb"/MediaBox\s*\[\s*0 0 59[45]\S* 84[12]", pdf), "A4"


def test_a_strict_content_policy_lets_its_style_through() -> None:
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", style_source())
    assert "style=" not in render(report())


def test_a_name_is_not_broken_before_the_ending_of_its_type() -> None:
    """Kind: seen at one width only. At 794 px the gallery showed `jpg` below its name."""
    assert breakable("ward.3/field_17.jpg") == "ward.<wbr>3/<wbr>field_<wbr>17.jpg"


@pytest.mark.parametrize(("name", "shown"), [("<script>x</script>", "&lt;script&gt;"), ("x&amp;y", "x&amp;amp;y")])
def test_names_are_text(name: str, shown: str) -> None:
    page = render(replace(report(), name=name))
    assert "<script" not in page
    assert shown in page
