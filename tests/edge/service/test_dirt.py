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


def test_dirt_is_taken_out_of_what_is_stored_and_told_until_the_next_clean_sample(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slide = Slide(replace(slide_of(0, False), dirt=(NEEDLE,)))
    (tmp_path / "fields").mkdir()
    for index in range(9):
        cv2.imwrite(str(tmp_path / "fields" / f"{index}.png"), slide.render(index)[:, :, ::-1])
    config = configured(tmp_path, 1, CameraConfig(kind="replay", device=str(tmp_path / "fields")))
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
