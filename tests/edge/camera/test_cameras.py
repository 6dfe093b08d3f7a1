"""The cameras: one contract for all, then what each does when its source ends, breaks, differs or hangs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import psutil
import pytest

from edge.camera import opencv
from edge.camera.base import Camera, RejectedInputError
from edge.camera.opencv import OpenCVCamera, has_gstreamer, open_capture, present_devices
from edge.camera.registry import CAMERAS, open_camera
from edge.camera.replay import ReplayCamera
from edge.config.model import CameraConfig
from edge.errors import CameraError, InputError
from edge.types import Frame, Reason
from tests.edge.camera.camera_parts import frame_of
from tests.edge.camera.openflexure_parts import Microscope

FRAMES = 12


def picture(i: int) -> np.ndarray:
    """Make an RGB picture whose red grows with its number and whose noise no codec makes small."""
    pixels = np.random.default_rng(i).integers(60, 120, (96, 128, 3), np.uint8)
    pixels[..., 0] = 20 * i
    return pixels


def write_video(path: Path, frames: int = FRAMES, codec: str = "MJPG", fps: float = 25) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (128, 96))
    assert writer.isOpened()
    for i in range(frames):
        writer.write(picture(i % 12)[..., ::-1])
    writer.release()
    return path


def write_folder(folder: Path) -> Path:
    folder.mkdir()
    for i in range(FRAMES):
        cv2.imwrite(str(folder / f"field{i}.png"), picture(i)[..., ::-1])
    return folder


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, CameraConfig]]:
    """Every camera over the same pictures, or as many rendered fields.

    A video file stands for the live device, a server here for the microscope, and a fake, which the camera's process
    imports by our search path, for picamera2.
    """
    video = str(write_video(tmp_path / "video.avi"))
    (tmp_path / "picamera2.py").write_text(
        "from tests.edge.camera.picamera2_parts import FakePicamera2 as Picamera2\n", "ascii"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with Microscope() as microscope:
        yield every_camera(tmp_path, video, microscope.url)


def every_camera(tmp_path: Path, video: str, microscope: str) -> dict[str, CameraConfig]:
    return {
        "folder": CameraConfig(kind="replay", device=str(write_folder(tmp_path / "fields"))),
        "video": CameraConfig(kind="replay", device=video),
        "opencv": CameraConfig(kind="opencv", device=video),
        "virtual": CameraConfig(kind="virtual", width=128, height=96, frames=FRAMES),
        "picamera2": CameraConfig(kind="picamera2", width=128, height=96),
        "openflexure": CameraConfig(kind="openflexure", device=microscope),
    }


SOURCES = ["folder", "video", "opencv", "virtual", "picamera2", "openflexure"]


def test_every_camera_there_is_keeps_the_contract_below(configs: dict[str, CameraConfig]) -> None:
    assert {config.kind for config in configs.values()} == set(CAMERAS)
    assert list(configs) == SOURCES


@pytest.mark.parametrize("source", SOURCES)
def test_every_camera_keeps_the_contract(configs: dict[str, CameraConfig], source: str) -> None:
    camera = open_camera(configs[source])
    assert isinstance(camera, Camera)
    with camera as entered:
        assert entered is camera
        first, second, third = frames = [frame_of(camera) for _ in range(3)]
        kept = first.pixels.copy()
        camera.read()
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert first.monotonic_s <= second.monotonic_s <= third.monotonic_s
    assert first.captured_at.utcoffset() == timedelta(0)
    assert len({frame.name for frame in frames}) == 3
    for frame in frames:
        assert frame.pixels.shape == (96, 128, 3)
        assert frame.pixels.dtype == np.uint8
        with pytest.raises(ValueError, match="read-only"):
            frame.pixels[0, 0] = 0
    assert (first.pixels == kept).all(), "a later frame was written into the first one's pixels"
    assert (first.pixels != second.pixels).any()
    assert camera.name


@pytest.mark.parametrize("source", SOURCES)
def test_a_number_of_frames_ends_any_camera(configs: dict[str, CameraConfig], source: str) -> None:
    with open_camera(configs[source].model_copy(update={"frames": 5})) as camera:
        frames = [camera.read() for _ in range(7)]
    assert [frame is not None for frame in frames] == [True] * 5 + [False] * 2


@pytest.mark.parametrize("source", ["folder", "video", "virtual"])
def test_a_source_that_ends_gives_none_and_stays_there(configs: dict[str, CameraConfig], source: str) -> None:
    with open_camera(configs[source]) as camera:
        assert not camera.live
        frames = [camera.read() for _ in range(FRAMES + 2)]
    assert [frame is not None for frame in frames] == [True] * FRAMES + [False] * 2


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_read_in_a_process_of_its_own_where_it_has_a_driver(
    configs: dict[str, CameraConfig], source: str
) -> None:
    before = set(psutil.Process().children())
    with open_camera(configs[source]) as camera:
        assert camera.live == CAMERAS[configs[source].kind].live
        assert len(set(psutil.Process().children()) - before) == camera.live
    assert set(psutil.Process().children()) == before


@pytest.mark.parametrize("source", SOURCES)
def test_leaving_passes_an_error_on_and_can_be_done_unread(configs: dict[str, CameraConfig], source: str) -> None:
    with pytest.raises(KeyboardInterrupt), open_camera(configs[source]):
        raise KeyboardInterrupt


# Replay


def drain(camera: Camera) -> list[Frame | CameraError | RejectedInputError]:
    """Read to the end as the service does: what was raised stands where it came."""
    found: list[Frame | CameraError | RejectedInputError] = []
    while True:
        try:
            frame = camera.read()
        except (CameraError, RejectedInputError) as error:
            found.append(error)
            continue
        if frame is None:
            return found
        found.append(frame)


def frames_of(camera: Camera) -> list[Frame]:
    """Read to the end where nothing is rejected."""
    found = drain(camera)
    frames = [one for one in found if isinstance(one, Frame)]
    assert len(frames) == len(found)
    return frames


def replay(device: Path, **more: Any) -> ReplayCamera:
    return ReplayCamera(CameraConfig(kind="replay", device=str(device), **more))


def test_replay_gives_the_pictures_themselves_in_order_and_by_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "fields")
    with replay(folder) as camera:
        frames = frames_of(camera)
    assert [Path(frame.name).name for frame in frames] == [f"field{i}.png" for i in range(FRAMES)]
    assert all((frame.pixels == picture(i)).all() for i, frame in enumerate(frames))


def test_video_frames_are_rgb_and_named_by_their_number(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi")
    with replay(path) as camera:
        frames = frames_of(camera)
    assert [frame.name for frame in frames] == [f"{path}#{i}" for i in range(FRAMES)]
    reds = [frame.pixels[..., 0].mean() for frame in frames]
    assert np.abs(np.array(reds) - 20 * np.arange(FRAMES)).max() < 15


def test_unreadable_files_in_a_folder_are_rejected_one_by_one_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "fields")
    (folder / "field3.png").write_bytes(b"")
    (folder / "field5.png").write_bytes(b"no picture")
    cv2.imwrite(str(folder / "field6.png"), np.zeros((1100, 1000, 3), np.uint8))
    (folder / "clip.mp4").write_bytes(b"no video")
    config = CameraConfig(kind="replay", device=str(folder))
    with open_camera(config, megapixels_max=1.0) as camera:
        found = drain(camera)
    rejected = {
        Path(error.name).name: error.rejection.reason for error in found if isinstance(error, RejectedInputError)
    }
    assert rejected == {
        "clip.mp4": Reason.UNREADABLE,
        "field3.png": Reason.UNREADABLE,
        "field5.png": Reason.UNREADABLE,
        "field6.png": Reason.TOO_LARGE,
    }
    assert [frame.index for frame in found if isinstance(frame, Frame)] == list(range(FRAMES - 3))


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv"])
def test_a_video_cut_short_gives_its_good_frames_and_then_says_where_it_broke(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, frames=60)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with replay(path) as camera:
        *frames, error = drain(camera)
    assert 20 < len(frames) < 40
    assert isinstance(error, CameraError)
    assert f"{path} breaks after frame {len(frames)} of 60 announced" in str(error)


def test_a_whole_video_of_a_variable_rate_is_not_called_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "phone.mkv")
    real = cv2.VideoCapture

    class Guessing:
        """The real file in a container that guesses its rate, and the count from that, four times too high."""

        def __init__(self, given: str) -> None:
            self._video = real(given)
            self.isOpened, self.read, self.release = self._video.isOpened, self._video.read, self._video.release
            self.set, self.grab = self._video.set, self._video.grab

        def get(self, prop: int) -> float:
            guesses = {cv2.CAP_PROP_FRAME_COUNT: 4.0 * FRAMES, cv2.CAP_PROP_FPS: 100.0}
            return guesses.get(prop, self._video.get(prop))

    monkeypatch.setattr(cv2, "VideoCapture", Guessing)
    with replay(path) as camera:
        found = drain(camera)
    assert len(found) == FRAMES
    assert all(isinstance(frame, Frame) for frame in found)


def test_after_a_broken_video_the_next_file_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", frames=60)
    path.write_bytes(path.read_bytes()[:-50_000])
    cv2.imwrite(str(tmp_path / "b.png"), picture(1))
    with replay(tmp_path) as camera:
        *_, error, last = drain(camera)
    assert isinstance(error, CameraError)
    assert isinstance(last, Frame)
    assert Path(last.name).name == "b.png"


def test_replay_of_nothing_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no image"), replay(tmp_path):
        pass
    with pytest.raises(InputError, match="not found"), replay(tmp_path / "gone.mp4"):
        pass


def test_replay_keeps_a_frame_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]  # a clock of its own: a busy machine gives each frame late

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("edge.camera.frames.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    with replay(write_folder(tmp_path / "fields"), fps=50, frames=6) as camera:
        times = [frame.monotonic_s for frame in frames_of(camera)]
    assert np.diff(times) == pytest.approx(np.full(5, 0.02))


# OpenCV: a real video file through the real library, and a fake where a driver has to misbehave


class FakeCapture:
    """A cv2.VideoCapture whose driver gives its own mode, and fails where it is told to."""

    def __init__(self, mode: tuple[int, int, float] = (128, 96, 30.0), fail_at: int = -1) -> None:
        self.mode, self.fail_at = mode, fail_at
        self.asked: dict[int, float] = {}
        self.reads = 0
        self.released = False

    def get(self, prop: int) -> float:
        width, height, fps = self.mode
        values = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height, cv2.CAP_PROP_FPS: fps}
        return float(values[prop])

    def set(self, prop: int, value: float) -> bool:
        self.asked[prop] = value
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.reads += 1
        if self.reads >= self.fail_at > 0:
            return False, None
        return True, np.zeros((self.mode[1], self.mode[0], 3), np.uint8)

    def release(self) -> None:
        self.released = True


def camera_on(fake: FakeCapture, **asked: Any) -> OpenCVCamera:
    return OpenCVCamera(CameraConfig(**asked), lambda device: cast("cv2.VideoCapture", fake))


def test_the_fake_has_only_what_the_real_capture_has() -> None:
    methods = {name for name in vars(FakeCapture) if not name.startswith("_")}
    assert methods <= set(dir(cv2.VideoCapture))


def test_a_live_source_that_stops_is_an_error_and_no_silent_end(tmp_path: Path) -> None:
    config = CameraConfig(device=str(write_video(tmp_path / "live.avi")))
    with OpenCVCamera(config) as camera:
        assert camera.live
        assert camera.name.endswith("128x96@25")
        for _ in range(FRAMES - 1):  # the first was taken to verify the size
            assert camera.read() is not None
        with pytest.raises(CameraError, match="stopped giving frames"):
            camera.read()


def test_the_mode_asked_for_is_set_and_a_matching_answer_accepted() -> None:
    fake = FakeCapture((1280, 720, 29.97))
    with camera_on(fake, width=1280, height=720, fps=30) as camera:
        assert camera.name == "camera 0 1280x720@29.97"
    assert fake.asked == {cv2.CAP_PROP_FRAME_WIDTH: 1280, cv2.CAP_PROP_FRAME_HEIGHT: 720, cv2.CAP_PROP_FPS: 30}
    assert fake.released


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((640, 480, 30.0), "asked 1280x720@30, driver gave 640x480@30"),
        ((1280, 720, 10.0), "asked 1280x720@30, driver gave 1280x720@10"),
    ],
)
def test_a_mode_other_than_asked_is_an_error_and_the_device_is_let_go(given: tuple[int, int, float], said: str) -> None:
    fake = FakeCapture(given)
    with pytest.raises(CameraError, match=said), camera_on(fake, width=1280, height=720, fps=30):
        pass
    assert fake.released


@pytest.mark.parametrize("told", [0.0, -1.0, float("nan")])
def test_a_driver_that_tells_no_rate_is_not_held_to_one(told: float) -> None:
    with camera_on(FakeCapture((128, 96, told)), fps=30) as camera:
        assert camera.name.endswith("unknown rate")
        assert camera.read() is not None


def test_a_read_that_fails_is_an_error() -> None:
    with camera_on(FakeCapture(fail_at=2)) as camera, pytest.raises(CameraError, match="stopped giving frames"):
        camera.read()


def test_a_missing_device_is_named_with_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv, "present_devices", lambda: ["/dev/video0"])
    expected = r"camera /dev/video87 not found; present: /dev/video0\. Set camera\.device in sicklescope\.toml"
    with pytest.raises(CameraError, match=expected), OpenCVCamera(CameraConfig(device="87")):
        pass
    with pytest.raises(CameraError, match="camera /dev/none not found"):
        open_capture("/dev/none")


def test_devices_are_listed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("video10", "video2", "video-other", "v4l"):
        (tmp_path / name).touch()
    assert present_devices(tmp_path) == [str(tmp_path / "video2"), str(tmp_path / "video10")]


def test_a_file_that_is_no_camera_says_so(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"nothing to see")
    with pytest.raises(CameraError, match="is there but cannot be opened"):
        open_capture(str(tmp_path / "video0"))


PIPELINE = "videotestsrc num-buffers=5 ! videoconvert ! video/x-raw,format=BGR,width=128,height=96 ! appsink"


@pytest.mark.skipif(has_gstreamer(), reason="this OpenCV has GStreamer")
def test_a_pipeline_without_gstreamer_says_which_opencv_to_use() -> None:
    camera = OpenCVCamera(CameraConfig(device=PIPELINE))
    with pytest.raises(CameraError, match=r"built without GStreamer, as every pip wheel is\. Use the system's"), camera:
        pass


@pytest.mark.skipif(not has_gstreamer(), reason="this OpenCV has no GStreamer (a wheel has none)")
def test_a_pipeline_gives_frames() -> None:
    with OpenCVCamera(CameraConfig(device=PIPELINE, width=128, height=96)) as camera:
        assert camera.read() is not None
