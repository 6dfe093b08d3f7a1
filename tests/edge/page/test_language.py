"""Every text of page and report is in every catalogue; adding a language is adding a file."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import edge
from edge.language.languages import chosen, codes, language
from edge.sample.handlers import STOPPED
from edge.sample.lifecycle import CUT_SHORT, SIGNED_BEFORE
from edge.sample.session import OTHER_NETWORKS
from edge.screening.verdict import FLAGS
from edge.screening.westgard import RULES
from edge.vision.stationary.dirt import SIDES
from tests.edge.page.page_parts import site
from tests.edge.sample.review_parts import ended

FOLDER = Path(edge.__file__).parent
METHODS = [("**.html", "jinja2"), ("**.py", "python")]
OPTIONS = {"**.html": {"trim_blocks": "1", "lstrip_blocks": "1"}}
KEYWORDS = {"N_": None, "_": None, "gettext": None, "ngettext": (1, 2), "told": None, "count": (1, 2)}

DEVICE_SAYS = {CUT_SHORT, SIGNED_BEFORE, OTHER_NETWORKS}
"""Reasons of the device's own in a sample's history."""


def shown() -> set[str]:
    """Return every text that templates and modules show."""
    found = extract_from_dir(FOLDER, METHODS, OPTIONS, KEYWORDS)
    texts = {message[0] if isinstance(message, tuple) else message for _, _, message, _, _ in found}
    return texts | set(FLAGS.values()) | set(RULES.values()) | {place for row in SIDES for place in row} | DEVICE_SAYS


@pytest.mark.parametrize("code", [code for code in codes() if code != "en"])
def test_a_catalogue_has_every_text_and_its_places(code: str) -> None:
    with (FOLDER / f"language/locale/{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    texts = {message.id[0] if isinstance(message.id, tuple | list) else message.id: message for message in catalogue}
    missing = sorted(text for text in shown() if text not in texts or not all(_strings(texts[text].string)))
    assert missing == []
    for message in catalogue:
        if message.id:
            wanted = set(re.findall(r"%\(\w+\)s|%%", _strings(message.id)[-1]))
            for string in _strings(message.string):
                assert set(re.findall(r"%\(\w+\)s|%%", string)) == wanted, message.id


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def test_no_line_breaks_before_a_colon_in_french() -> None:
    with (FOLDER / "language/locale/fr.po").open("rb") as file:
        texts = [string for message in read_po(file, locale="fr") if message.id for string in _strings(message.string)]
    broken = [text for text in texts if re.search(r"[^\W\d_]:(\s|$)| (?=[:;?!»]|%%)|« ", text)]
    assert broken == []
    assert language("fr").told(":") == "\u00a0:"


def test_four_languages_are_there_and_chosen_as_asked() -> None:
    assert set(codes()) >= {"en", "fr", "pt", "sw"}
    assert chosen("sw", "fr").code == "sw"
    assert chosen("", "fr-CD,fr;q=0.9,en;q=0.5").code == "fr"
    assert chosen("", "pt_MZ").code == "pt"
    assert chosen("../../etc/passwd", "xx,,;;q=,").code == "en"


def test_numbers_are_written_as_in_the_language() -> None:
    assert language("en").number(12345.678, 1) == "12,345.7"
    assert language("fr").number(12345.678, 1) == "12\u202f345,7"
    assert language("fr").percent(0.0123) == "1,23 %"
    assert language("en").percent(None) == "–"


@pytest.mark.parametrize("code", [code for code in codes() if not language(code).reviewed])
def test_an_unreviewed_catalogue_says_so_and_shows_the_disclaimer_in_english_too(tmp_path: Path, code: str) -> None:
    async def test() -> None:
        with site(tmp_path) as here:
            async with here.client(**{"Accept-Language": code}) as client:
                page = (await client.get("/help")).text
        assert f'<html lang="{code}">' in page
        assert "No native speaker has reviewed this translation yet." in page
        assert "Not a diagnosis: does not exclude sickle-cell disease or trait" in page
        assert "For Research Use Only." in page

    asyncio.run(test())


def test_what_the_device_says_of_a_sample_is_in_the_readers_language(tmp_path: Path) -> None:
    """Kind: the reason and the day of the last sample, and the names of the networks, stood in English."""

    async def test() -> None:
        with site(tmp_path) as here:
            sample = ended(here.device.lifecycle, "K-1", stage="incomplete", reason=STOPPED)
            async with here.client(**{"Accept-Language": "fr"}) as client:
                live = (await client.get("/")).text
                assert "il a été arrêté avant son but" in live
                assert "it was stopped" not in live
                assert "pas utilisé" in live, "a broker that is not configured is not one that cannot be reached"
                for path in ("/samples", f"/samples/{sample.id}"):
                    page = (await client.get(path)).text
                    assert language("fr").day(sample.day) in page
                    assert sample.day not in page
                device = (await client.get("/device")).text
                assert "<b>Détecteur</b>: tel que livré" in device

    asyncio.run(test())
