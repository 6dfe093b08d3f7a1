"""Dirt in the optics of a device: counted in no stored cell, told in result, event and doctor, also after a restart."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from benchmarks.dirt import slide_of
from edge.camera.virtual.dirt import Dirt
from edge.camera.virtual.slide import Slide
from edge.config.model import CameraConfig
from edge.diagnosis.doctor import examine
from edge.publish.result_messages import Result
from edge.sample.lifecycle import Lifecycle
from edge.service.service import Service
from edge.storage.database import Database, database_path
from tests.edge.publish.publish_parts import composer
from tests.edge.service.service_parts import configured

NEEDLE = Dirt(0.25, 0.2, 60.0, 3.0, turned_deg=70.0, density=0.6)


def fields(folder: Path, dirt: tuple[Dirt, ...], count: int) -> CameraConfig:
    """Return a camera that replays so many fields of a slide with dirt, written to a folder."""
    slide = Slide(replace(slide_of(0, False), dirt=dirt))
    folder.mkdir()
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), slide.render(index)[:, :, ::-1])
    return CameraConfig(kind="replay", device=str(folder))


def test_dirt_is_taken_out_of_what_is_stored_and_told_until_the_next_clean_sample(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(tmp_path, 1, fields(tmp_path / "fields", (NEEDLE,), 9))
    with caplog.at_level(logging.WARNING):
        outcome = Service(config, "D-1").run()
    assert outcome is not None
    told = "dirt or a pointer in the picture, upper left: clean the eyepiece or camera"
    assert [one.message for one in caplog.records].count(told) == 1
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, composer())
        sample = lifecycle.store.find("D-1")
        (result,) = [Result.model_validate_json(text or "") for text in lifecycle.store.results(sample.id)]
        rows = Counter(one.class_name for one in lifecycle.store.cells(sample.id))
        before = lifecycle.record(sample)
        reopened = lifecycle.record(lifecycle.reopen(sample, "nurse", ""))
    assert result.masked_where == "upper left"
    assert 0 < result.masked_share < 0.03
    assert "dirt" in result.flags.split(",")
    expected = {**outcome.counts.by_class, "abstained": outcome.counts.excluded["abstained"]}
    assert rows == Counter({name: number for name, number in expected.items() if number})
    assert before.masked == reopened.masked
    assert before.masked is not None
    assert (before.counts, before.masked.where) == (reopened.counts, "upper left")
    (picture,) = [finding for finding in examine(config) if finding.what == "picture"]
    assert (picture.state, picture.text.startswith(told)) == ("warning", True)

    # More than 3 % of the picture: no fraction leaves. Once cleaned, the next sample knows nothing of it.
    broad = tuple(replace(NEEDLE, x=x, y=0.5, width_um=6.0) for x in (0.2, 0.5, 0.8))
    for code, dirt, count in ("D-2", broad, 9), ("D-3", (), 3):
        outcome = Service(configured(tmp_path, 1, fields(tmp_path / code, dirt, count)), code).run()
        assert outcome is not None
        assert (outcome.verdict.status == "withheld", outcome.verdict.fraction is None) == (code == "D-2",) * 2
        assert {"dirt", "dirt_broad"} & set(outcome.verdict.flags) == ({"dirt", "dirt_broad"} if dirt else set())
        (picture,) = [finding for finding in examine(config) if finding.what == "picture"]
        assert (picture.state, code in picture.text) == ("warning" if dirt else "ok", True)
