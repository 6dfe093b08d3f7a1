"""The report of a camera's sample: what stands first, what it says of review, and that erasing reaches it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from gettext import NullTranslations
from html import unescape
from pathlib import Path

import pytest

from edge.config.model import Config
from edge.errors import SampleError
from edge.language.languages import Language, language
from edge.report.of_sample import report_of_sample
from edge.report.page import render
from edge.report.words import NOT_ABOVE
from edge.sample.export import remember, write_text
from edge.sample.lifecycle import Lifecycle
from edge.sample.review.review import SampleReview
from edge.sample.sample_row import StoredSample
from edge.storage.database import Database
from tests.edge.publish.publish_parts import composer
from tests.edge.sample.review_parts import counted, do, ended


@pytest.fixture
def lifecycle(tmp_path: Path) -> Iterator[Lifecycle]:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        yield Lifecycle(Config(), database, composer())


def page(lifecycle: Lifecycle, sample: StoredSample, code: str = "en") -> str:
    """Return the words of a sample's page."""
    return words(render(report_of_sample(lifecycle, lifecycle.store.find(sample.id), language(code))))


def words(found: str) -> str:
    """Return the words of a page."""
    assert not re.search(r"<script|style=|https?:", found)
    found = re.sub(r'<wbr>|<span class="w">|</span>', "", re.sub(r"<style.*?</style>", " ", found, flags=re.DOTALL))
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", found)))


def test_the_verdict_in_words_and_the_percentage_stand_first(lifecycle: Lifecycle) -> None:
    said = page(lifecycle, ended(lifecycle))
    order = [
        "Above this device's blank. Not a diagnosis.", "3.12 % sickle-like, 95 % interval 2.03 % to 4.78 %",
        "20 sickle-like of 640 red cells.", "limit of blank, 0.30 %", "Not a diagnosis:", "site site",
        "state read, and to be reviewed", "first picture Sep 21, 2026", "normal red cells 620", "1 field, 0.100 mm²",
        "No field was refused.", "Grey: where", "Name Date Signature", "field 0 640 20 5",
        "digest of its file (SHA-256) aaaaaaaa",
    ]  # fmt: skip
    at = [said.index(one) for one in order]
    assert at == sorted(at)
    assert re.search(r"Signature sicklescope \S+ [0-9a-f-]{36} · .* aaaaaaaa · .* [0-9a-f]{8} Each field", said)
    none = page(lifecycle, ended(lifecycle, "K-2", sickle=0))
    assert NOT_ABOVE in none
    assert "0 sickle-like of 620 red cells." in none


