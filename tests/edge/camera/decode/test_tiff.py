"""Kind: a TIFF is more than a picture of 8 bits, and a reader that ignores the rest counts wrong cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from edge.camera.base import RejectedInputError
from edge.camera.decode.field import DecodedField
from edge.camera.decode.reader import read_pictures
from edge.types import Pixels
from tests.edge.camera.test_image_files import encode, with_orientation


def field(seed: int) -> Pixels:
    noise = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2).astype(np.float32)
    return cv2.normalize(blurred, np.zeros_like(blurred), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


F = field(0)
GREY = F[..., 1]
DEEP = F.astype(np.uint16) * 257
PALETTE = np.stack([np.arange(256) * 257] * 3).astype(np.uint16)


def read(path: Path) -> list[DecodedField]:
    return list(read_pictures(path, 64))


def written(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


SAME: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
    "8 bits": (F, {"photometric": "rgb"}),
    "16 bits": (DEEP, {"photometric": "rgb"}),
    "16 bits, big endian": (DEEP, {"photometric": "rgb", "byteorder": ">"}),
    "16 bits, planes apart": (DEEP.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    "8 bits, planes apart": (F.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    "12 of 16 bits": (F.astype(np.uint16) * 16 + 15, {"photometric": "rgb"}),
    "tiles": (F, {"photometric": "rgb", "tile": (64, 48)}),
    "tiles, planes apart": (
        DEEP.transpose(2, 0, 1),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32)},
    ),
    "strips": (F, {"photometric": "rgb", "rowsperstrip": 7}),
    "BigTIFF": (F, {"photometric": "rgb", "bigtiff": True}),
    "alpha": (np.dstack([F, F[..., 0] * 0]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    **{
        f"{kind}{' with predictor' * predictor}": (
            F,
            {"photometric": "rgb", "compression": kind, "predictor": predictor},
        )
        for kind in ("lzw", "deflate", "zstd", "packbits", "lzma")
        for predictor in (False, True)
        if not (predictor and kind == "packbits")
    },
    "JPEG 2000": (F, {"photometric": "rgb", "compression": "jpeg2000"}),
}


@pytest.mark.parametrize("kind", SAME)
def test_colour_is_read_to_the_same_pixels_however_it_is_stored(tmp_path: Path, kind: str) -> None:
    pixels, options = SAME[kind]
    (found,) = read(written(tmp_path / "a.tif", pixels, **options))
    assert (found.name, found.um_per_px, found.flags) == (str(tmp_path / "a.tif"), None, ())
    assert (found.pixels == F).all()
    assert not found.pixels.flags.writeable


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (255 - GREY, {"photometric": "miniswhite"}),
        (65535 - GREY.astype(np.uint16) * 257, {"photometric": "miniswhite"}),
        (4095 - GREY.astype(np.uint16) * 16, {"photometric": "miniswhite"}),
        (GREY.astype(np.uint16) * 257, {"photometric": "minisblack"}),
        (GREY, {"photometric": "palette", "colormap": PALETTE}),
        (np.dstack([GREY, GREY * 0]), {"photometric": "minisblack", "extrasamples": ["unspecified"]}),
    ],
)
def test_grey_is_read_alike_whichever_of_black_and_white_is_zero(
    tmp_path: Path, pixels: NDArray[Any], options: dict[str, Any]
) -> None:
    (found,) = read(written(tmp_path / "a.tif", pixels, **options))
    assert (found.pixels == GREY[..., None]).all()


@pytest.mark.parametrize("share", [1 / F.size, 0.015])
def test_a_hot_pixel_or_a_scale_bar_does_not_darken_12_bits(tmp_path: Path, share: float) -> None:
    deep = F.astype(np.uint16) * 16
    deep.reshape(-1)[: max(1, round(share * deep.size))] = 65535
    (found,) = read(written(tmp_path / "a.tif", deep, photometric="rgb"))
    assert np.median(found.pixels) == np.median(F)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_turns_the_picture_as_an_exif_does(tmp_path: Path, orientation: int) -> None:
    path = written(tmp_path / "a.tif", F, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    (found,) = read(path)
    (tmp_path / "a.jpg").write_bytes(with_orientation(encode(".jpg", F), orientation))
    (jpeg,) = read(tmp_path / "a.jpg")
    assert np.abs(found.pixels.astype(int) - jpeg.pixels).mean() < 10
    assert found.pixels.shape == ((120, 160, 3) if orientation < 5 else (160, 120, 3))


def test_a_stack_is_as_many_fields_each_with_its_number(tmp_path: Path) -> None:
    stack = np.stack([field(seed) for seed in range(4)])
    found = read(written(tmp_path / "a.tif", stack, photometric="rgb"))
    assert [one.name for one in found] == [f"{tmp_path / 'a.tif'}#{i}" for i in range(4)]
    assert all((one.pixels == pixels).all() for one, pixels in zip(found, stack, strict=True))


def test_focus_planes_are_one_field_the_sharpest_and_said(tmp_path: Path) -> None:
    planes = np.stack([cv2.GaussianBlur(F, (0, 0), s) if s else F for s in (3.0, 1.5, 0, 1.5)])
    (found,) = read(written(tmp_path / "a.ome.tif", planes, photometric="rgb", metadata={"axes": "ZYXS"}))
    assert (found.pixels == F).all()
    assert found.flags == ("file_planes",)


@pytest.mark.parametrize("marked", [False, True])
def test_a_preview_page_is_not_a_field(tmp_path: Path, marked: bool) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(cv2.resize(F, (40, 30), interpolation=cv2.INTER_AREA), photometric="rgb", subfiletype=int(marked))
        file.write(F, photometric="rgb")
    (found,) = read(tmp_path / "a.tif")
    assert (found.pixels == F).all()


@pytest.mark.parametrize("kind", ["ome", "imagej", "named pages"])
def test_channels_are_one_picture(tmp_path: Path, kind: str) -> None:
    planes, path = np.ascontiguousarray(F.transpose(2, 0, 1)), tmp_path / "a.tif"
    if kind == "ome":
        tifffile.imwrite(path, planes, photometric="minisblack", ome=True, metadata={"axes": "CYX"})
    elif kind == "imagej":
        tifffile.imwrite(path, planes, photometric="minisblack", imagej=True, metadata={"axes": "CYX"})
    else:
        with tifffile.TiffWriter(path) as file:
            for plane, name in zip(planes, ("Red", "Green", "Blue"), strict=True):
                file.write(plane, photometric="minisblack", description=name, metadata=None)
    (found,) = read(path)
    assert (found.pixels == F).all()


def test_channels_spread_over_files_are_refused_whether_the_others_are_there_or_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A red, a green and a blue file would be three grey fields of one place; tifffile gives black for the missing."""
    channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(3))
    planes = "".join(
        f'<TiffData IFD="0" FirstC="{c}" PlaneCount="1">'
        f'<UUID FileName="{c}.ome.tif">urn:uuid:0000-{c}</UUID></TiffData>'
        for c in range(3)
    )
    for c in range(3):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000-{c}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
            f'SizeX="160" SizeY="120" SizeC="3" SizeZ="1" SizeT="1">{channels}{planes}</Pixels></Image></OME>'
        )
        written(tmp_path / f"{c}.ome.tif", F[..., c], description=xml.encode(), metadata=None)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with pytest.raises(RejectedInputError, match=r"0\.ome\.tif .* 3 channels lie in several files; expected all"):
            read(tmp_path / "0.ome.tif")
        (tmp_path / "1.ome.tif").unlink(missing_ok=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "um_per_px"),
    [
        ({"resolution": (1e4 / 0.11, 1e4 / 0.11), "resolutionunit": "CENTIMETER"}, 0.11),
        ({"resolution": (25400 / 0.2, 25400 / 0.2), "resolutionunit": "INCH"}, 0.2),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (1e4 / 0.11, 1e4 / 0.22), "resolutionunit": "CENTIMETER"}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 130, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 130,
          "PhysicalSizeYUnit": "nm"}}, 0.13),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.13, "PhysicalSizeY": 0.13}}, 0.13),
        ({"imagej": True, "resolution": (10, 10), "metadata": {"unit": "micron"}}, 0.1),
        ({"description": "Aperio Image Library|MPP = 0.2529", "metadata": None}, 0.2529),
    ],
)  # fmt: skip
def test_the_pixel_size_that_a_file_states_is_given(
    tmp_path: Path, options: dict[str, Any], um_per_px: float | None
) -> None:
    (found,) = read(written(tmp_path / "a.tif", F, photometric="rgb", **options))
    assert found.um_per_px == (None if um_per_px is None else pytest.approx(um_per_px, rel=1e-4))


@pytest.mark.parametrize(
    ("pixels", "options", "said"),
    [
        (GREY.astype(np.int16), {}, "int16"),
        (GREY.astype(np.float32), {}, "float32"),
        (GREY.astype(np.uint32), {}, "uint32"),
        (F, {"photometric": "cielab"}, "colours are"),
        (
            np.zeros((5, 120, 160), np.uint8),
            {"photometric": "minisblack", "planarconfig": "separate"},
            "channels",
        ),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, pixels: NDArray[Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(RejectedInputError, match=said):
        read(written(tmp_path / "a.tif", pixels, **options))


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"compression": "zstd"}, {"tile": (32, 32)}])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
def test_a_cut_file_is_refused(tmp_path: Path, options: dict[str, Any], part: float) -> None:
    path = written(tmp_path / "a.tif", F, photometric="rgb", **options)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * part)])
    with pytest.raises(RejectedInputError):
        read(path)


def test_a_page_over_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with pytest.raises(RejectedInputError, match="160x120"):
        list(read_pictures(written(tmp_path / "a.tif", F, photometric="rgb"), 0.01))
