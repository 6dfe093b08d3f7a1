"""Kind: a container says how its frames are to be shown, or a decoder hands on a frame that it did not write."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.base import RejectedInputError
from edge.camera.decode.field import DecodedField
from edge.camera.decode.reader import read_pictures
from edge.camera.decode.video import Video
from edge.errors import CameraError

N = 6


def frames(path: Path) -> list[DecodedField]:
    with closing(Video(path, 64)) as video:
        return list(iter(video.read, None))


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jpegs")
    for i in range(N):
        noise = np.random.default_rng(i).integers(0, 255, (120, 160, 3), np.uint8)
        cv2.imwrite(str(folder / f"{i}.jpg"), cv2.GaussianBlur(noise, (0, 0), 2))
    return folder


def ffmpeg(jpegs: Path, out: Path, *options: str, rate: str = "5") -> Path:
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [program, "-v", "error", "-y", "-framerate", rate, "-i", str(jpegs / "%d.jpg"), *options, str(out)]
    subprocess.run(command, check=True)
    return out


@pytest.mark.parametrize("suffix", [".avi", ".mov", ".mkv", ".mjpeg"])
def test_motion_jpeg_has_the_pixels_of_its_jpegs_whatever_the_container(
    jpegs: Path, tmp_path: Path, suffix: str
) -> None:
    found = frames(ffmpeg(jpegs, tmp_path / f"a{suffix}", "-c", "copy"))
    assert [one.name for one in found] == [f"{tmp_path / 'a'}{suffix}#{i}" for i in range(N)]
    for i, one in enumerate(found):
        (alone,) = read_pictures(jpegs / f"{i}.jpg", 64)
        assert (one.pixels == alone.pixels).all()


def test_a_damaged_jpeg_in_a_film_breaks_it(jpegs: Path, tmp_path: Path) -> None:
    path = ffmpeg(jpegs, tmp_path / "a.avi", "-c", "copy")
    data, jpeg = path.read_bytes(), (jpegs / "3.jpg").read_bytes()
    at = data.index(jpeg) + len(jpeg) // 2
    path.write_bytes(data[:at] + bytes(400) + data[at + 400 :])
    with pytest.raises(CameraError, match=r"breaks after frame 3 of 6 announced: .*damaged inside"):
        frames(path)


INTERLACED = ["-vf", "fps=50,interlace", "-flags", "+ildct+ilme"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mpg", [*INTERLACED, "-c:v", "mpeg2video"]),
        ("a.mp4", [*INTERLACED, "-c:v", "libx264", "-pix_fmt", "yuv420p"]),
        ("a.avi", [*INTERLACED, "-c:v", "mpeg4"]),
        ("a.mov", [*INTERLACED, "-c:v", "prores_ks"]),
    ],
)
def test_interlaced_frames_are_written_whole_or_refused_by_name(
    jpegs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, options: list[str]
) -> None:
    """OpenCV 5 says ok and hands on the memory of an earlier picture."""
    path = ffmpeg(jpegs, tmp_path / name, *options)
    if cv2.__version__.startswith("4."):
        pytest.skip("OpenCV 4 converts interlaced frames")
    with pytest.raises(RejectedInputError, match="interlaced"):
        frames(path)
    assert "swscaler" not in capfd.readouterr().err


@pytest.mark.parametrize(("setsar", "shape"), [("4/3", (120, 213)), ("1/2", (240, 160)), ("1", (120, 160))])
def test_pixels_come_out_square(jpegs: Path, tmp_path: Path, setsar: str, shape: tuple[int, int]) -> None:
    found = frames(ffmpeg(jpegs, tmp_path / "a.mp4", "-vf", f"setsar={setsar}", "-c:v", "mpeg4", "-q:v", "2"))
    assert {one.pixels.shape[:2] for one in found} == {shape}


def test_a_trimmed_film_is_whole_and_a_cut_one_is_not(jpegs: Path, tmp_path: Path) -> None:
    whole = ffmpeg(jpegs, tmp_path / "w.mp4", "-r", "10", "-c:v", "libx264", "-pix_fmt", "yuv420p", rate="1")
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    trim = [program, "-v", "error", "-ss", "3.05", "-i", str(whole), "-c", "copy", str(tmp_path / "trimmed.mp4")]
    subprocess.run(trim, check=True)
    assert 25 <= len(frames(tmp_path / "trimmed.mp4")) <= 30
    film = ffmpeg(jpegs, tmp_path / "cut.mp4", "-r", "10", "-c:v", "mpeg4", "-movflags", "faststart", rate="1")
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(CameraError, match="breaks after frame"):
        frames(film)


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "mpeg2video"), ("a.wmv", "wmv2")])
def test_containers_of_recorders_are_videos(jpegs: Path, tmp_path: Path, name: str, codec: str) -> None:
    assert len(frames(ffmpeg(jpegs, tmp_path / name, "-r", "25", "-c:v", codec, rate="25"))) == N


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_film_that_says_how_it_is_turned_comes_upright(jpegs: Path, tmp_path: Path, turned: int) -> None:
    plain = ffmpeg(jpegs, tmp_path / "plain.mp4", "-c:v", "mpeg4", "-q:v", "2")
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    told = tmp_path / "told.mp4"
    options = ["-display_rotation:v:0", str(turned), "-i", str(plain), "-c", "copy", str(told)]
    subprocess.run([program, "-v", "error", "-y", *options], check=True)
    for upright, stored in zip(frames(told), frames(plain), strict=True):
        assert (upright.pixels == np.rot90(stored.pixels, turned // 90)).all()


@pytest.mark.parametrize(
    ("name", "options", "mean", "most"),
    [
        ("a.mkv", ("-c:v", "ffv1", "-pix_fmt", "bgr0"), 0, 0), ("b.mov", ("-c:v", "png"), 0, 0),
        ("c.mp4", ("-c:v", "libx264", "-crf", "18"), 2, 40), ("d.avi", ("-c:v", "mpeg4", "-q:v", "2"), 2, 40),
        ("e.mpg", ("-c:v", "mpeg2video", "-q:v", "2"), 2, 40), ("f.wmv", ("-c:v", "wmv2", "-q:v", "2"), 2, 40),
        ("g.mov", ("-c:v", "prores_ks"), 2, 12), ("h.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv420p10le"), 2, 20),
    ],
)  # fmt: skip
def test_a_film_has_the_pixels_that_ffmpeg_gives_its_frames_as_files(
    jpegs: Path, tmp_path: Path, name: str, options: tuple[str, ...], mean: float, most: int
) -> None:
    """Decoders of one coding differ by rounding alone; a picture without loss does not differ."""
    if "yuv420p10le" in options and cv2.__version__.startswith("4."):
        pytest.skip("OpenCV 4.10 gives films of ten bits up to 4 grey levels off in the mean")
    film = ffmpeg(jpegs, tmp_path / name, *options, rate="25")
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [program, "-v", "error", "-y", "-i", str(film), "-fps_mode", "passthrough", str(tmp_path / "%d.png")]
    subprocess.run(command, check=True)
    read = frames(film)
    assert len(read) == N
    for number, found in enumerate(read):
        (picture,) = read_pictures(tmp_path / f"{number + 1}.png", 64)
        off = np.abs(found.pixels.astype(int) - picture.pixels)
        assert off.mean() <= mean
        assert off.max() <= most