def test_a_reviewed_sample_says_who_looked_at_what_and_who_signed(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    given = {str(number): "sickle" if number >= 630 else "normal" for number in range(600, 640)}
    do(lifecycle, sample, by="Dr A", cells=given, note="pale")
    do(lifecycle, sample, by="Dr B", cells={**given, "630": "normal"}, reading="second")
    do(lifecycle, sample, by="Dr C", cells={"630": "sickle"}, reading="third")
    do(lifecycle, sample, by="Dr A", done=True)
    said = page(lifecycle, sample)
    for one in (
        "Reviewed in part by a person. Does not exclude sickle-cell disease or trait.",
        "1.56 % sickle-like, 95 % interval",
        "After review 10 sickle-like of 640 red cells; the device alone counted 20 of 640.",
        "40 cells looked at by Dr A.", "called normal, drawn at random, proved sickle-like. At most",
        "Second reader Dr B, blind, 40 cells in common: both call 9 sickle-like", "kappa 0.93 (95 % interval 0.",
        "Differences settled by Dr C.", "Note of Dr A", ": pale", "Signed by Dr A, ",
        "Cells counted, by the device and after review",
    ):  # fmt: skip
        assert one in said
    assert "limit of blank, " not in said, "a person's count is not compared with the device's limit"
    assert "Signature" not in said
    assert re.search(r"2\d of 1\d\d cells to look at answered\.", said), "twenty called ones, and what was drawn"
    lifecycle.discard(lifecycle.store.find(sample.id), "nurse", "wrong slide")
    assert "40 cells looked at by Dr A." in page(lifecycle, sample)


def test_a_sample_is_reviewed_when_all_that_was_offered_is_answered(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    cells = [cell.number for cell in SampleReview(lifecycle).gallery(sample).cells]
    do(lifecycle, sample, cells={str(cells[0]): "normal"})
    said = page(lifecycle, sample)
    assert "Reviewed in part by a person." in said
    assert "1 of 125 cells to look at answered." in said
    do(lifecycle, sample, cells={str(number): "normal" for number in cells})
    said = page(lifecycle, sample)
    assert "Reviewed by a person." in said
    assert "to look at" not in said


def test_below_the_minimum_and_discarded_no_percentage_stands_first(lifecycle: Lifecycle) -> None:
    few = ended(lifecycle, "K-1", normal=300, sickle=9, stage="incomplete", reason="the slide broke")
    said = page(lifecycle, few)
    assert "Insufficient: 309 red cells counted, at least 500 needed." in said
    assert "% sickle-like, 95" not in said
    assert "9 sickle-like of 309 red cells: 2.91 %" in said
    do(lifecycle, few, done=True, reason="no more blood")
    signed = page(lifecycle, few)
    assert "2.91 %" not in signed
    assert "ended early" not in signed
    lifecycle.discard(lifecycle.store.find(few.id), "nurse", "wrong slide")
    again = ended(lifecycle, "K-1")
    assert "Discarded: not to be used." in page(lifecycle, few)
    assert "Another sample of this code that day: discarded, nurse, " in page(lifecycle, again)


def test_a_sample_that_is_scanned_has_no_report_yet(lifecycle: Lifecycle) -> None:
    sample = lifecycle.start(counted("K-1", 600, 5, 0), "{}", "nurse")
    with pytest.raises(SampleError, match="is being scanned: stop it first"):
        report_of_sample(lifecycle, sample, language("en"))


def test_erasing_a_sample_removes_the_files_that_were_written_of_it(lifecycle: Lifecycle, tmp_path: Path) -> None:
    """Kind: copies that outlive their sample. A file that was changed since is left, and named."""
    sample = ended(lifecycle)
    kept, changed = tmp_path / "papers" / "report.html", tmp_path / "papers" / "changed.html"
    for path in (kept, changed):
        write_text(path, render(report_of_sample(lifecycle, sample, language("en"))))
    remember(lifecycle.database, sample.id, [kept, changed])
    changed.write_text("a letter that I went on writing")
    assert kept.stat().st_mode & 0o077 == 0
    assert lifecycle.erase(lifecycle.store.find(sample.id), "nurse", "asked for") == [changed]
    assert not kept.exists()
    assert changed.exists()


class _Marked(NullTranslations):
    """Sets each text that was looked up in brackets."""

    def gettext(self, message: str) -> str:
        return f"\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}{message}\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}"

    def ngettext(self, one: str, many: str, number: int) -> str:
        return self.gettext(one if number == 1 else many)


def test_no_word_of_a_report_is_left_out_of_the_catalogues(lifecycle: Lifecycle) -> None:
    """Kind: a text that nobody marked, which stays English in each language. A name, a note and a version may."""
    sample = ended(lifecycle)
    given = {str(number): "sickle" if number >= 630 else "normal" for number in range(600, 640)}
    do(lifecycle, sample, by="DRA", cells=given, note="PALE")
    do(lifecycle, sample, by="DRB", cells={**given, "630": "normal"}, reading="second")
    english = language("en")
    marked = Language("xx", "marked", True, _Marked(), english.locale)
    said = words(render(report_of_sample(lifecycle, lifecycle.store.find(sample.id), marked)))
    while (less := re.sub(r"⟦[^⟦⟧]*⟧", "", said)) != said:
        said = less
    time = r"[A-Z][a-z]{2} \d+, \d{4}, \d\d:\d\d \w+"
    kept = rf"{time}|DR[AB]|PALE|site|device|onnx\S*|detector|classifier|CPU|fp32|sicklescope|[0-9a-f]{{4,}}|min"
    assert re.findall(r"[A-Za-z]{2,}", re.sub(kept, "", said)) == []


@pytest.mark.parametrize(
    ("code", "verdict", "interval", "singular"),
    [
        ("fr", "Pas au-dessus du blanc de cet appareil.", "95 % : 0,00 % à", "dans 1 champ,"),
        ("pt", "Não acima do branco deste aparelho.", "95 %: 0,00 % a", "em 1 campo,"),
        ("sw", "Si juu ya kikomo cha tupu cha kifaa hiki.", "95 %: 0.00 % hadi", "katika eneo 1,"),
    ],
)
def test_a_report_in_a_language_that_nobody_reviewed_says_the_verdict_in_english_too(
    lifecycle: Lifecycle, code: str, verdict: str, interval: str, singular: str
) -> None:
    said = page(lifecycle, ended(lifecycle, sickle=0), code)
    for one in (verdict, interval, singular, NOT_ABOVE, "Not a diagnosis: does not exclude", "Research Use Only"):
        assert one in said
    assert "No native speaker has reviewed this translation yet." in said
