"""The optics calibration at work: what it corrects, which scale it gives, and the flags of one that does not fit."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.batch.scan import scan
from edge.camera.frames import stamped
from edge.config.model import CameraConfig, Config, DeviceConfig, ModelsConfig, MqttConfig, OpticsConfig
from edge.diagnosis.doctor import examine
from edge.errors import ConfigError
from edge.optics.illumination import find_flat_field, find_white_balance
from edge.pipeline import Pipeline
from edge.vision.flat_field import Optics
from edge.vision.optics_calibration import (
    Calibration,
    CameraIdentity,
    PixelSize,
    read_calibration,
    utc_now,
    write_calibration,
)
from tests.calibration.optics_parts import BARE, fields, unevenness, write
from tests.program import Program

SMALL: dict[str, Any] = {"width": 320, "height": 240}
DEVICE = "/dev/video7"


def calibration(**changes: object) -> Calibration:
    values = {
        "sicklescope": "0",
        "objective": "100x",
        "camera": CameraIdentity(kind="opencv", device=DEVICE, **SMALL),
        "pixel_size": PixelSize(made_at=utc_now(), method="micrometer", um_per_px=0.25, uncertainty_um=0.002, frames=1),
    }
    return Calibration.model_validate({**values, **changes})


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    """Write a calibration and return a configuration that names it; keywords change the optics' section."""

    def make(made: Calibration, camera: CameraConfig | None = None, **optics: object) -> Config:
        write_calibration(made, tmp_path / "optics.json")
        section = {"calibration": tmp_path / "optics.json", "objective": "100x", **optics}
        return Config(
            device=DeviceConfig(state_dir=tmp_path / "state"),
            camera=camera or CameraConfig(device=DEVICE),
            optics=OpticsConfig.model_validate(section),
            models=ModelsConfig(threads=1),
            mqtt=MqttConfig(enabled=False),
        )

    return make


def aged(days: float, part: str = "pixel_size") -> Calibration:
    made = calibration()
    old = getattr(made, part).model_copy(update={"made_at": utc_now() - timedelta(days=days)})
    return made.model_copy(update={part: old})


def test_frames_are_read_with_even_light_grey_glass_and_the_calibrated_scale(config: Callable[..., Config]) -> None:
    empty = fields(6, light=0.4, **SMALL, **BARE)
    flat = find_flat_field(empty)
    whole = calibration(flat_field=flat, white_balance=find_white_balance(empty, flat))
    with Pipeline(config(whole)) as pipeline:
        after = Optics(pipeline.config).of(empty[0]).corrected(empty[0])
        reading = pipeline.read(stamped(fields(1, light=0.4, **SMALL)[0], 0, "#0"))
        assert pipeline.known_um_per_px == 0.25
    assert unevenness(empty[0]) > 0.05
    assert unevenness(after) < 0.003
    assert np.ptp(after.reshape(-1, 3).mean(axis=0)) < 1.5
    assert reading.rejected is None
    assert reading.scale is not None
    assert (reading.scale.um_per_px, reading.scale.source) == (0.25, "calibrated")
    assert reading.scale.spread == pytest.approx(0.008)
    assert reading.flags == ()
    assert reading.stage_ms["optics"] > 0


def test_a_configured_size_wins_and_red_cells_remain_an_estimate(config: Callable[..., Config]) -> None:
    pixels = stamped(fields(1, **SMALL)[0], 0, "#0")
    with Pipeline(config(calibration(), um_per_px=0.3)) as pipeline:
        given = pipeline.read(pixels).scale
        assert pipeline.known_um_per_px == 0.3
    by_cells = calibration().pixel_size.model_copy(update={"method": "red_cells"})  # type: ignore[union-attr]
    held = Optics(config(calibration(pixel_size=by_cells))).scale
    assert given is not None
    assert held is not None
    assert (given.um_per_px, given.source) == (0.3, "configured")
    assert (held.um_per_px, held.source) == (0.25, "locked")


@pytest.mark.parametrize(
    ("made", "flags", "applied", "words"),
    [
        (calibration(), (), True, ""),
        (aged(200), ("calibration_expired",), True, "200 days old; optics.calibration_days is 180"),
        (aged(-3), ("calibration_expired",), True, "Set the clock"),
        (calibration(objective="40x"), ("calibration_foreign",), False, "of objective '40x'"),
        (
            calibration(camera=CameraIdentity(kind="opencv", device="/dev/video0", **SMALL)),
            ("calibration_foreign",),
            False,
            "of camera opencv /dev/video0; configured is opencv /dev/video7",
        ),
        (
            calibration(camera=CameraIdentity(kind="replay", device=DEVICE, **SMALL)),
            ("calibration_foreign",),
            False,
            "of camera replay",
        ),
        (
            calibration(camera=CameraIdentity(kind="opencv", device=DEVICE, width=640, height=480)),
            ("calibration_foreign",),
            False,
            "of frames 640x480, and is not applied to one of 320x240",
        ),
    ],
    ids=["fits", "expired", "future", "objective", "device", "kind", "size"],
)
def test_a_calibration_that_does_not_fit_is_flagged_and_a_foreign_one_not_applied(
    config: Callable[..., Config],
    caplog: pytest.LogCaptureFixture,
    made: Calibration,
    flags: tuple[str, ...],
    applied: bool,
    words: str,
) -> None:
    pixels = fields(1, light=0.3, **SMALL)[0]
    flat = find_flat_field(fields(5, light=0.3, **SMALL, **BARE))
    with caplog.at_level(logging.WARNING):
        optics = Optics(config(made.model_copy(update={"flat_field": flat})))
        for _ in range(3):
            assert optics.of(pixels).flags == flags
    assert (optics.of(pixels).scale is not None) == applied
    assert (optics.of(pixels).corrected(pixels) is not pixels) == applied
    assert len(caplog.records) == len(flags)  # told once, not for each frame
    assert words in caplog.text


