"""Kind: a decoder goes on over damaged data and calls it a success, so cells are counted that no camera saw."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from edge.camera.base import RejectedInputError
from edge.camera.decode.field import DecodedField
from edge.camera.decode.reader import read_pictures
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.types import Pixels

RNG = np.random.default_rng(3)
NOISE: Pixels = cv2.GaussianBlur(RNG.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2).astype(np.uint8)
KINDS = {
    "baseline": [cv2.IMWRITE_JPEG_QUALITY, 90],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
    "optimised": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "no subsampling": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}


def encode(options: list[int], pixels: NDArray[Any] = NOISE) -> bytes:
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def read(path: Path, data: bytes) -> DecodedField:
    path.write_bytes(data)
    (found,) = read_pictures(path, 64)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grey", [False, True])
def test_a_whole_one_is_read_as_opencv_reads_it_and_not_flagged(tmp_path: Path, kind: str, grey: bool) -> None:
    data = encode(KINDS[kind], NOISE[..., 0] if grey else NOISE)
    found = read(tmp_path / "a.jfif", data + b"what phones append")
    assert found.flags == ()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert expected is not None
    assert (found.pixels == expected[..., ::-1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_inside_another_picture_behind_a_cut_and_a_cut_are_refused(tmp_path: Path, kind: str) -> None:
    data, other = encode(KINDS[kind]), encode(KINDS[kind], cv2.GaussianBlur(NOISE[::-1], (0, 0), 1))
    half = len(data) // 2
    damaged = {
        "zeros to the end": data[:half] + bytes(len(data) - half - 2) + data[-2:],
        "400 zeros": data[:half] + bytes(400) + data[half + 400 :],
        "a block of a memory card": data[:half] + RNG.bytes(512) + data[half + 512 :],
        "another behind": data[:half] + other[len(other) // 2 :],
        "a part lost": data[:half] + data[half + 300 :],
        "cut": data[:half],
        "cut and closed": data[:half] + b"\xff\xd9",
    }
    for bad in damaged.values():
        with pytest.raises(RejectedInputError, match=r"damaged|cut short"):
            read(tmp_path / "bad.jpg", bad)


@pytest.mark.parametrize("kind", ["baseline", "no subsampling"])
def test_lost_bytes_after_which_all_is_brighter_or_darker_are_found(tmp_path: Path, kind: str) -> None:
    """Kind: damage that decodes without a warning; before, none of what is counted here was refused."""
    pixels = Slide(SlideSpec(seed=0, width=640, height=480, um_per_px=0.18)).render(0)
    data = encode(KINDS[kind], pixels)
    whole = read(tmp_path / "whole.jpg", data).pixels.astype(np.int16)
    start = data.index(b"\xff\xda") + 200
    refused = []
    for at in range(start, len(data) - 2000, (len(data) - 2200 - start) // 60):
        damaged = data[:at] + bytes(8) + data[at + 8 :]
        try:
            decoded = simplejpeg.decode_jpeg(damaged, "RGB", strict=True)
        except ValueError:
            continue  # libjpeg warns of it
        change = np.median((decoded - whole)[(5 * 480) // 6 :, :, 1])
        if abs(change) < 12 or at > start + (len(data) - start) // 2:
            continue
        try:
            read(tmp_path / "damaged.jpg", damaged)
        except RejectedInputError as error:
            refused.append("damaged inside" in str(error))
        else:
            refused.append(False)
    assert len(refused) >= 3
    assert np.mean(refused) >= 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [1, 2])
def test_a_missing_end_alone_is_read_and_flagged(tmp_path: Path, kind: str, lost: int) -> None:
    data = encode(KINDS[kind])
    whole, found = read(tmp_path / "whole.jpg", data), read(tmp_path / "open.jpg", data[:-lost])
    assert found.flags == ("file_end_missing",)
    assert (found.pixels == whole.pixels).all()


def test_a_progressive_one_whose_last_scans_are_gone_is_refused(tmp_path: Path) -> None:
    data = encode(KINDS["progressive"])
    last = data.rindex(b"\xff\xda")
    for end in (b"", b"\xff\xd9"):
        with pytest.raises(RejectedInputError, match="last scans are missing"):
            read(tmp_path / "blurred.jpg", data[:last] + end)


def test_a_lone_component_with_a_sampling_of_two_is_whole(tmp_path: Path) -> None:
    data = encode(KINDS["baseline"], NOISE[..., 0])
    at = data.index(b"\xff\xc0")
    assert read(tmp_path / "grey.jpg", data[: at + 11] + b"\x22" + data[at + 12 :]).flags == ()


def test_each_cause_is_said_in_words(tmp_path: Path) -> None:
    """Kind: one word, unreadable, for every cause."""
    causes = {
        b"GIF89a" + bytes(400): "it is a GIF",
        b"%PDF-1.7" + bytes(400): "it is a PDF",
        b"": "it is empty",
        struct.pack(">I", 24) + b"ftypheic" + bytes(400): "damaged HEIC",
    }
    for data, said in causes.items():
        with pytest.raises(RejectedInputError, match=said):
            read(tmp_path / "a.jpg", data)


@pytest.mark.parametrize("suffix", [".jp2", ".avif"])
def test_jpeg_2000_and_avif_are_read_and_their_size_is_checked_first(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not cv2.haveImageWriter("a.avif"):
        pytest.skip("this OpenCV has no AVIF")
    data = cv2.imencode(suffix, NOISE)[1].tobytes()
    found = read(tmp_path / f"a{suffix}", data)
    assert np.abs(found.pixels.astype(int) - NOISE[..., ::-1]).mean() < 5
    with pytest.raises(RejectedInputError, match="320x240"):
        list(read_pictures(tmp_path / f"a{suffix}", 0.01))
    with pytest.raises(RejectedInputError):
        read(tmp_path / f"cut{suffix}", data[: len(data) // 2])


def test_animations_are_refused_by_name(tmp_path: Path) -> None:
    ok, data = cv2.imencodeanimation(".webp", animation()) if hasattr(cv2, "imencodeanimation") else (False, None)
    if not ok or data is None:
        pytest.skip("this OpenCV writes no animations")
    with pytest.raises(RejectedInputError, match="it is an animation"):
        read(tmp_path / "a.webp", data.tobytes())


def animation() -> cv2.Animation:
    moving = cv2.Animation()
    moving.frames, moving.durations = [NOISE, NOISE[::-1].copy()], [100, 100]
    return moving
