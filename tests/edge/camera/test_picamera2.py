"""The Raspberry Pi's camera: against a fake that has the real releases' names, arguments and orders of colours."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.camera.base import Camera
from edge.camera.picamera2 import RGB, PiCamera
from edge.config.model import CameraConfig, PiCameraConfig
from edge.errors import CameraError
from tests.edge.camera.picamera2_parts import CALLED, SCENE, FakePicamera2, recorded


@pytest.fixture(autouse=True)
def sdk(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=FakePicamera2))
    return FakePicamera2


def opened(**more: Any) -> PiCamera:
    return PiCamera(CameraConfig(kind="picamera2", **more))


@pytest.mark.parametrize("release", recorded())
def test_every_release_declares_what_is_called_and_the_fake_takes_the_same_arguments(release: str) -> None:
    real = recorded()[release]["methods"]
    assert set(real) == set(CALLED)
    for name, declared in real.items():
        method = inspect.getattr_static(FakePicamera2, name)
        assert isinstance(method, staticmethod) == declared["static"], name
        ours = list(inspect.signature(method.__func__ if declared["static"] else method).parameters)
        if name == "create_video_configuration":  # we name what we give
            assert set(ours) <= set(declared["arguments"])
        else:
            assert ours == declared["arguments"][: len(ours)], name


def test_red_green_blue_lie_in_this_order_in_every_release() -> None:
    assert {release["orders"][RGB] for release in recorded().values()} == {"RGB"}


def test_frames_have_the_scenes_colours_in_rgb_and_are_their_receivers() -> None:
    with opened(width=640, height=480) as camera:
        assert isinstance(camera, Camera)
        assert camera.name == "Raspberry Pi camera 0 imx219 640x480"
        first, second = camera.read(), camera.read()
    assert [first.index, second.index] == [0, 1]
    assert first.pixels.shape == (480, 640, 3)
    assert first.pixels[1, 1].tolist() == [SCENE["R"], SCENE["G"], SCENE["B"]]
    assert not first.pixels.flags.writeable
    assert FakePicamera2.last.closed


def test_what_is_set_is_fixed_and_the_rest_stays_automatic(sdk: type[FakePicamera2]) -> None:
    fixed = PiCameraConfig(exposure_us=2000, gain=1.5, red_gain=2.1, blue_gain=1.4)
    with opened(picamera2=fixed, fps=10):
        assert sdk.last.asked["controls"] == {
            "AeEnable": False,
            "ExposureTime": 2000,
            "AnalogueGain": 1.5,
            "AwbEnable": False,
            "ColourGains": (2.1, 1.4),
            "FrameDurationLimits": (100_000, 100_000),
        }
        assert sdk.last.started
    with opened():
        assert set(sdk.last.asked["controls"]) == {"FrameDurationLimits"}


def test_a_frame_lasts_no_shorter_than_its_exposure(sdk: type[FakePicamera2]) -> None:
    with opened(picamera2=PiCameraConfig(exposure_us=80_000, gain=1.0)):
        assert sdk.last.asked["controls"]["FrameDurationLimits"] == (80_000, 80_000)


def test_lens_shading_is_taken_out_of_the_tuning_unless_it_is_wanted(sdk: type[FakePicamera2]) -> None:
    with opened():
        shading = sdk.last.given_tuning["algorithms"][1]["rpi.alsc"]
    assert shading == {"n_iter": 0, "luminance_strength": 0.0, "calibrations_Cr": [], "calibrations_Cb": []}
    with opened(picamera2=PiCameraConfig(lens_shading=True)):
        assert sdk.last.given_tuning is None


def test_a_camera_without_shading_or_tuning_file(sdk: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "tuning", {"version": 2.0, "algorithms": [{"rpi.awb": {}}]})
    with opened():
        assert sdk.last.given_tuning == sdk.tuning
    monkeypatch.setattr(sdk, "attached", [{"Model": "ov5647", "Num": 0}])
    with pytest.raises(CameraError, match=r"no ov5647\.json .* Set camera\.picamera2\.lens_shading = true"), opened():
        pass


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"device": "1"}, r"camera 1 not found; present: imx219\. Check its ribbon cable"),
        ({"device": "/dev/video0"}, "no Raspberry Pi camera; expected an index"),
        ({"width": 1000, "height": 700}, r"asked 1000x700 BGR888, it gives 1280x720"),
        ({"width": 1000}, r"Set camera\.width and camera\.height, both"),
    ],
)
def test_what_is_not_there_or_not_given_is_an_error(asked: dict[str, object], said: str) -> None:
    with pytest.raises(CameraError, match=said), opened(**asked):
        pass


def test_the_librarys_own_errors_are_named_with_their_cause(
    sdk: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise RuntimeError("Camera __init__ sequence did not complete.") from RuntimeError("Device or resource busy")

    with opened() as camera:
        sdk.last.fault = RuntimeError("Camera frontend has timed out!")
        with pytest.raises(CameraError, match="stopped giving frames: Camera frontend has timed out"):
            camera.read()
    monkeypatch.setattr(sdk, "__init__", busy)
    with pytest.raises(CameraError, match=r"cannot be opened: .* \(Device or resource busy\)"), opened():
        pass


def test_a_camera_that_fails_while_it_starts_is_let_go(
    sdk: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise RuntimeError("Control ColourGains is not advertised by libcamera")

    monkeypatch.setattr(sdk, "configure", unsupported)
    with pytest.raises(CameraError, match="ColourGains"), opened():
        pass
    assert sdk.last.closed


def test_without_picamera2_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match=r"sudo apt install python3-picamera2.*--system-site-packages"), opened():
        pass


@pytest.mark.parametrize("half", [{"exposure_us": 100}, {"gain": 1.0}, {"red_gain": 1.0}, {"blue_gain": 1.0}])
def test_half_a_pair_is_no_configuration(half: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="belong together"):
        PiCameraConfig(**half)


def test_pixels_are_not_copied_once_more(sdk: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    given = np.zeros((720, 1280, 3), np.uint8)
    with opened() as camera:
        monkeypatch.setattr(sdk.last, "capture_array", lambda name: given)
        assert camera.read().pixels is given