def test_every_result_of_a_scan_carries_the_flag(config: Callable[..., Config], tmp_path: Path) -> None:
    folder = write(tmp_path / "slides", fields(1, **SMALL))
    for made, expected in ((aged(200), ["calibration_expired"]), (calibration(), [])):
        summary = scan([folder], tmp_path / "out", config(made))
        assert [flag for flag in summary.verdict.flags if flag.startswith("calibration")] == expected
        assert summary.scale is not None
        assert summary.scale.sources == ["calibrated"]
        assert "scale_estimated" not in summary.verdict.flags
    assert summary.settings["optics"]["objective"] == "100x"
    # What is asked for one scan stands above the file's size, and leaves the rest of the section in force.
    asked = scan([folder], tmp_path / "out", config(aged(200)), um_per_px=0.3)
    assert asked.scale is not None
    assert asked.scale.median == 0.3
    assert "calibration_expired" in asked.verdict.flags


def run_with(tmp_path: Path, made: Calibration, *arguments: str) -> Program:
    write_calibration(made, tmp_path / "optics.json")
    (tmp_path / "sicklescope.toml").write_text(
        '[device]\nstate_dir = "state"\n[camera]\nkind = "virtual"\nwidth = 320\nheight = 240\n'
        '[optics]\ncalibration = "optics.json"\nobjective = "100x"\n[mqtt]\nenabled = false\n'
    )
    return Program(tmp_path, *arguments)


def test_run_and_doctor_tell_of_a_calibration_that_does_not_fit(tmp_path: Path) -> None:
    foreign = calibration()  # of /dev/video7, where a virtual slide is configured
    program = run_with(tmp_path, foreign, "run", "--frames", "2")
    assert program.end(90) == 0
    assert "it is of camera opencv /dev/video7; configured is virtual slide 0, and is not applied" in program.err
    assert "- The optics calibration is of another camera, objective or frame size" in program.out
    own = foreign.model_copy(update={"camera": CameraIdentity(kind="virtual", device="slide 0", **SMALL)})
    program = run_with(tmp_path, own, "run", "--frames", "2")
    assert program.end(90) == 0
    assert "calibration" not in program.out + program.err


def test_doctor_shows_what_is_calibrated_and_what_is_wrong(config: Callable[..., Config], tmp_path: Path) -> None:
    def found(settings: Config) -> tuple[str, str]:
        finding = next(one for one in examine(settings) if one.what == "optics calibration")
        return finding.state, finding.text

    camera = CameraConfig(kind="virtual", **SMALL)
    own = calibration(camera=CameraIdentity(kind="virtual", device="slide 0", **SMALL))
    state, text = found(config(own, camera))
    assert state == "ok"
    assert "100x, virtual slide 0 320x240; 0.25 ± 0.002 µm per pixel (micrometer)" in text
    state, text = found(config(own, camera, objective="40x"))
    assert (state, "is '40x'" in text) == ("warning", True)
    state, text = found(config(own, CameraConfig(kind="virtual", width=640, height=480)))
    assert (state, "asked of the camera is 640x480" in text) == ("warning", True)
    settings = config(own, camera)
    (tmp_path / "optics.json").write_text("{")
    assert found(settings)[0] == "missing"
    assert found(Config(mqtt=MqttConfig(enabled=False)))[0] == "absent"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("{", "cannot be used: the file"),
        ('{"schema_version": 2}', "schema_version"),
        (lambda made: {**made, "extra": 1}, "extra"),
        (lambda made: {**made, "pixel_size": {**made["pixel_size"], "um_per_px": -1}}, "um_per_px"),
        (lambda made: {**made, "camera": {**made["camera"], "width": 10**9}}, "camera.width"),
        (lambda made: {**made, "pixel_size": {**made["pixel_size"], "made_at": "2024-01-01T00:00:00"}}, "made_at"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, text: object, words: str) -> None:
    path = tmp_path / "optics.json"
    if callable(text):
        text = json.dumps(text(json.loads(calibration().model_dump_json())))
    if isinstance(text, str):
        path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_calibration(path)
    assert str(path) in str(caught.value)


def test_a_calibration_needs_its_objective_named() -> None:
    with pytest.raises(ValueError, match=r"set optics\.objective"):
        OpticsConfig(calibration=Path("optics.json"))


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    whole = calibration(flat_field=find_flat_field(fields(5, **SMALL, **BARE)))
    write_calibration(whole, tmp_path / "optics.json")
    assert read_calibration(tmp_path / "optics.json") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["optics.json"]
    assert whole.parts["flat field"].made_at < datetime.now(timezone.utc) + timedelta(seconds=1)


def test_correcting_a_frame_costs_little(config: Callable[..., Config]) -> None:
    flat = find_flat_field(fields(5, **SMALL, **BARE))
    size = {"width": 1280, "height": 720}
    optics = Optics(config(calibration(flat_field=flat, camera=CameraIdentity(kind="opencv", device=DEVICE, **size))))
    frame = np.full((720, 1280, 3), 200, np.uint8)
    threads, took = cv2.getNumThreads(), []
    cv2.setNumThreads(1)
    for _ in range(10):
        began = time.perf_counter()
        optics.of(frame).corrected(frame)
        took.append(time.perf_counter() - began)
    cv2.setNumThreads(threads)
    assert min(took) < 0.02  # 1.2 ms on a quiet core; a pass in Python or through float arrays takes 30
