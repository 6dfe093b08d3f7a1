"""What a person may hand to `scan` or `replay`: every kind of image file, and everything that is none."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from edge.camera.base import RejectedInputError
from edge.camera.image_files import read_image
from edge.camera.image_header import image_size
from edge.camera.input_files import find_inputs
from edge.errors import InputError
from edge.types import Reason

RED_LEFT = np.zeros((40, 60, 3), np.uint8)  # RGB: left third red, the rest blue
RED_LEFT[:, :20, 0] = 200
RED_LEFT[:, 20:, 2] = 200


def write(path: Path, rgb: np.ndarray) -> Path:
    """Write an RGB or grey array with OpenCV."""
    path.write_bytes(encode(path.suffix, rgb))
    return path


def encode(suffix: str, rgb: np.ndarray) -> bytes:
    stored = rgb if rgb.ndim == 2 else np.concatenate([rgb[..., 2::-1], rgb[..., 3:]], axis=2)
    return cv2.imencode(suffix, stored)[1].tobytes()


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF segment with one tag, the orientation, behind the JPEG's first marker."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff + jpeg[2:]


def huge_png(width: int, height: int) -> bytes:
    """Return a small file that is a huge, valid image."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_formats_are_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    pixels = read_image(write(tmp_path / f"field{suffix}", RED_LEFT), 64)
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[20, 5].astype(int) - (200, 0, 0)).max() < 40  # a JPEG is not exact
    assert not pixels.flags.writeable


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_header_says_the_size_that_decoding_gives(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"odd{suffix}", np.full((37, 1021, 3), 90, np.uint8))
    with path.open("rb") as file:
        assert image_size(file) == (1021, 37)


def test_exif_orientation_turns_the_picture_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(with_orientation(encode(".jpg", RED_LEFT), 6))  # 6: to be turned by 90° clockwise
    pixels = read_image(path, 64)
    assert pixels.shape == (60, 40, 3)
    assert pixels[5, 20, 0] > 150  # what was left is on top
    assert pixels[55, 20, 2] > 150


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = np.arange(0, 240, 4, dtype=np.uint8)[None, :].repeat(20, axis=0)
    pixels = read_image(write(tmp_path / "grey.png", grey), 64)
    assert (pixels == grey[..., None]).all()


@pytest.mark.parametrize(("depth", "suffix"), [(8, ".png"), (10, ".png"), (12, ".tif"), (16, ".tif")])
def test_16_bit_files_keep_the_brightness_of_their_true_depth(tmp_path: Path, depth: int, suffix: str) -> None:
    ramp = np.linspace(0, (1 << depth) - 1, 256).astype(np.uint16)[None, :].repeat(8, axis=0)
    pixels = read_image(write(tmp_path / f"deep{suffix}", ramp), 64)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_alpha_is_dropped_and_the_colour_beneath_is_kept(tmp_path: Path) -> None:
    rgba = np.dstack([RED_LEFT, np.zeros(RED_LEFT.shape[:2], np.uint8)])
    assert (read_image(write(tmp_path / "alpha.png", rgba), 64) == RED_LEFT).all()


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    assert read_image(write(tmp_path / "one.png", np.full((1, 1, 3), 7, np.uint8)), 64).tolist() == [[[7, 7, 7]]]


def test_100_megapixels_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(10_000, 10_000))
    tracemalloc.start()
    with pytest.raises(RejectedInputError, match=r"10000x10000 = 100\.0 megapixels; the limit is 64") as caught:
        read_image(path, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.rejection.reason is Reason.TOO_LARGE
    assert (caught.value.rejection.value, caught.value.rejection.limit) == (100.0, 64)
    assert peak < 1e6


GOOD = {
    suffix: encode(suffix, np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))
    for suffix in (".jpg", ".png", ".bmp", ".tif", ".webp")
}


@pytest.mark.parametrize("suffix", GOOD)
@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.97])
def test_a_truncated_image_is_unreadable_and_not_half_grey(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(GOOD[suffix][: 1 + int(len(GOOD[suffix]) * part)])
    with pytest.raises(RejectedInputError, match=f"{path} cannot be read: .+") as caught:
        read_image(path, 64)
    assert caught.value.rejection.reason is Reason.UNREADABLE
    assert caught.value.name == str(path)


def test_a_truncated_jpeg_is_found_out_although_its_thumbnail_has_an_end(tmp_path: Path) -> None:
    thumbnail = encode(".jpg", RED_LEFT)
    whole = GOOD[".jpg"][:2] + b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + GOOD[".jpg"][2:]
    path = tmp_path / "phone.jpg"
    path.write_bytes(whole + b"trailing data, as a motion photo has")
    assert read_image(path, 64).shape == (50, 70, 3)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(RejectedInputError, match="a JPEG without its end"):
        read_image(path, 64)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "it is empty"), (b"not an image at all, but long enough" * 9, "not a JPEG"), (b"\xff\xd8\xff", "cut short")],
)
def test_what_is_no_image_says_so(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(RejectedInputError, match=said):
        read_image(path, 64)


def test_a_missing_file_and_a_folder_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_image(tmp_path / "gone.jpg", 64)
    with pytest.raises(InputError, match="directory"):
        read_image(tmp_path, 64)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, np.full((9, 9, 3), 0.5, np.float32), photometric="rgb")
    with pytest.raises(RejectedInputError, match="float32"):
        read_image(path, 64)


def test_folders_are_searched_deep_and_sorted_as_people_count(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    names = ["field10.png", "field2.JPG", "field1.tif", "b/clip.mp4", "notes.txt", "._field1.jpg"]
    for name in names:
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_inputs([tmp_path])]
    assert found == ["b/clip.mp4", "field1.tif", "field2.JPG", "field10.png"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    given = [tmp_path / "b.png", tmp_path, tmp_path / "*.png"]
    assert [path.name for path in find_inputs(given)] == ["b.png", "a.png"]


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "scan").touch()
    assert find_inputs([tmp_path / "scan"]) == [tmp_path / "scan"]


def test_brackets_in_an_existing_name_are_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "slide[1]").mkdir()
    (tmp_path / "slide[1]" / "a.png").touch()
    assert [path.name for path in find_inputs([tmp_path / "slide[1]"])] == ["a.png"]


def test_nothing_to_read_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"folder .* has no image or video; expected .*\.jpg"):
        find_inputs([tmp_path])
    with pytest.raises(InputError, match=r"pattern .* has no image"):
        find_inputs([tmp_path / "*.png"])
    with pytest.raises(InputError, match="gone not found"):
        find_inputs([tmp_path / "gone"])
