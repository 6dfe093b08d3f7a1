"""Blank slides of a device: taken from samples that were read, stale with other models or optics, told in results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import blank as blank_benchmark
from edge.cli.main import app
from edge.config.model import CameraConfig, Config, OpticsConfig, ScreeningConfig
from edge.publish.result_messages import Result
from edge.sample.lifecycle import Lifecycle
from edge.screening import site_blank
from edge.service.service import Service
from edge.storage.database import Database, database_path
from tests.edge.publish.publish_parts import composer
from tests.edge.service.service_parts import configured


def read(config: Config, code: str) -> Result:
    Service(config, code).run()
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, composer())
        (text,) = lifecycle.store.results(lifecycle.store.find(code).id)
    return Result.model_validate_json(text or "")


def blank(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["control", "blank", *arguments])
    return done.exit_code, done.output


def added(code: str, person: str = "P1") -> tuple[int, str]:
    return blank("add", code, "--person", person, "--stain", "B1", "--hb-aa-by", "hplc")


def test_a_blank_slide_raises_the_limit_of_later_results_until_optics_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SICKLESCOPE_DEVICE__STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SICKLESCOPE_MQTT__ENABLED", "false")
    monkeypatch.setenv("SICKLESCOPE_OPTICS__UM_PER_PX", "0.25")
    camera = CameraConfig(kind="virtual", width=320, height=240, frames=2, seed=4)
    screening = ScreeningConfig(start="at_once", min_red_cells=10, target_red_cells=20)
    config = configured(tmp_path / "state", 1, camera).model_copy(update={"screening": screening})
    first = read(config, "A-1")
    code, said = added("A-1")
    assert code == 3
    assert "a blank slide needs 1000 at least" in said
    monkeypatch.setattr("edge.sample.blanks.MIN_RED_CELLS", 10)
    assert "provisional limit of blank from 1 slides" in added("A-1")[1]
    assert added("A-1", "P2")[0] == 0  # said anew: one slide still
    with Database(database_path(config)) as database:
        database.write("UPDATE blank_slides SET sickle = red_cells / 2")  # as if the site made many false calls
    second = read(config, "A-2")
    assert first.limit_of_blank is not None
    assert second.limit_of_blank is not None
    assert second.limit_of_blank > first.limit_of_blank
    assert "blank_provisional" in second.flags
    assert "blank" not in first.flags
    others = config.model_copy(update={"optics": OpticsConfig(um_per_px=0.26)})
    assert "provisional" in blank("list")[1]
    monkeypatch.setenv("SICKLESCOPE_OPTICS__UM_PER_PX", "0.26")
    assert "stale: the slides were read with other camera, calibration or scale" in blank("list")[1]
    third = read(others, "A-3")
    assert third.limit_of_blank == first.limit_of_blank
    assert "blank_stale" in third.flags
    assert "stale" in blank("list")[1]
    monkeypatch.setenv("SICKLESCOPE_OPTICS__UM_PER_PX", "0.25")
    other_camera = CameraConfig(kind="virtual", width=320, height=240, frames=2, seed=5)
    read(config.model_copy(update={"camera": other_camera}), "A-4")
    assert "stale" in blank("list")[1]  # by the camera of the newest sample
    assert "blank_stale" not in read(config, "A-5").flags
    code, listed = blank("list")
    assert (code, listed.count("person P2"), "P1" in listed) == (0, 1, False)
    assert "to be more than provisional it has: 1 of 20 slides; 1 of 10 people; 1 of 3 days" in listed
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, composer())
        lifecycle.erase(lifecycle.store.find("A-1"), "nurse", "asked for")
        (kept,) = lifecycle.blanks.all()
    assert (kept.code, kept.slide.person, kept.slide.red_cells) == ("", "erased", first.red_cells)


def test_a_discarded_or_removed_slide_counts_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SICKLESCOPE_DEVICE__STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("edge.sample.blanks.MIN_RED_CELLS", 10)
    camera = CameraConfig(kind="virtual", width=320, height=240, frames=1, seed=4)
    screening = ScreeningConfig(start="at_once", min_red_cells=10, target_red_cells=20)
    config = configured(tmp_path / "state", 1, camera).model_copy(update={"screening": screening})
    for name in ("A-1", "A-2"):
        read(config, name)
        assert added(name)[0] == 0
    assert blank("remove", "A-1")[0] == 0
    assert blank("remove", "A-1")[0] == 3
    with Database(database_path(config)) as database:
        lifecycle = Lifecycle(config, database, composer())
        assert [one.code for one in lifecycle.blanks.all()] == ["A-2"]
        lifecycle.discard(lifecycle.store.find("A-2"), "nurse", "wrong slide")
        assert lifecycle.blanks.all() == []
    assert "no blank slide; begin with" in blank("list")[1]
    code, said = added("A-2")
    assert code == 3
    assert "it is discarded" in said


def test_nothing_is_called_by_ep17_under_sixty_slides() -> None:
    from edge.cli.known_slides.blank import in_words

    def of(number: int) -> str:
        slide = site_blank.BlankSlide
        return " ".join(
            in_words(
                site_blank.SiteBlank(
                    tuple(slide(3, 1000, f"p{i % 12}", f"s{i % 2}", f"d{i % 3}", i == 0) for i in range(number))
                )
            )
        )

    assert "provisional" in of(19)
    assert "not by CLSI EP17-A2" in of(20)
    assert "not by CLSI EP17-A2" in of(59)
    assert "EP17" not in of(60)


def test_simulated_sites_are_counted_exactly() -> None:
    assert blank_benchmark.of(0, 11) == "0 of 11 (0.0-28.5 %)"  # 1 − 0.025^(1/11)
    told = blank_benchmark.simulated(np.random.default_rng(3), 0.016, 0, 40)
    assert told["median limit"] == pytest.approx(0.0125, abs=5e-5)
    assert int(told["blank above"].split()[0]) <= int(told["blank result above"].split()[0])
    assert told["sickle 5% above"].startswith("40 of 40")
