"""Kind: pictures that phones and stereo cameras write: read upright and once, or named."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.decode.field import DecodedField
from edge.camera.decode.multi_picture import views
from edge.camera.decode.reader import read_pictures

HEIC = Path(__file__).parents[3] / "fixtures" / "heic"
NOISE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8), (0, 0), 2)
STEREO, GAIN_MAP = 0x020002, 0


def read(path: Path) -> DecodedField:
    (found,) = read_pictures(path, 64)
    return found


@pytest.mark.parametrize(("name", "shape", "corner"), [("drawn", (48, 64), (0, 0)), ("turned", (64, 48), (0, -8))])
def test_a_heic_picture_is_read_upright(name: str, shape: tuple[int, int], corner: tuple[int, int]) -> None:
    pytest.importorskip("pi_heif")
    found = read(HEIC / f"{name}.heic")
    assert found.pixels.shape == (*shape, 3)
    y, x = corner
    red = found.pixels[y:, x:][1:7, 1:7].reshape(-1, 3).mean(axis=0)
    assert np.abs(red - (250, 20, 20)).max() < 12
    assert found.flags == ()


def test_a_heic_file_of_two_pictures_is_read_once_and_told() -> None:
    pytest.importorskip("pi_heif")
    assert read(HEIC / "two.heic").flags == ("file_planes",)


def mpo(path: Path, kinds: list[int], order: str) -> Path:
    """Write JPEG pictures one behind the other with an index (CIPA DC-007) in the first."""
    first = cv2.imencode(".jpg", NOISE)[1].tobytes()
    second = cv2.imencode(".jpg", np.roll(NOISE, 3, axis=1))[1].tobytes()
    entries = b"".join(struct.pack(f"{order}IIIHH", kind, 1, 0, 0, 0) for kind in kinds)
    index = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    index += struct.pack(f"{order}H", 2)
    index += struct.pack(f"{order}HHII", 0xB001, 4, 1, len(kinds))
    index += struct.pack(f"{order}HHII", 0xB002, 7, len(entries), 38)
    index += struct.pack(f"{order}I", 0) + entries
    segment = b"\xff\xe2" + struct.pack(">H", len(index) + 6) + b"MPF\0" + index
    path.write_bytes(first[:2] + segment + first[2:] + second * (len(kinds) - 1))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stereo_picture_is_one_field_and_told_and_a_gain_map_is_no_view(tmp_path: Path, order: str) -> None:
    stereo = read(mpo(tmp_path / "a.jpg", [STEREO, STEREO], order))
    assert stereo.flags == ("file_planes",)
    assert (stereo.pixels == read(mpo(tmp_path / "b.jpg", [0x030000], order)).pixels).all()
    assert read(mpo(tmp_path / "c.jpg", [0x030000, GAIN_MAP], order)).flags == ()


def test_a_damaged_index_is_no_index(tmp_path: Path) -> None:
    data = mpo(tmp_path / "a.jpg", [STEREO, STEREO], "<").read_bytes()
    assert views(data) == 2
    at = data.index(b"MPF\0")
    for cut in range(at, at + 60):
        assert views(data[:cut]) in (1, 2)
    assert views(data[: at + 14] + b"\xff" * 40) == 1
