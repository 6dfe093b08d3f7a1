"""What the person at the microscope is told to do now."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from edge.config.model import Config
from edge.page.guidance import PICTURE_WORDS, Picture, guidance
from edge.sample.sample_row import State
from edge.types import FieldReading, Masked, Reason, Rejection, unread
from tests.edge.page.page_parts import IDLE, site

BLURRED = unread("f", 0, Rejection(Reason.OUT_OF_FOCUS, 1.1, 1.28))


def told(reading: FieldReading, focus_trend: float = 0.0) -> tuple[str, str, str]:
    found = guidance({**IDLE, "state": "scanning"}, "", reading, focus_trend)
    return found.title, found.hint, found.detail


def test_which_way_to_turn_the_focus_is_told() -> None:
    assert told(BLURRED)[1].startswith("Turn the fine focus")
    assert told(BLURRED, 0.1)[1] == "It is getting sharper: go on in this direction."
    assert told(BLURRED, -0.1)[1] == "It is getting less sharp: turn the other way."


@pytest.mark.parametrize(
    ("ended", "title"),
    [("review", "Target reached"), ("incomplete", "Stopped early"), ("final", "Ready"), (None, "Ready")],
)
def test_what_became_of_the_sample_that_was_scanned_is_told(ended: State | None, title: str) -> None:
    assert guidance(IDLE, "", None, 0.0, ended).title == title


@pytest.mark.parametrize(
    ("kind", "problem", "words", "title"),
    [
        ("opencv", "", "waiting", "Starting"),
        ("virtual", "", "sample", "Ready"),
        ("opencv", "it is gone", "none", "Camera lost"),
    ],
)
def test_a_black_picture_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, problem: str, words: Picture, title: str
) -> None:
    monkeypatch.setitem(IDLE, "camera_problem", problem)
    config = Config.model_validate({"camera": {"kind": kind}, "mqtt": {"enabled": False}})
    with site(tmp_path, config=config) as here:

        async def page() -> str:
            async with here.client() as client:
                return (await client.get("/")).text

        found = asyncio.run(page())
    assert f'data-picture="{words}"' in found
    assert PICTURE_WORDS[words].replace("'", "&#39;") in found
    assert title in found


def test_dirt_in_the_optics_is_told_while_counting() -> None:
    title, hint, detail = told(replace(BLURRED, rejected=None, masked=Masked(0.01, "upper left")))
    assert title == "Counting; dirty optics"
    assert "left out of the count" in hint
    assert "upper left: clean the eyepiece or camera" in detail
